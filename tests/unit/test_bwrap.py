"""Where a sandbox is put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash_sandbox import RuntimeUnavailableError
from flash_sandbox.orchestrator.runtimes.bubblewrap import bwrap


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The first of three directories that there are, after one that there is not."""
    names = ["missing", "first", "second"]
    for name in names[1:]:
        (tmp_path / name / "state").mkdir(parents=True)
    monkeypatch.setattr(bwrap, "_BASES", tuple(str(tmp_path / name) for name in names))
    return tmp_path / "first"


def test_where_there_is_a_directory_and_nothing_of_the_sandbox_is_below_it(first: Path) -> None:
    assert bwrap.mount_base(["/", "/var/lib/state", f"{first}-of-all/state"]) == str(first)


def test_not_where_a_part_of_it_would_be_hidden(first: Path) -> None:
    second = first.with_name("second")
    assert bwrap.mount_base(["/", str(first / "state")]) == str(second)
    link = first.with_name("link")
    link.symlink_to(first / "state")
    assert bwrap.mount_base([str(link / "layer")]) == str(second)


def test_a_host_without_such_a_directory_is_refused(first: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="has none of"):
        bwrap.mount_base([str(first), str(first.with_name("second"))])

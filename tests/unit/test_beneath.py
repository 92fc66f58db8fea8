"""Paths below a directory, while somebody exchanges what is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.linux.beneath import is_directory_inside, open_beneath, open_without_links


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a directory with links of every kind, and a file beside it."""
    root = tmp_path / "root"
    (root / "d" / "sub").mkdir(parents=True)
    (root / "d" / "file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    for name, target in (("in", "d"), ("up", ".."), ("out", "../file"), ("far", "/d"), ("loop", "loop")):
        (root / name).symlink_to(target)
    return root


@pytest.mark.parametrize(
    ("path", "found"),
    [
        *((path, True) for path in ("/d", "/in/sub", "/far/sub", "/../d", "/up/in")),
        *((path, False) for path in ("/d/file", "/none", "/out", "/loop", "/file")),
    ],
)
def test_a_directory_is_found_as_a_program_inside_would(root: Path, path: str, found: bool) -> None:
    assert is_directory_inside(root, path) == found


@pytest.mark.parametrize("path", ["up/file", "out", "../file", "far/file", "/d/file"])
def test_what_lies_outside_is_not_opened(root: Path, path: str) -> None:
    directory = os.open(root, os.O_PATH)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            open_beneath(directory, path, os.O_RDONLY)
    finally:
        os.close(directory)


def test_a_link_anywhere_in_a_path_is_refused(root: Path) -> None:
    os.close(open_without_links(root / "d" / "file", os.O_RDONLY))
    for name in ("in/file", "in", "up/root/d"):
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            open_without_links(root / name, os.O_PATH)

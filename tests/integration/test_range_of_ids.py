"""Sandboxes of an ordinary user who has a range of IDs, by newuidmap."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ordinary_user
import pytest

PROGRAMS = Path(__file__).with_name("programs")

Command = tuple[list[str], dict[str, str]]


@pytest.fixture(scope="module")
def user(need: Callable[[str, str | None], None]) -> int:
    """Return the user."""
    found = ordinary_user.with_range()
    if isinstance(found, str):
        need("newuidmap", found)
        return 0
    return found


@pytest.fixture(scope="module")
def command(user: int, need: Callable[[str, str | None], None]) -> Command:
    """Return what runs Python as that user, and its environment."""
    found = ordinary_user.command(user)
    if isinstance(found, str):
        need("ordinary-user", found)
        pytest.fail(found)
    return found


@pytest.fixture(scope="module")
def home(user: int) -> Iterator[Path]:
    """A directory of that user's."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, user, user)
        yield Path(directory)


@pytest.mark.parametrize("what", ["layers", "failures", "images"])
def test_files_of_the_range_are_worked_on(command: Command, home: Path, user: int, what: str) -> None:
    python, environment = command
    directory = home / what
    directory.mkdir()
    os.chown(directory, user, user)
    done = subprocess.run(
        [
            *python,
            "-W",
            "error",
            "-c",
            f"import range_of_ids as r; r.test_{what}(r.Path({str(directory)!r}))",
        ],
        env=environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}:{PROGRAMS}"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")

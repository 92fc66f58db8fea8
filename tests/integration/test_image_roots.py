"""Images that somebody may exchange for a link: no sandbox gets what that leads to as its root."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ordinary_user
import pytest
from layouts import busybox

from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

PROGRAM = Path(__file__).with_name("programs") / "exchanged_image.py"

Need = Callable[[str, str | None], None]
Start = Callable[..., str]


def root_with(path: Path, motd: str) -> Path:
    """Make a root file system that says something of itself."""
    program = busybox()
    assert program is not None
    for name in ("bin", "etc", "proc", "dev", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy(program, path / "bin" / "cat")
    (path / "etc" / "motd").write_text(motd)
    return path


@pytest.fixture(params=["bubblewrap", "bubblewrap of an ordinary user", "gvisor"])
def start(request: pytest.FixtureRequest, tmp_path: Path, need: Need) -> Start:
    """Return what starts a sandbox by the program `exchanged_image` and returns what that prints."""
    need(
        "busybox",
        None if busybox() else "there is no static busybox (on Debian: apt-get install busybox-static)",
    )
    command, environment = [sys.executable], dict(os.environ)
    name, _, ordinary = request.param.partition(" of ")
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    if ordinary and os.geteuid() == 0:
        found = ordinary_user.command()
        if isinstance(found, str):
            need("ordinary-user", found)
            pytest.skip(found)
        command, environment = found
        os.chown(state_dir, ordinary_user.NOBODY, ordinary_user.NOBODY)
        # Pytest keeps others out.
        for directory in (tmp_path, *tmp_path.parents):
            mode = directory.stat().st_mode
            if not mode & stat.S_IXOTH:
                directory.chmod(mode | stat.S_IXOTH)
    if name == "gvisor":
        available = asyncio.run(GvisorRuntime(tmp_path / "probe").check())
        need("gvisor", None if available.available else available.detail)
    places = [environment.get("PYTHONPATH", ""), str(PROGRAM.parents[1]), str(ordinary_user.ROOT)]
    environment["PYTHONPATH"] = os.pathsep.join(place for place in places if place)

    def run(*arguments: Path) -> str:
        line = [*command, str(PROGRAM), name, str(state_dir), *map(str, arguments)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a directory in which everybody may rename."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def test_a_directory_is_the_root_of_a_sandbox(start: Start, shared: Path) -> None:
    assert start(root_with(shared / "image", "an image\n")) == "an image\n"


def test_a_link_that_takes_the_place_of_a_directory_is_not_followed(start: Start, shared: Path) -> None:
    image, other = root_with(shared / "image", "an image\n"), root_with(shared / "other", "a secret\n")
    assert start(image, other).startswith("refused: ")


def listing(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_mode for path in directory.rglob("*")}


@pytest.mark.parametrize("change", ["nothing", "a link in the way", "no etc"])
def test_nothing_is_made_in_a_directory_that_is_an_image(start: Start, shared: Path, change: str) -> None:
    image = root_with(shared / "image", "an image\n")
    (image / "etc").chmod(0o711)
    if change == "a link in the way":
        (image / ".flash-sandbox-idle").symlink_to("/tmp/made")
    elif change == "no etc":
        (image / "etc" / "motd").unlink()
        (image / "etc").rmdir()
    before = listing(image)
    assert start(image) == ("" if change == "no etc" else "an image\n")
    assert listing(image) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_an_image_may_be_on_a_file_system_that_is_read_only(start: Start, shared: Path) -> None:
    image = root_with(shared / "image", "an image\n")
    subprocess.run(["mount", "--bind", image, image], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", image], check=True)
        assert start(image) == "an image\n"
    finally:
        subprocess.run(["umount", image], check=True)

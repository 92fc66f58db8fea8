"""Walking through trees of strangers: at any depth, with any mode, and while somebody exchanges them."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from other_user import NOBODY, acting_as

from flash_sandbox.orchestrator.linux.tree_walk import (
    Entry,
    Position,
    TreeChanged,
    open_file,
    remove_tree,
    walk,
)
from flash_sandbox.orchestrator.state.trash import Trash


def make_deep(top: Path, depth: int, name: str = "d", mode: int = 0o755) -> None:
    """Make nested directories, whatever the length of the path, with a file in each."""
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        with suppress(FileExistsError):
            os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0, dir_fd=descriptor))
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


SHAPES: dict[str, Callable[[Path], object]] = {
    "deep": lambda top: make_deep(top, 1200),
    "deep and closed": lambda top: make_deep(top, 300, mode=0),
    "longer than any path": lambda top: make_deep(top, 40, "n" * 255),
    "closed, with something in it": lambda top: ((top / "x").mkdir(), top.chmod(0)),
    "not to be entered": lambda top: ((top / "x").touch(), top.chmod(0o600)),
    "not to be written to": lambda top: ((top / "x").touch(), top.chmod(0o500)),
    "of links": lambda top: (top / "l").symlink_to("/"),
    "of any bytes": lambda top: (top / os.fsdecode(b"\xff\n")).mkdir(),
    "wide": lambda top: [(top / str(number)).touch() for number in range(1500)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_tree_can_be_removed(tmp_path, shape):
    (tmp_path / "tree" / "below").mkdir(parents=True)
    SHAPES[shape](tmp_path / "tree" / "below")
    before = len(os.listdir("/proc/self/fd"))
    remove_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_walk_at_any_depth_holds_few_descriptors(tmp_path):
    make_deep(tmp_path, 500)
    before = len(os.listdir("/proc/self/fd"))
    most = max(len(os.listdir("/proc/self/fd")) for _ in walk(tmp_path, path_bytes=4096, depth=1000))
    assert most - before < 40
    remove_tree(tmp_path)


def test_a_walk_comes_to_everything_once(tmp_path):
    for number in range(30):
        make_deep(tmp_path, number, f"d{number % 3}" * (number + 1))
    expected = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert sorted(entry.path for entry in walk(tmp_path, path_bytes=4096, depth=1000)) == ["", *expected]


def test_trees_that_are_exchanged_meanwhile_are_removed_without_following_a_link(tmp_path):
    outside = tmp_path / "outside"
    make_deep(tmp_path, 1)
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(100):
        (tree / str(number)).mkdir()
        (tree / str(number) / "file").touch()
    going = threading.Event()

    def exchange() -> None:
        (tmp_path / "link").symlink_to(outside)
        going.set()
        while tree.exists():
            for number in range(100):
                try:
                    os.rename(tree / str(number), tmp_path / "aside")
                    os.symlink(outside, tree / str(number))
                    os.unlink(tree / str(number))
                    os.rename(tmp_path / "aside", tree / str(number))
                except OSError:
                    remove_tree(tmp_path / "aside")

    thread = threading.Thread(target=exchange)
    thread.start()
    going.wait()
    while tree.exists():
        try:
            remove_tree(tree)
        except OSError:
            continue
    thread.join()
    assert [path.name for path in outside.iterdir()] == ["precious"]


@pytest.mark.parametrize("replacement", ["link", "other file", "pipe", "nothing"])
def test_a_file_that_was_exchanged_is_not_opened(tmp_path, replacement):
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    (tmp_path / "tree").mkdir()
    file = tmp_path / "tree" / "file"
    file.touch()
    for entry in walk(tmp_path / "tree", path_bytes=100, depth=9):
        if entry.name != "file":
            continue
        file.rename(tmp_path / "before")
        {
            "link": lambda: file.symlink_to(secret),
            "other file": lambda: file.touch(),
            "pipe": lambda: os.mkfifo(file),
            "nothing": lambda: None,
        }[replacement]()
        with pytest.raises(TreeChanged):
            open_file(entry)


@pytest.mark.parametrize("replacement", ["link", "file", "nothing"])
def test_a_directory_that_was_exchanged_is_not_entered(tmp_path, replacement):
    tree = tmp_path / "tree"
    for name in ("one", "other"):
        (tree / name).mkdir(parents=True)
    walking = walk(tree, path_bytes=100, depth=9)
    next(walking)
    other = tree / ("other" if next(walking).name == "one" else "one")
    other.rmdir()
    if replacement == "link":
        other.symlink_to("/")
    elif replacement == "file":
        other.touch()
    with pytest.raises(TreeChanged):
        next(walking)


def test_a_mode_that_was_lifted_is_given_back_where_that_did_not_help(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    os.chmod("socket", 0o040)
    parent = os.open(".", os.O_RDONLY)
    entry = Entry("socket", "socket", parent, -1, os.lstat("socket"), 0o040)
    user = os.geteuid() or NOBODY
    os.chown("socket", user, -1)
    tmp_path.chmod(0o755)
    before = os.listdir("/proc/self/fd")
    with acting_as(user), pytest.raises(TreeChanged):
        open_file(entry)
    assert stat.S_IMODE(os.lstat("socket").st_mode) == 0o040
    assert os.listdir("/proc/self/fd") == before
    os.close(parent)


def test_a_directory_whose_mode_cannot_be_lifted_is_not_left_open(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(PermissionError):
        Position(Path(f"/proc/{os.getpid()}"), needed=0o700)
    assert os.listdir("/proc/self/fd") == before


def _move_once_deep(walking: Iterator[Entry], moved: Path, elsewhere: Path) -> None:
    for entry in walking:
        if entry.path.count("/") == 58 and moved.exists():
            moved.rename(elsewhere / "d")


def test_a_directory_that_was_moved_away_is_not_left_upwards(tmp_path):
    make_deep(tmp_path, 60)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = tmp_path.joinpath(*["d"] * 30)
    walking = walk(tmp_path, path_bytes=4096, depth=1000)
    with pytest.raises(TreeChanged):
        _move_once_deep(walking, moved, elsewhere)


def test_what_is_thrown_away_is_gone_at_once_and_removed_later(tmp_path):
    (tmp_path / "tree" / "below").mkdir(parents=True)
    make_deep(tmp_path / "tree" / "below", 200, mode=0)
    trash = Trash(tmp_path / "trash")
    trash.open()
    trash.throw_away(tmp_path / "tree")
    trash.throw_away(tmp_path / "nothing")
    assert not (tmp_path / "tree").exists()
    assert trash.wait(30)
    assert list((tmp_path / "trash").iterdir()) == []
    trash.close()
    assert list(tmp_path.iterdir()) == []


def test_trash_that_was_left_is_removed_the_next_time(tmp_path):
    (tmp_path / "trash" / "left").mkdir(parents=True)
    make_deep(tmp_path / "trash" / "left", 1200)
    trash = Trash(tmp_path / "trash")
    trash.open()
    assert trash.wait(30)
    assert list((tmp_path / "trash").iterdir()) == []


def test_what_cannot_be_removed_is_told_and_holds_up_nothing(tmp_path, undeletable):
    told: list[tuple[str, dict[str, object]]] = []
    trash = Trash(tmp_path / "trash", lambda name, **fields: told.append((name, fields)))
    trash.open()
    (tmp_path / "other").mkdir()
    trash.throw_away(undeletable)
    trash.throw_away(tmp_path / "other")
    assert trash.wait(30)
    assert [name for name, _ in told] == ["leftover not removed"]
    assert len(list((tmp_path / "trash").iterdir())) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_trash_closes_though_its_log_has_failed(tmp_path, undeletable):
    def fail(name: str, **fields: object) -> None:
        raise RuntimeError

    trash = Trash(tmp_path / "trash", fail)
    trash.open()
    trash.throw_away(undeletable)
    assert trash.wait(30)
    (tmp_path / "other").mkdir()
    trash.throw_away(tmp_path / "other")
    trash.close()
    assert len(list((tmp_path / "trash").iterdir())) == 1


@pytest.fixture
def undeletable(tmp_path):
    """A directory that not even root can empty: a process works in a mount below it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    target = tmp_path / "mounted" / "busy"
    target.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
    yield tmp_path / "mounted"
    (mounted,) = (tmp_path / "trash").glob("*/busy")
    subprocess.run(["umount", mounted], check=True)

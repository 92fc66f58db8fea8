"""Works on files of a range of IDs, as an ordinary user who has one."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_sandbox import InternalServerError, InvalidArgumentError
from flash_sandbox.orchestrator.sandboxing import archive
from flash_sandbox.orchestrator.sandboxing.file_work import NamespaceWork
from flash_sandbox.orchestrator.sandboxing.id_range import IdRange
from flash_sandbox.orchestrator.sandboxing.subordinate_ids import find_range
from flash_sandbox.orchestrator.sandboxing.trash import Trash
from flash_sandbox.orchestrator.sandboxing.tree_walk import remove_tree


def make_tree(tree: Path) -> None:
    """Make files of several owners, some that only they may look at."""
    tree.mkdir()
    for user, group in ((1, 2), (33, 42), (65534, 65535)):
        directory = tree / str(user)
        directory.mkdir()
        (directory / "file").write_text(str(user))
        (directory / "link").symlink_to("file")
        with (directory / "sparse").open("wb") as file:
            file.truncate(1 << 20)
            file.write(b"x")
        for path in (directory, *directory.iterdir()):
            os.chown(path, user, group, follow_symlinks=False)
        (directory / "file").chmod(0)
        directory.chmod(0o2700)


def seen(tree: Path) -> dict[str, tuple[int, int, int]]:
    """Return owners and modes of all below a directory."""
    statuses = {str(path.relative_to(tree)): path.lstat() for path in tree.rglob("*")}
    return {name: (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in statuses.items()}


def fail() -> None:
    """Raise an error of this package."""
    raise InvalidArgumentError("refused here")


def end_itself() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def end_worker() -> None:
    """Kill the process that the calls come from."""
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()


def count() -> Iterator[int]:
    """Yield numbers without end."""
    number = 0
    while True:
        yield number
        number += 1


def main(directory: Path) -> None:
    """Do it in an empty directory of this user's; what is not as it should be is an exception."""
    id_map = find_range()
    work = NamespaceWork(id_map)
    tree, again, packed = directory / "tree", directory / "again", directory / "packed"
    assert work.run(os.getuid) == 0
    work.run(make_tree, tree)
    assert (tree / "33").stat().st_uid == id_map.first_user + 32
    assert (tree / "33").stat().st_gid == id_map.first_group + 41
    before = work.run(seen, tree)
    assert before["33"] == (33, 42, 0o2700)
    assert before["65534/file"] == (65534, 65535, 0)

    work.run(archive.pack_layer, tree, packed, IdRange(0))
    assert (packed.stat().st_uid, stat.S_IMODE(packed.stat().st_mode)) == (os.getuid(), 0o600)
    again.mkdir()
    with packed.open("rb") as file:
        # Not at its beginning, and read ahead: it goes on from where it was.
        assert file.read(1)
        file.seek(0)
        work.run(archive.unpack_layer, file, again, IdRange(0))
    assert work.run(seen, again) == before

    with pytest.raises(PermissionError):
        remove_tree(again)
    work.run(remove_tree, again)
    trash = Trash(directory / "trash", work=work)
    trash.open()
    trash.throw_away(tree)
    assert trash.wait(30)
    trash.close()
    assert os.listdir(directory) == ["packed"]

    with pytest.raises(InvalidArgumentError) as raised:
        work.run(fail)
    assert raised.value.__notes__[0].startswith("Traceback")
    with pytest.raises(InternalServerError):
        work.run(end_itself)

    numbers = work.iterate(count)
    assert [next(numbers) for _ in range(3)] == [0, 1, 2]
    del numbers

    inside = work.run(os.readlink, "/proc/self/ns/user")
    with pytest.raises(InternalServerError):
        work.run(end_worker)
    assert work.run(os.readlink, "/proc/self/ns/user") == inside != os.readlink("/proc/self/ns/user")
    work.close()
    with pytest.raises(InternalServerError):
        work.run(os.getuid)
    print("done")

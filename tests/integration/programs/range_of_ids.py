"""Works on files of a range of IDs, as an ordinary user who has one."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_sandbox import InternalServerError, InvalidArgumentError
from flash_sandbox.orchestrator.archives import layers
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.rootfs import Images
from flash_sandbox.orchestrator.images.store import ImageStore
from flash_sandbox.orchestrator.linux.file_work import NamespaceWork
from flash_sandbox.orchestrator.linux.id_range import IdRange
from flash_sandbox.orchestrator.linux.subordinate_ids import find_range
from flash_sandbox.orchestrator.linux.tree_walk import remove_tree
from flash_sandbox.orchestrator.linux.user_ids import UserIds, remove_any_tree
from flash_sandbox.orchestrator.state.trash import Trash


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


def test_layers(directory: Path) -> None:
    """Layers are packed and unpacked with their owners, and removed."""
    id_map = find_range()
    work = NamespaceWork(id_map)
    tree, again, packed = directory / "tree", directory / "again", directory / "packed"
    work.run(make_tree, tree)
    assert (tree / "33").stat().st_uid == id_map.first_user + 32
    assert (tree / "33").stat().st_gid == id_map.first_group + 41
    before = work.run(seen, tree)
    assert before["33"] == (33, 42, 0o2700)
    assert before["65534/file"] == (65534, 65535, 0)

    work.run(layers.pack_layer, tree, packed, IdRange(0))
    assert (packed.stat().st_uid, stat.S_IMODE(packed.stat().st_mode)) == (os.getuid(), 0o600)
    again.mkdir()
    with packed.open("rb") as file:
        # Not at its beginning, and read ahead: it goes on from where it was.
        assert file.read(1)
        file.seek(0)
        work.run(layers.unpack_layer, file, again, IdRange(0))
    assert work.run(seen, again) == before

    with pytest.raises(PermissionError):
        remove_tree(again)
    remove_any_tree(again)
    trash = Trash(directory / "trash")
    trash.open(work)
    trash.throw_away(tree)
    assert trash.wait(30)
    trash.close()
    assert os.listdir(directory) == ["packed"]
    work.close()


def test_failures(directory: Path) -> None:
    """What a function raises is raised; one that is killed, and its parent, is an error and no more."""
    work = NamespaceWork(find_range())
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


def test_images(directory: Path) -> None:
    """Images are unpacked with their owners; what was unpacked without a range can be used, too."""
    first, second = directory / "first.tar", directory / "second.tar"
    for path in (first, second):
        with tarfile.open(path, "w") as tar:
            for name, kind, user, mode in (
                ("etc", tarfile.DIRTYPE, 7, 0o700),
                ("etc/secret", tarfile.REGTYPE, 33, 0o600),
                (f"home/{path.name}", tarfile.DIRTYPE, 1000, 0o700),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.uid, info.gid, info.mode = kind, user, user, mode
                tar.addfile(info)
    without, within = UserIds(), UserIds()
    # As if there were nothing to find.
    without.open = lambda: None  # type: ignore[method-assign]

    def tree_of(path: Path, ids: UserIds) -> Path:
        images = Images(directory / "images", [directory], user_ids=ids)
        images.open()
        root = asyncio.run(images.resolve(str(path)))
        root.release()
        return root.lower

    old = tree_of(first, without)
    assert (old / "etc").stat().st_uid == os.getuid()
    assert tree_of(first, within) == old
    new = tree_of(second, within)
    found = within.work.run(seen, new)
    assert found["etc/secret"] == (33, 33, 0o600)
    assert found["home/second.tar"] == (1000, 1000, 0o700)
    # Its /etc is another user's.
    assert found["etc/hosts"] == (0, 0, 0o644)
    assert tree_of(second, without) != new
    store = ImageStore(directory / "images", user_ids=within)
    store.open()
    assert [image.tree.in_use for image in store.list()] == [False, False]
    for path in (first, second):
        assert store.remove(parse_source(str(path)))
    assert os.listdir(directory / "images" / "trees") == ["trash"]
    assert os.listdir(directory / "images" / "trees" / "trash") == []
    within.close()

"""The files of a sandbox, by way of its guest agent.

Each operation is done by a process inside the sandbox, so the kernel resolves every path there, whatever the
sandbox makes of its links meanwhile. What it answers is checked, and has bounds and a deadline.
"""

from __future__ import annotations

import errno
import secrets
import stat as modes
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from operator import itemgetter
from typing import Final, TypeVar

import flash_sandbox_guest as guest

from ...errors import (
    InvalidArgumentError,
    PayloadTooLargeError,
    SandboxEndedError,
    SandboxError,
    SandboxFileConflictError,
)
from ...models import MAX_MESSAGE_BYTES, FileInfo, FileType
from ..cancellation import completed
from .channel import Channel, ChannelFailed
from .entries import ByteSource, Item, Malformed, entry_name, parsed_entry
from .file_worker import GONE, FileWorker, Kind, failure, tolerating, within
from .tar_reader import MalformedArchive, items_of_tar
from .tar_writer import tar_of_items
from .trees import list_tree, remove_tree
from .unpacking import unpack_tree

__all__ = [
    "SECONDS",
    "STALL_SECONDS",
    "TREE_SECONDS",
    "list_dir",
    "make_dir",
    "move",
    "pack",
    "read_file",
    "remove",
    "stat",
    "unpack",
    "write_file",
]

_T = TypeVar("_T")

SECONDS: Final = 10.0
"""What is done to one file takes no longer, unless it hangs."""

TREE_SECONDS: Final = 60.0
"""What may be done to many files takes no longer."""

STALL_SECONDS: Final = 30.0
"""An archive of which nothing moves for so long is given up."""

# An entry becomes up to six times as long in JSON, and a client takes 128 MiB.
_LIST_BYTES: Final = MAX_MESSAGE_BYTES
_LIST_ENTRIES: Final = 250_000
_DIRECTORY_MODE: Final = 0o755

_ANYTHING: Final = 2**64 - 1

_TYPES: Final[dict[int, FileType]] = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "symlink",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFCHR: "char_device",
    modes.S_IFBLK: "block_device",
}

_Work = Callable[[FileWorker], Awaitable[_T]]


async def read_file(channel: Channel, path: str) -> bytes:
    """Return the content of a regular file, of up to `MAX_MESSAGE_BYTES`."""

    async def read(worker: FileWorker) -> bytes:
        parts, size = [], 0

        def fill(end: int) -> None:
            """Add the hole, if there is one, up to here."""
            if end > MAX_MESSAGE_BYTES:
                raise PayloadTooLargeError(f"{path}: is larger than {MAX_MESSAGE_BYTES} bytes: download it")
            parts.append(bytes(max(end - size, 0)))

        worker.ask(Kind.READ, path.encode(), follow=True, whole=True)
        entry = await worker.first_entry()
        if entry is None:
            raise Malformed("it answers nothing")
        async for at, data in worker.content():
            fill(at)
            size = at + len(data)
            parts.append(data)
        fill(max(entry.size, size))
        return b"".join(parts)

    return await _do(channel, path, SECONDS, read)


async def write_file(
    channel: Channel, path: str, content: bytes, *, mode: int = 0, parents: bool = False
) -> None:
    """Replace a file at once; a `mode` of 0 keeps that of the file, or is 0644."""

    async def write(worker: FileWorker) -> None:
        if parents:
            _ask_for_parents(worker, path)
        worker.ask(Kind.WRITE, path.encode(), mode=mode)
        if content:
            await worker.write(0, content)
        await worker.write(0, b"")
        await worker.settle()

    await _do(channel, path, SECONDS, write)


async def stat(channel: Channel, path: str) -> FileInfo:
    """Return what is at a path; of a link the link itself."""
    return _info(path, path, await _do(channel, path, SECONDS, lambda worker: _entry(worker, path)))


async def list_dir(channel: Channel, path: str) -> tuple[FileInfo, ...]:
    """Return what is in a directory, by name; what is not UTF-8 in a name reads as U+FFFD."""

    async def list_all(worker: FileWorker) -> list[tuple[bytes, FileInfo]]:
        found: list[tuple[bytes, FileInfo]] = []
        size = 0
        worker.ask(Kind.ENTER, path.encode(), follow=True, list=True)
        # No worker that waits holds up an unmount.
        worker.ask(Kind.ENTER, b"/")
        if await worker.first_entry(2) is None:
            raise Malformed("it answers nothing")
        while data := await worker.next_frame():
            size += len(data)
            if len(found) == _LIST_ENTRIES or size > _LIST_BYTES:
                raise PayloadTooLargeError(f"{path}: holds more files than one message can tell of")
            entry = parsed_entry(data)
            info = _info(path, entry.name.decode("utf-8", "replace"), entry)
            found.append((entry_name(entry), info))
        await worker.result()
        return found

    found = await _do(channel, path, TREE_SECONDS, list_all)
    return tuple(info for _, info in sorted(found, key=itemgetter(0)))


async def make_dir(channel: Channel, path: str, *, mode: int = 0, parents: bool = False) -> None:
    """Make a directory; a `mode` of 0 is 0755."""

    async def make(worker: FileWorker) -> None:
        if parents:
            _ask_for_parents(worker, path)
            worker.ask(Kind.STAT, path.encode(), follow=True, tolerated=GONE)
            there = await worker.result()
            if there is not None and modes.S_ISDIR(there.mode):
                return
        worker.ask(Kind.MAKE, path.encode(), mode=modes.S_IFDIR | (mode or _DIRECTORY_MODE))
        await worker.settle()

    await _do(channel, path, SECONDS, make)


async def remove(channel: Channel, path: str, *, recursive: bool = False) -> None:
    """Remove a file, a link itself, or a directory."""

    async def remove_it(worker: FileWorker) -> None:
        encoded = path.encode()
        root, entry = await _entry(worker, "/"), await _entry(worker, path)
        is_root = (root.device, root.inode) == (entry.device, entry.inode)
        if is_root or encoded.rpartition(b"/")[2] in (b"", b".", b".."):
            # Everything would go with it.
            raise failure(path, errno.EINVAL, Kind.REMOVE_DIR)
        if recursive and modes.S_ISDIR(entry.mode):
            await remove_tree(worker, encoded)
            return
        worker.ask(Kind.REMOVE_DIR if modes.S_ISDIR(entry.mode) else Kind.UNLINK, encoded)
        await worker.settle()

    await _do(channel, path, TREE_SECONDS, remove_it)


async def move(channel: Channel, source: str, target: str) -> None:
    """Give a file, a link or a directory another path; replace a file that is there, but no directory.

    To another file system it is copied, and removed once the copy is whole and in its place.
    """

    async def rename(worker: FileWorker) -> bool:
        entry = await _entry(worker, source)
        worker.ask(Kind.STAT, target.encode(), follow=True, tolerated=_ANYTHING)
        there = await worker.result()
        if there is not None and modes.S_IFDIR in (modes.S_IFMT(entry.mode), modes.S_IFMT(there.mode)):
            raise failure(f"{source}: {target}", errno.EEXIST)
        worker.ask(Kind.MOVE, source.encode(), target=target.encode())
        try:
            await worker.settle()
        except SandboxError:
            if worker.error != errno.EXDEV:
                raise
            return False
        return True

    async with within(TREE_SECONDS, f"{source} to {target}"):
        if await _do(channel, source, None, rename):
            return
        directory = target.rpartition("/")[0] or "/"
        beside = f"{directory.rstrip('/')}/.flash-sandbox-{secrets.token_hex(8)}"
        try:
            await _copy(channel, source, directory, beside)
            await _do(channel, beside, None, lambda worker: _rename(worker, beside, target))
        except BaseException:
            with suppress(SandboxError):
                await completed(remove(channel, beside, recursive=True))
            raise
        await remove(channel, source, recursive=True)


async def unpack(channel: Channel, path: str, chunks: AsyncIterator[bytes]) -> None:
    """Unpack a tar archive into a directory, as it comes."""
    with _worker(channel, path, STALL_SECONDS) as worker:
        _ask_for_parents(worker, path)
        _ask_for_directory(worker, path.encode())
        try:
            async with aclosing(items_of_tar(ByteSource(chunks))) as items:
                await unpack_tree(worker, path.encode(), items)
        except MalformedArchive as error:
            raise InvalidArgumentError(f"{path}: the archive cannot be unpacked: {error}") from error


async def pack(channel: Channel, path: str) -> AsyncGenerator[bytes]:
    """Pack a file or directory into a tar archive, as it is taken."""
    with _worker(channel, path, STALL_SECONDS) as worker:
        async with (
            aclosing(list_tree(worker, path.encode())) as items,
            aclosing(tar_of_items(items)) as archive,
        ):
            async for chunk in archive:
                yield chunk


async def _do(channel: Channel, path: str, seconds: float | None, work: _Work[_T]) -> _T:
    """Do something that can be done again if its worker was killed while it was idle."""
    async with within(seconds, path):
        while True:
            with _worker(channel, path) as worker:
                try:
                    return await work(worker)
                except SandboxError:
                    if not (worker.is_reused and worker.was_killed) or worker.has_answered:
                        raise


@contextmanager
def _worker(channel: Channel, path: str, stall_seconds: float | None = None) -> Iterator[FileWorker]:
    """Have a worker for the length of a block."""
    try:
        worker = FileWorker(channel, path, stall_seconds=stall_seconds)
        try:
            yield worker
        finally:
            worker.close()
    except ChannelFailed as error:
        raise SandboxEndedError(f"{path}: {error}") from error
    except Malformed as error:
        raise _nonsense(path, error) from error


def _ask_for_parents(worker: FileWorker, path: str) -> None:
    """Ask for the directories above a path, as far as they are missing."""
    encoded = path.encode()
    at = encoded.find(b"/", 1)
    while at > 0:
        _ask_for_directory(worker, encoded[:at])
        at = encoded.find(b"/", at + 1)


def _ask_for_directory(worker: FileWorker, path: bytes) -> None:
    mode, tolerated = modes.S_IFDIR | _DIRECTORY_MODE, tolerating(errno.EEXIST)
    worker.ask(Kind.MAKE, path, mode=mode, tolerated=tolerated)


async def _entry(worker: FileWorker, path: str) -> guest.Entry:
    """Return what is at a path; of a link the link itself."""
    worker.ask(Kind.STAT, path.encode())
    entry = await worker.result()
    if entry is None:
        raise Malformed("it answers nothing")
    return entry


async def _rename(worker: FileWorker, path: str, target: str) -> None:
    worker.ask(Kind.MOVE, path.encode(), target=target.encode())
    await worker.settle()


async def _copy(channel: Channel, source: str, directory: str, copy: str) -> None:
    """Copy a file, a link or a tree, with its owners, to a path in a directory."""
    with _worker(channel, source) as reader, _worker(channel, copy) as writer:
        entry = await _entry(reader, source)
        name = copy.rpartition("/")[2].encode()
        if modes.S_ISDIR(entry.mode):
            _ask_for_directory(writer, copy.encode())
            async with aclosing(list_tree(reader, source.encode())) as items:
                await unpack_tree(writer, copy.encode(), items)
        elif modes.S_ISREG(entry.mode):
            async with aclosing(list_tree(reader, source.encode())) as items:
                await unpack_tree(writer, directory.encode(), _renamed(items, name))
        elif modes.S_IFMT(entry.mode) in (modes.S_IFLNK, modes.S_IFIFO):
            entry.name = name
            await unpack_tree(writer, directory.encode(), _only(Item(entry)))
        else:
            raise failure(source, errno.EXDEV)


async def _renamed(items: AsyncIterator[Item], name: bytes) -> AsyncIterator[Item]:
    async for item in items:
        item.entry.name = name
        yield item


async def _only(item: Item) -> AsyncIterator[Item]:
    yield item


def _info(path: str, name: str, entry: guest.Entry) -> FileInfo:
    try:
        return FileInfo(
            name=name,
            type=_TYPES[modes.S_IFMT(entry.mode)],
            size=entry.size,
            mode=modes.S_IMODE(entry.mode),
            uid=entry.uid,
            gid=entry.gid,
            modified_at=entry.modified_ns / 1e9,
            link_target=entry.link.decode("utf-8", "replace"),
        )
    except (InvalidArgumentError, LookupError) as error:
        raise _nonsense(path, error) from error


def _nonsense(path: str, error: Exception) -> SandboxFileConflictError:
    return SandboxFileConflictError(f"{path}: the sandbox tells nonsense of it: {error}")

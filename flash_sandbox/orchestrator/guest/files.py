"""The files of a sandbox, by way of its guest agent.

Each operation is done by a process inside the sandbox, so the kernel resolves every path there, whatever the
sandbox makes of its links meanwhile. What the agent answers is the sandbox's word: it is checked, and it has
bounds and a deadline.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import stat as modes
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar

import flash_sandbox_guest as guest

from ...errors import (
    InvalidArgumentError,
    PayloadTooLargeError,
    Reason,
    SandboxEndedError,
    SandboxError,
    SandboxFileConflictError,
    SandboxTimeoutError,
    error_for,
)
from ...models import MAX_MESSAGE_BYTES, FileInfo, FileType
from ..cancellation import completed
from .channel import Channel, ChannelFailed
from .entries import CHUNK_BYTES, ByteSource, Malformed, framed_entry, next_entry, parsed_entry, shown
from .tar_reader import pack_of_tar
from .tar_writer import tar_of_pack

__all__ = [
    "CAUSES",
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
_SAID_BYTES: Final = 1024

_TYPES: Final[dict[int, FileType]] = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "symlink",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFCHR: "char_device",
    modes.S_IFBLK: "block_device",
}

CAUSES: Final[dict[int, tuple[Reason, str]]] = {
    errno.ENOENT: (Reason.FILE_NOT_FOUND, "no such file or directory"),
    errno.EACCES: (Reason.FILE_DENIED, "permission denied"),
    errno.EPERM: (Reason.FILE_DENIED, "operation not permitted"),
    errno.EROFS: (Reason.FILE_DENIED, "read-only file system"),
    errno.EISDIR: (Reason.FILE_CONFLICT, "is a directory"),
    errno.ENOTDIR: (Reason.FILE_CONFLICT, "not a directory"),
    errno.EEXIST: (Reason.FILE_EXISTS, "there is one already"),
    errno.ENOTEMPTY: (Reason.FILE_CONFLICT, "directory not empty"),
    errno.ELOOP: (Reason.FILE_CONFLICT, "too many levels of links"),
    errno.EMLINK: (Reason.FILE_CONFLICT, "too many links"),
    errno.ENOSPC: (Reason.FILE_CONFLICT, "no space left on device"),
    errno.EDQUOT: (Reason.FILE_CONFLICT, "no space left on device"),
    errno.EFBIG: (Reason.FILE_CONFLICT, "too large for the file system"),
    errno.EBUSY: (Reason.FILE_CONFLICT, "in use"),
    errno.ETXTBSY: (Reason.FILE_CONFLICT, "in use"),
    errno.ESTALE: (Reason.FILE_CONFLICT, "was changed meanwhile"),
    errno.EXDEV: (Reason.FILE_CONFLICT, "cannot be moved to another file system"),
    errno.EIO: (Reason.FILE_CONFLICT, "input/output error"),
    errno.EAGAIN: (Reason.FILE_CONFLICT, "the sandbox has no room for another process"),
    errno.ENOMEM: (Reason.FILE_CONFLICT, "the sandbox has no memory left"),
    errno.EMFILE: (Reason.FILE_CONFLICT, "too many open files"),
    errno.ENFILE: (Reason.FILE_CONFLICT, "too many open files"),
    errno.EINTR: (Reason.FILE_CONFLICT, "the process that did it was killed"),
    errno.ENAMETOOLONG: (Reason.INVALID_ARGUMENT, "a name is too long"),
}
"""What the errors of operations mean (errno(3))."""

_INVALID: Final = {
    guest.FileKind.READ: "is no regular file",
    guest.FileKind.WRITE: "is no regular file",
    guest.FileKind.PACK: "is no regular file",
    guest.FileKind.MOVE: "cannot be moved into itself",
    guest.FileKind.REMOVE: "cannot be removed",
}
"""What EINVAL means."""


async def read_file(channel: Channel, path: str) -> bytes:
    """Return the content of a regular file, of up to `MAX_MESSAGE_BYTES`."""
    async with _within(SECONDS, path):
        with _operation(channel, guest.FileKind.READ, path) as reading:
            too_large = f"is larger than {MAX_MESSAGE_BYTES} bytes: download it"
            return b"".join([piece async for piece in reading.pieces(MAX_MESSAGE_BYTES, too_large)])


async def write_file(
    channel: Channel, path: str, content: bytes, *, mode: int = 0, parents: bool = False
) -> None:
    """Replace a file at once; a `mode` of 0 keeps that of the file, or is 0644."""
    async with _within(SECONDS, path):
        with _operation(channel, guest.FileKind.WRITE, path, mode=mode, parents=parents) as writing:
            await writing.write(content, end=True)
            await writing.succeed()


async def stat(channel: Channel, path: str) -> FileInfo:
    """Return what is at a path; of a link the link itself."""
    async with _within(SECONDS, path):
        return _info(path, path, await _entry(channel, path))


async def list_dir(channel: Channel, path: str) -> tuple[FileInfo, ...]:
    """Return what is in a directory, by name; what is not UTF-8 in a name reads as U+FFFD."""
    found: list[FileInfo] = []
    too_large = "holds more files than one message can tell of"
    async with _within(TREE_SECONDS, path):
        with _operation(channel, guest.FileKind.LIST, path) as listing:
            source = ByteSource(listing.pieces(_LIST_BYTES, too_large))
            while (entry := await next_entry(source)) is not None:
                if entry.name in (b"", b".", b"..") or b"/" in entry.name:
                    raise Malformed(f"{shown(entry.name)} is no name of a file in a directory")
                found.append(_info(path, entry.name.decode("utf-8", "replace"), entry))
                if len(found) > _LIST_ENTRIES:
                    raise PayloadTooLargeError(f"{path}: {too_large}")
    return tuple(found)


async def make_dir(channel: Channel, path: str, *, mode: int = 0, parents: bool = False) -> None:
    """Make a directory; a `mode` of 0 is 0755."""
    await _perform(channel, SECONDS, guest.FileKind.MAKE_DIR, path, mode=mode, parents=parents)


async def remove(channel: Channel, path: str, *, recursive: bool = False) -> None:
    """Remove a file, a link itself, or a directory."""
    await _perform(channel, TREE_SECONDS, guest.FileKind.REMOVE, path, recursive=recursive)


async def move(channel: Channel, source: str, target: str) -> None:
    """Give a file, a link or a directory another path; replace a file that is there, but no directory.

    To another file system it is copied, and removed once the copy is whole and in its place.
    """
    async with _within(TREE_SECONDS, f"{source} to {target}"):
        with _operation(channel, guest.FileKind.MOVE, source, target=target.encode()) as moving:
            ended = await moving.outcome()
            if ended.status != errno.EXDEV:
                moving.require_success(ended)
                return
        directory = target.rpartition("/")[0] or "/"
        beside = f"{directory.rstrip('/')}/.flash-sandbox-{secrets.token_hex(8)}"
        try:
            await _copy(channel, source, directory, beside)
            await _perform(channel, SECONDS, guest.FileKind.MOVE, beside, target=target.encode())
        except BaseException:
            with suppress(SandboxError):
                await completed(remove(channel, beside, recursive=True))
            raise
        await remove(channel, source, recursive=True)


async def unpack(channel: Channel, path: str, chunks: AsyncIterator[bytes]) -> None:
    """Unpack a tar archive into a directory, as it comes."""
    with _operation(channel, guest.FileKind.UNPACK, path, parents=True) as unpacking:
        try:
            async with aclosing(pack_of_tar(ByteSource(chunks))) as items:
                async for item in items:
                    await _in_time(unpacking.write(item), path)
                    if unpacking.has_ended:
                        # Before it has all: it has failed.
                        await unpacking.succeed()
                        raise _nonsense(path, Malformed("it has not taken the archive"))
        except Malformed as error:
            raise InvalidArgumentError(f"{path}: the archive cannot be unpacked: {error}") from error
        await _in_time(unpacking.write(b"", end=True), path)
        await _in_time(unpacking.succeed(), path)


async def pack(channel: Channel, path: str) -> AsyncGenerator[bytes]:
    """Pack a file or directory into a tar archive, as it is taken."""
    with _operation(channel, guest.FileKind.PACK, path) as packing:
        async with (
            aclosing(packing.pieces()) as pieces,
            aclosing(tar_of_pack(ByteSource(pieces))) as archive,
        ):
            while (chunk := await _in_time(anext(archive, None), path)) is not None:
                yield chunk


class _Operation:
    """One operation of the agent.

    Args:
        channel: The channel to the agent.
        kind: What to do.
        path: What to do it to.
        more: More of `guest.FileTask`.
    """

    def __init__(self, channel: Channel, kind: guest.FileKind, path: str, **more: Any) -> None:
        self._kind = kind
        self._path = path
        self._said = b""
        self._task = channel.file(guest.FileTask(kind=kind, path=path.encode(), **more))

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._task.has_ended

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send input; nothing where it has ended."""
        await self._task.write(data, end=end)

    async def pieces(self, limit: int | None = None, too_large: str = "") -> AsyncGenerator[bytes]:
        """Yield what it sends, and raise at the end what it failed with."""
        size = 0
        async for output in self._task.output():
            if output.stream == guest.OutputStream.STDERR:
                self._said = (self._said + output.data)[:_SAID_BYTES]
                continue
            size += len(output.data)
            if limit is not None and size > limit:
                raise PayloadTooLargeError(f"{self._path}: {too_large}")
            yield output.data
        self.require_success(await self._task.ended())

    async def outcome(self) -> guest.Ended:
        """Wait for its end; what it sends is dropped."""
        async for output in self._task.output():
            if output.stream == guest.OutputStream.STDERR:
                self._said = (self._said + output.data)[:_SAID_BYTES]
        return await self._task.ended()

    async def succeed(self) -> None:
        """Wait for its end, and raise what it failed with."""
        self.require_success(await self.outcome())

    def require_success(self, ended: guest.Ended) -> None:
        """Raise what it failed with, if it did."""
        if ended.status == 0:
            return
        what = self._path
        if self._said and self._said != self._path.encode():
            what += f": {shown(self._said)}"
        raise _failure(what, self._kind, ended.status)

    def close(self) -> None:
        """Have it forgotten, and ended where it has not."""
        self._task.forget()


@contextmanager
def _operation(channel: Channel, kind: guest.FileKind, path: str, **more: Any) -> Iterator[_Operation]:
    """Do something, and give it up where the block is left before its end."""
    try:
        operation = _Operation(channel, kind, path, **more)
        try:
            yield operation
        finally:
            operation.close()
    except ChannelFailed as failure:
        raise SandboxEndedError(f"{path}: {failure}") from failure
    except Malformed as error:
        raise _nonsense(path, error) from error


async def _perform(channel: Channel, seconds: float, kind: guest.FileKind, path: str, **more: Any) -> None:
    async with _within(seconds, path):
        with _operation(channel, kind, path, **more) as operation:
            await operation.succeed()


async def _entry(channel: Channel, path: str) -> guest.Entry:
    """Return what is at a path."""
    with _operation(channel, guest.FileKind.STAT, path) as looking:
        said = b"".join([piece async for piece in looking.pieces(CHUNK_BYTES, "has too long a name")])
        return parsed_entry(said)


async def _copy(channel: Channel, source: str, directory: str, copy: str) -> None:
    """Copy a file, a link or a tree, with its owners, to a path in a directory."""
    entry = await _entry(channel, source)
    kind = modes.S_IFMT(entry.mode)
    if kind not in (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK, modes.S_IFIFO):
        raise _failure(source, guest.FileKind.MOVE, errno.EXDEV)
    is_tree = kind == modes.S_IFDIR
    entry.name = b"" if is_tree else copy.rpartition("/")[2].encode()
    with _operation(channel, guest.FileKind.UNPACK, copy if is_tree else directory) as unpacking:
        if kind in (modes.S_IFLNK, modes.S_IFIFO):
            await unpacking.write(framed_entry(entry))
        else:
            with _operation(channel, guest.FileKind.PACK, source) as packing:
                items = ByteSource(packing.pieces())
                await next_entry(items)
                await unpacking.write(framed_entry(entry))
                while not unpacking.has_ended and (data := await items.some(CHUNK_BYTES)):
                    await unpacking.write(data)
        await unpacking.write(b"", end=True)
        await unpacking.succeed()


def _failure(what: str, kind: guest.FileKind, number: int) -> SandboxError:
    """Return the error that the number of an error stands for."""
    reason, words = Reason.FILE_CONFLICT, f"failed with error {number}"
    if number == errno.EINVAL and kind in _INVALID:
        words = _INVALID[kind]
    elif number in CAUSES:
        reason, words = CAUSES[number]
    elif number in errno.errorcode:
        words = os.strerror(number).lower()
    return error_for(reason, f"{what}: {words}")


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


@asynccontextmanager
async def _within(seconds: float, path: str) -> AsyncIterator[None]:
    """Give an operation up after so many seconds."""
    bound = asyncio.timeout(seconds)
    try:
        async with bound:
            yield
    except TimeoutError:
        if bound.expired():
            raise SandboxTimeoutError(
                f"{path}: nothing came of it for {seconds:g} s, so it was given up"
            ) from None
        raise


async def _in_time(step: Awaitable[_T], path: str) -> _T:
    """Wait for a step of an archive's way, but not for ever."""
    async with _within(STALL_SECONDS, path):
        return await step

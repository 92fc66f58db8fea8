"""A worker of the guest agent for files: requests to it, and its answers, in their order.

What it answers is the sandbox's word: it is checked, and what is kept of it is bounded.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import flash_sandbox_guest as guest

from ...errors import Reason, SandboxError, SandboxTimeoutError, error_for
from .channel import Channel
from .entries import MAX_ENTRY, ByteSource, Malformed, parsed_entry, shown
from .messages import encoded_number, serialize
from .tasks import MAX_PIECE, Task

__all__ = ["CAUSES", "GONE", "FileWorker", "Kind", "failure", "ignore", "tolerating", "within"]

Kind = guest.FileKind

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
    Kind.READ: "is no regular file",
    Kind.WRITE: "is no regular file",
    Kind.MOVE: "cannot be moved into itself",
    Kind.REMOVE_DIR: "cannot be removed",
}
"""What EINVAL means."""

_MAX_OWED: Final = 256
_MAX_IDLE: Final = 4
_IDLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Owed:
    """An answer that the worker owes.

    Attributes:
        kind: What was asked for.
        what: What it is about, besides the path of the whole operation.
        take: Takes each entry of the answer; None where there is none to come.
    """

    kind: guest.FileKind
    what: bytes
    take: Callable[[guest.Entry], object] | None


class FileWorker:
    """A worker for files: one that has been kept idle, or a new one.

    Args:
        channel: The channel to the agent.
        path: What the operation is about, for its errors.
        stall_seconds: How long it may neither take nor send anything; None for no limit.

    Attributes:
        is_reused: Whether it was used before.
        error: Number of the error with which it has ended.
        was_killed: Whether something in the sandbox has killed it.
        has_answered: Whether it has answered anything.
    """

    def __init__(self, channel: Channel, path: str, *, stall_seconds: float | None = None) -> None:
        idle = [task for task in channel.idle_file_workers if not task.has_ended]
        self.is_reused = bool(idle)
        self.error = 0
        self.was_killed = self.has_answered = False
        self._channel = channel
        self._path = path
        self._stall_seconds = stall_seconds
        self._task = idle[-1] if idle else channel.files()
        channel.idle_file_workers = idle[:-1]
        self._source = ByteSource(self._output())
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._owed: deque[_Owed] = deque()

    def close(self) -> None:
        """Keep it for the next operation if it is at rest, and end it otherwise."""
        idle = self._channel.idle_file_workers
        if self._owed or self._unsent or self._task.has_ended or len(idle) >= _MAX_IDLE:
            self._task.forget()
        else:
            idle.append(self._task)
            asyncio.get_running_loop().call_later(_IDLE_SECONDS, _end_idle, self._channel, self._task)

    # Requests

    def ask(
        self,
        kind: guest.FileKind,
        path: bytes = b"",
        take: Callable[[guest.Entry], object] | None = None,
        *,
        what: bytes = b"",
        **more: Any,
    ) -> None:
        """Ask for something. It is sent with the next `write` of much, or `settle`.

        Args:
            kind: What to do.
            path: What to do it to.
            take: Takes each entry of the answer; None if there are none, or `next_entry` is to read them.
            what: What an error is about, besides the path of the whole operation.
            more: More of `guest.FileRequest`.
        """
        parts = serialize(guest.FileRequest(kind=kind, path=path, **more))
        self._put(encoded_number(sum(map(len, parts))), *parts)
        self._owed.append(_Owed(kind, what, take))

    async def write(self, skipped: int, data: bytes) -> None:
        """Send a piece of content; one without data is the last.

        Raises:
            SandboxError: It has ended.
        """
        self._put(encoded_number(skipped), encoded_number(len(data)), data)
        # Whole pieces of input: the rest of one would take as many steps as all of it.
        if self._unsent_size >= MAX_PIECE and not await self._send(MAX_PIECE):
            # The answers tell what has failed.
            await self.settle()

    def _put(self, *parts: bytes) -> None:
        self._unsent += parts
        self._unsent_size += sum(map(len, parts))

    async def _send(self, unit: int = 1) -> bool:
        """Send what is unsent, in multiples of `unit` bytes; False where the worker has ended."""
        data = b"".join(self._unsent)
        self._unsent_size %= unit
        rest = len(data) - self._unsent_size
        self._unsent = [data[rest:]] if self._unsent_size else []
        data = data[:rest]
        async with within(self._stall_seconds, self._path):
            return await self._task.write(data)

    # Answers

    async def settle(self, owed: int = 0) -> None:
        """Send what was asked for, and wait until only so many answers are owed.

        Raises:
            SandboxError: Something failed.
            Malformed: The worker answers nonsense.
        """
        if self._unsent and len(self._owed) > owed:
            await self._send()
        while len(self._owed) > owed:
            await self._answer()

    async def keep_up(self) -> None:
        """Wait for answers where many are owed."""
        if len(self._owed) > _MAX_OWED:
            await self.settle(_MAX_OWED // 2)

    async def result(self) -> guest.Entry | None:
        """Return the entry that answers the last request; None if that tolerated an error.

        Raises:
            SandboxError: Something failed.
            Malformed: The worker answers nonsense.
        """
        found = await self.first_entry()
        if found is not None and await self.next_entry() is not None:
            raise Malformed("there is more of it than was asked for")
        return found

    async def first_entry(self, behind: int = 1) -> guest.Entry | None:
        """Return the first entry of the answer to the last request, or to one some requests before it."""
        if self._unsent:
            await self._send()
        await self.settle(behind)
        return await self.next_entry()

    async def next_entry(self) -> guest.Entry | None:
        """Return the next entry of the answer; None at its end."""
        data = await self.next_frame()
        return parsed_entry(data) if data else None

    async def next_frame(self) -> bytes:
        """Return the bytes of the next entry of the answer; none at its end."""
        size = await self._source.number()
        self.has_answered = True
        if size > MAX_ENTRY:
            raise Malformed("an entry is too large")
        if not size:
            self._owed.popleft()
        return await self._source.exactly(size)

    async def content(self, size: int | None = None) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield the content that follows an entry: offsets, and what is there.

        Args:
            size: How large the content is; None if the entry does not say.

        Raises:
            Malformed: It is not as large, or the worker answers nonsense.
        """
        at = 0
        while True:
            at += await self._source.number()
            length = await self._source.number()
            if size is not None and at + length > size:
                raise Malformed("a file has more content than its size")
            if not length:
                break
            while length:
                data = await self._source.some(length)
                yield at, data
                at += len(data)
                length -= len(data)
        if size is not None and at != size:
            raise Malformed("a file has less content than its size")
        if await self.next_frame():
            raise Malformed("there is more of it than was asked for")

    async def _answer(self) -> None:
        take = self._owed[0].take
        while (entry := await self.next_entry()) is not None:
            if take is None:
                raise Malformed("there is more of it than was asked for")
            take(entry)

    async def _output(self) -> AsyncGenerator[bytes]:
        """Yield what it sends. Its end is an error: it ends only when it fails."""
        output = self._task.output()
        while True:
            async with within(self._stall_seconds, self._path):
                piece = await anext(output, None)
            if piece is None:
                break
            if piece.stream == guest.OutputStream.STDOUT:
                yield piece.data
        ended = await self._task.ended()
        self.error, self.was_killed = ended.status, ended.unknown
        if not ended.status or not self._owed:
            raise Malformed("it has ended too early")
        owed = self._owed[0]
        what = self._path + (f": {shown(owed.what)}" if owed.what else "")
        raise failure(what, ended.status, owed.kind)


def tolerating(*numbers: int) -> int:
    """Return the bits of errors after which a worker goes on."""
    return sum(1 << number for number in set(numbers))


GONE: Final = tolerating(errno.ENOENT)
"""Goes on where there is nothing any more."""


def ignore(entry: guest.Entry) -> None:
    """Take an entry that nobody needs."""


def failure(what: str, number: int, kind: guest.FileKind = Kind.UNSPECIFIED) -> SandboxError:
    """Return the error that the number of an error stands for."""
    reason, words = Reason.FILE_CONFLICT, f"failed with error {number}"
    if number == errno.EINVAL and kind in _INVALID:
        words = _INVALID[kind]
    elif number in CAUSES:
        reason, words = CAUSES[number]
    elif number in errno.errorcode:
        words = os.strerror(number).lower()
    return error_for(reason, f"{what}: {words}")


@asynccontextmanager
async def within(seconds: float | None, path: str) -> AsyncIterator[None]:
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


def _end_idle(channel: Channel, task: Task) -> None:
    if task in channel.idle_file_workers:
        channel.idle_file_workers.remove(task)
        task.forget()

"""Answers that come piece by piece, as objects."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from ...errors import PayloadTooLargeError, SandboxConnectionError
from ...models import DownloadArchiveChunk, Event, ExecFrame
from ...transports.base import AsyncStream
from ..bound import Bound

__all__ = ["AsyncArchive", "AsyncEvents", "AsyncExecStream", "AsyncFrames", "AsyncPieces"]

T = TypeVar("T")


class AsyncPieces(Generic[T]):
    """An iterator of what comes, and a context manager that gives the rest up.

    Args:
        pieces: What comes after `first`.
        first: What came first.
    """

    def __init__(self, pieces: AsyncStream[T], first: T) -> None:
        self._pieces = pieces
        self._first: T | None = first

    @classmethod
    async def begin(cls, pieces: AsyncStream[T]) -> Self:
        """Return a stream once its first piece has come."""
        return cls(pieces, await first_of(pieces))

    async def close(self) -> None:
        """Give up what has not come yet."""
        await self._pieces.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._first is not None:
            piece, self._first = self._first, None
            return piece
        return await anext(self._pieces)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def first_of(pieces: AsyncStream[T]) -> T:
    """Return the first piece of a stream; close the stream where there is none."""
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise SandboxConnectionError("the stream ended before it had begun") from None
    except BaseException:
        await pieces.aclose()
        raise


class AsyncEvents(AsyncPieces[Event]):
    """What happens to sandboxes, until it is closed. An iterator and a context manager.

    Attributes:
        token: What `watch_events` takes to go on after the last event that was returned.
    """

    def __init__(self, pieces: AsyncStream[Event], first: Event) -> None:
        super().__init__(pieces, first)
        # It tells no more than where the stream begins.
        self._first = None
        self.token = first.token

    async def __anext__(self) -> Event:
        event = await super().__anext__()
        self.token = event.token
        return event


class AsyncFrames(AsyncPieces[ExecFrame]):
    """What becomes of a process: an iterator of frames, and a context manager that leaves off.

    Attributes:
        process_id: ID of the process.
        exit: The last frame, once it has come; None before, and where the process goes on.
    """

    def __init__(self, pieces: AsyncStream[ExecFrame], first: ExecFrame) -> None:
        super().__init__(pieces, first)
        self.process_id = first.process_id
        self.exit: ExecFrame | None = None

    async def __anext__(self) -> ExecFrame:
        frame = await super().__anext__()
        if frame.type == "exit":
            self.exit = frame
        return frame


class _AsyncProcessCalls(Protocol):
    """The calls that a running command needs of its client."""

    async def write_stdin(
        self, sandbox_id: str, process_id: str, data: bytes | str = b"", *, end: bool = False
    ) -> None: ...

    async def resize_process(self, sandbox_id: str, process_id: str, rows: int, columns: int) -> None: ...

    async def signal_process(self, sandbox_id: str, process_id: str, signal: int | str = "TERM") -> None: ...


class AsyncExecStream(AsyncFrames):
    """A command that runs: an iterator of frames, and a context manager that ends the command.

    Attributes:
        process_id: ID of its process.
        exit: The last frame, which tells how it ended, once it has come.
    """

    _calls: _AsyncProcessCalls
    _sandbox_id: str

    @classmethod
    async def begin_in(
        cls, calls: _AsyncProcessCalls, sandbox_id: str, frames: AsyncStream[ExecFrame]
    ) -> Self:
        """Return a command once it has been started."""
        stream = await cls.begin(frames)
        stream._calls = calls
        stream._sandbox_id = sandbox_id
        return stream

    async def write(self, data: bytes | str = b"", *, end: bool = False) -> None:
        """Send it input, as `write_stdin` does, and the end of its input where that is asked."""
        await self._calls.write_stdin(self._sandbox_id, self.process_id, data, end=end)

    async def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal, as `resize_process` does."""
        await self._calls.resize_process(self._sandbox_id, self.process_id, rows, columns)

    async def signal(self, signal: int | str = "TERM") -> None:
        """Send it a signal, as `signal_process` does."""
        await self._calls.signal_process(self._sandbox_id, self.process_id, signal)


class AsyncArchive(AsyncPieces[DownloadArchiveChunk]):
    """A tar archive as it comes: an iterator of chunks, and a context manager that gives the rest up."""

    _bound: Bound

    @classmethod
    async def begin_bounded(cls, chunks: AsyncStream[DownloadArchiveChunk], bound: Bound) -> Self:
        """Return an archive once its first bytes have come."""
        archive = await cls.begin(chunks)
        archive._bound = bound
        return archive

    async def __anext__(self) -> DownloadArchiveChunk:
        chunk = await super().__anext__()
        try:
            self._bound.take(len(chunk.data))
        except PayloadTooLargeError:
            await self.close()
            raise
        return chunk

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        chunk = await anext(self, None)
        return b"" if chunk is None else chunk.data

"""Answers that come piece by piece, as objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ...errors import SandboxConnectionError
from ...models import DownloadArchiveChunk, Event, ExecFrame
from ...options import NOT_GIVEN, NotGiven
from ..delegation import Delegate, of_process
from .operation_calls import AsyncOperationCalls

__all__ = [
    "AsyncArchive",
    "AsyncEvents",
    "AsyncExecStream",
    "AsyncFrames",
    "AsyncPieces",
    "AsyncProcessControls",
    "first_of",
]

T = TypeVar("T")


class AsyncPieces(Generic[T]):
    """An iterator of what comes, and a context manager that gives the rest up.

    Args:
        pieces: What comes after `first`.
        first: What came first.
    """

    def __init__(self, pieces: AsyncGenerator[T, None], first: T) -> None:
        self._pieces = pieces
        self._first: T | None = first

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


async def first_of(pieces: AsyncGenerator[T, None]) -> T:
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

    def __init__(self, pieces: AsyncGenerator[Event, None], first: Event) -> None:
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

    def __init__(self, pieces: AsyncGenerator[ExecFrame, None], first: ExecFrame) -> None:
        super().__init__(pieces, first)
        self.process_id = first.process_id
        self.exit: ExecFrame | None = None

    async def __anext__(self) -> ExecFrame:
        frame = await super().__anext__()
        if frame.type == "exit":
            self.exit = frame
        return frame


class AsyncProcessControls(Delegate):
    """What can be done to a program while it runs."""

    _ids: tuple[str, str]

    signal = of_process(AsyncOperationCalls.signal_process)
    send_stdin = of_process(AsyncOperationCalls.write_stdin)
    resize = of_process(AsyncOperationCalls.resize_process)

    async def kill(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """End it at once with all that it started, as the signal ``KILL`` does."""
        await self.signal("KILL", timeout=timeout)


class AsyncExecStream(AsyncFrames, AsyncProcessControls):
    """A command that runs: an iterator of frames, and a context manager that ends the command.

    Attributes:
        process_id: ID of its process.
        exit: The last frame, which tells how it ended, once it has come.
    """

    def __init__(
        self, client: object, sandbox_id: str, pieces: AsyncGenerator[ExecFrame, None], first: ExecFrame
    ) -> None:
        AsyncFrames.__init__(self, pieces, first)
        AsyncProcessControls.__init__(self, client, sandbox_id, first.process_id)


class AsyncArchive(AsyncPieces[DownloadArchiveChunk]):
    """A tar archive as it comes: an iterator of chunks, and a context manager that gives the rest up."""

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        chunk = await anext(self, None)
        return b"" if chunk is None else chunk.data

# Derived from flash_sandbox/clients/aio/streams.py by `python -m codegen`; do not edit.
"""Answers that come piece by piece, as objects."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from ...errors import PayloadTooLargeError, SandboxConnectionError
from ...models import DownloadArchiveChunk, Event, ExecFrame
from ...transports.base import Stream
from ..bound import Bound

__all__ = ["Archive", "Events", "ExecStream", "Frames", "Pieces"]

T = TypeVar("T")


class Pieces(Generic[T]):
    """An iterator of what comes, and a context manager that gives the rest up.

    Args:
        pieces: What comes after `first`.
        first: What came first.
    """

    def __init__(self, pieces: Stream[T], first: T) -> None:
        self._pieces = pieces
        self._first: T | None = first

    @classmethod
    def begin(cls, pieces: Stream[T]) -> Self:
        """Return a stream once its first piece has come."""
        return cls(pieces, first_of(pieces))

    def close(self) -> None:
        """Give up what has not come yet."""
        self._pieces.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if self._first is not None:
            piece, self._first = self._first, None
            return piece
        return next(self._pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def first_of(pieces: Stream[T]) -> T:
    """Return the first piece of a stream; close the stream where there is none."""
    try:
        return next(pieces)
    except StopIteration:
        raise SandboxConnectionError("the stream ended before it had begun") from None
    except BaseException:
        pieces.close()
        raise


class Events(Pieces[Event]):
    """What happens to sandboxes, until it is closed. An iterator and a context manager.

    Attributes:
        token: What `watch_events` takes to go on after the last event that was returned.
    """

    def __init__(self, pieces: Stream[Event], first: Event) -> None:
        super().__init__(pieces, first)
        # It tells no more than where the stream begins.
        self._first = None
        self.token = first.token

    def __next__(self) -> Event:
        event = super().__next__()
        self.token = event.token
        return event


class Frames(Pieces[ExecFrame]):
    """What becomes of a process: an iterator of frames, and a context manager that leaves off.

    Attributes:
        process_id: ID of the process.
        exit: The last frame, once it has come; None before, and where the process goes on.
    """

    def __init__(self, pieces: Stream[ExecFrame], first: ExecFrame) -> None:
        super().__init__(pieces, first)
        self.process_id = first.process_id
        self.exit: ExecFrame | None = None

    def __next__(self) -> ExecFrame:
        frame = super().__next__()
        if frame.type == "exit":
            self.exit = frame
        return frame


class _ProcessCalls(Protocol):
    """The calls that a running command needs of its client."""

    def write_stdin(
        self, sandbox_id: str, process_id: str, data: bytes | str = b"", *, end: bool = False
    ) -> None: ...

    def resize_process(self, sandbox_id: str, process_id: str, rows: int, columns: int) -> None: ...

    def signal_process(self, sandbox_id: str, process_id: str, signal: int | str = "TERM") -> None: ...


class ExecStream(Frames):
    """A command that runs: an iterator of frames, and a context manager that ends the command.

    Attributes:
        process_id: ID of its process.
        exit: The last frame, which tells how it ended, once it has come.
    """

    _calls: _ProcessCalls
    _sandbox_id: str

    @classmethod
    def begin_in(cls, calls: _ProcessCalls, sandbox_id: str, frames: Stream[ExecFrame]) -> Self:
        """Return a command once it has been started."""
        stream = cls.begin(frames)
        stream._calls = calls
        stream._sandbox_id = sandbox_id
        return stream

    def write(self, data: bytes | str = b"", *, end: bool = False) -> None:
        """Send it input, as `write_stdin` does, and the end of its input where that is asked."""
        self._calls.write_stdin(self._sandbox_id, self.process_id, data, end=end)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal, as `resize_process` does."""
        self._calls.resize_process(self._sandbox_id, self.process_id, rows, columns)

    def signal(self, signal: int | str = "TERM") -> None:
        """Send it a signal, as `signal_process` does."""
        self._calls.signal_process(self._sandbox_id, self.process_id, signal)


class Archive(Pieces[DownloadArchiveChunk]):
    """A tar archive as it comes: an iterator of chunks, and a context manager that gives the rest up."""

    _bound: Bound

    @classmethod
    def begin_bounded(cls, chunks: Stream[DownloadArchiveChunk], bound: Bound) -> Self:
        """Return an archive once its first bytes have come."""
        archive = cls.begin(chunks)
        archive._bound = bound
        return archive

    def __next__(self) -> DownloadArchiveChunk:
        chunk = super().__next__()
        try:
            self._bound.take(len(chunk.data))
        except PayloadTooLargeError:
            self.close()
            raise
        return chunk

    def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        chunk = next(self, None)
        return b"" if chunk is None else chunk.data

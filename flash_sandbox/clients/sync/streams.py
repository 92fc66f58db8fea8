# Derived from flash_sandbox/clients/aio/streams.py by `python -m codegen`; do not edit.
"""Answers that come piece by piece, as objects."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

from ...errors import SandboxConnectionError
from ...models import DownloadArchiveChunk, Event, ExecFrame
from ...options import NOT_GIVEN, NotGiven
from ..delegation import Delegate, of_process
from .operation_calls import OperationCalls

__all__ = [
    "Archive",
    "Events",
    "ExecStream",
    "Frames",
    "Pieces",
    "ProcessControls",
    "first_of",
]

T = TypeVar("T")


class Pieces(Generic[T]):
    """An iterator of what comes, and a context manager that gives the rest up.

    Args:
        pieces: What comes after `first`.
        first: What came first.
    """

    def __init__(self, pieces: Generator[T, None], first: T) -> None:
        self._pieces = pieces
        self._first: T | None = first

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


def first_of(pieces: Generator[T, None]) -> T:
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

    def __init__(self, pieces: Generator[Event, None], first: Event) -> None:
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

    def __init__(self, pieces: Generator[ExecFrame, None], first: ExecFrame) -> None:
        super().__init__(pieces, first)
        self.process_id = first.process_id
        self.exit: ExecFrame | None = None

    def __next__(self) -> ExecFrame:
        frame = super().__next__()
        if frame.type == "exit":
            self.exit = frame
        return frame


class ProcessControls(Delegate):
    """What can be done to a program while it runs."""

    _ids: tuple[str, str]

    signal = of_process(OperationCalls.signal_process)
    send_stdin = of_process(OperationCalls.write_stdin)
    resize = of_process(OperationCalls.resize_process)

    def kill(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """End it at once with all that it started, as the signal ``KILL`` does."""
        self.signal("KILL", timeout=timeout)


class ExecStream(Frames, ProcessControls):
    """A command that runs: an iterator of frames, and a context manager that ends the command.

    Attributes:
        process_id: ID of its process.
        exit: The last frame, which tells how it ended, once it has come.
    """

    def __init__(
        self, client: object, sandbox_id: str, pieces: Generator[ExecFrame, None], first: ExecFrame
    ) -> None:
        Frames.__init__(self, pieces, first)
        ProcessControls.__init__(self, client, sandbox_id, first.process_id)


class Archive(Pieces[DownloadArchiveChunk]):
    """A tar archive as it comes: an iterator of chunks, and a context manager that gives the rest up."""

    def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        chunk = next(self, None)
        return b"" if chunk is None else chunk.data

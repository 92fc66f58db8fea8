"""Output that fits a model's context, however much was printed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from ...clients.aio.streams import AsyncFrames
from ...models import ExecFrame, ExecResult

__all__ = ["MAX_OUTPUT_BYTES", "CommandOutput", "Excerpt", "Printed", "ending", "left_out", "reporting"]

MAX_OUTPUT_BYTES: Final = 32 * 1024
"""Bytes of each output stream that an answer has, unless the call asks for fewer or more."""

_PROGRESS_SECONDS: Final = 1.0
_LINE_CHARACTERS: Final = 200


class Excerpt:
    """The beginning and the end of a stream of bytes.

    Args:
        limit: Most bytes that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    @property
    def left_out(self) -> int:
        """Return how many bytes are not kept."""
        return self._size - len(self._head) - min(len(self._tail), self._half)

    def add(self, data: bytes) -> None:
        """Add what comes next."""
        self._size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Not each time: what is cut off moves all that remains.
        if len(self._tail) > 4 * self._half:
            del self._tail[: -self._half]

    def text(self) -> str:
        """Return what is kept, with a line that counts what is not."""
        if not self.left_out:
            return _decoded(self._head + self._tail)
        return _decoded(self._head) + left_out(self.left_out) + _decoded(self._tail[-self._half :])

    def last_line(self) -> str:
        """Return the last line that is not empty."""
        end = bytes(self._tail or self._head)[-4 * _LINE_CHARACTERS :].rstrip()
        return _decoded(end.rpartition(b"\n")[2])[-_LINE_CHARACTERS:]


def left_out(count: int) -> str:
    """Return the line that stands for bytes that are left out."""
    return f"\n[... {count} bytes left out ...]\n"


def _decoded(data: bytes | bytearray) -> str:
    # A model cannot read NUL, which some clients refuse.
    return data.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


class CommandOutput(BaseModel):
    """What a command printed and how it ended."""

    stdout: str = Field(description="Standard output. A line in the middle counts what was left out.")
    stderr: str = Field(description="Standard error, likewise.")
    stdout_left_out: int = Field(0, description="Bytes of standard output that were left out.")
    stderr_left_out: int = Field(0, description="Bytes of standard error that were left out.")
    exit_code: int | None = Field(
        None, description="Exit status; 128 + N where signal N ended it. None while it runs."
    )
    timed_out: bool = Field(False, description="Whether it was ended because its time had passed.")
    oom_killed: bool = Field(False, description="Whether the memory of the sandbox was used up.")
    duration_ms: int = Field(0, description="Milliseconds that it took.")


class Printed:
    """What a command prints, as its frames come.

    Args:
        limit: Most bytes of each stream that are kept.
        begin: How many bytes of both streams together had been printed before.
    """

    def __init__(self, limit: int, begin: int = 0) -> None:
        self._streams = {"stdout": Excerpt(limit), "stderr": Excerpt(limit)}
        self._latest = self._streams["stdout"]
        self.offset = begin
        self.dropped = 0
        self.exit: ExecFrame | None = None

    async def read(self, frames: AsyncFrames) -> None:
        """Add all that comes. A command whose stream is given up before ends."""
        try:
            async for frame in frames:
                self._add(frame)
        finally:
            # A call that was cancelled could not wait for anything otherwise.
            with anyio.CancelScope(shield=True):
                await frames.close()

    def _add(self, frame: ExecFrame) -> None:
        if frame.type == "exit":
            self.exit = frame
        elif frame.type in self._streams:
            self.dropped += max(0, frame.offset - self.offset)
            self.offset = frame.offset + len(frame.data)
            self._latest = self._streams[frame.type]
            self._latest.add(frame.data)

    def last_line(self) -> str:
        """Return the last line that was printed."""
        return self._latest.last_line()

    def fields(self) -> dict[str, Any]:
        """Return the fields of `CommandOutput`."""
        fields: dict[str, Any] = {}
        for name, stream in self._streams.items():
            fields |= {name: stream.text(), f"{name}_left_out": stream.left_out}
        return fields if self.exit is None else fields | ending(self.exit)


def ending(ended: ExecFrame | ExecResult) -> dict[str, Any]:
    """Return the fields of `CommandOutput` that say how a command ended."""
    return {name: getattr(ended, name) for name in ("exit_code", "timed_out", "oom_killed", "duration_ms")}


@asynccontextmanager
async def reporting(context: Context[Any, Any], say: Callable[[], str] = str) -> AsyncIterator[None]:
    """Report progress for the length of a block, once a second: the seconds that passed, and what `say` says.

    A client that has not asked for progress is sent none.
    """
    began = time.monotonic()

    async def report() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            await context.report_progress(round(time.monotonic() - began, 3), None, say() or None)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

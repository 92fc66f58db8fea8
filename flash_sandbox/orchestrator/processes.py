"""The processes that were begun in one sandbox, beside its main one: what is kept of each."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

from ..errors import SandboxError, SandboxNotFoundError
from ..models import ExecFrame, ExecResult, ProcessInfo
from .executions import Execution
from .runtimes.base import Ended, Printed
from .sandboxing.output import BoundedBytes

__all__ = ["Process", "Processes"]

KEPT_BYTES: Final = 1024 * 1024
"""What is kept of the output of a process that nobody has read: the last of it."""

_MOST_ENDED: Final = 100


class Process:
    """One process, and what it has printed.

    Args:
        execution: What runs.
        attached: Whether it ends with the stream that began it; what it prints is not kept then.
        keep: Bytes of its output that are kept.
    """

    def __init__(self, execution: Execution, *, attached: bool, keep: int = KEPT_BYTES) -> None:
        self.id = secrets.token_hex(6)
        self.execution = execution
        self.attached = attached
        self.end: Ended | None = None
        self.error: SandboxError | None = None
        self.task: asyncio.Task[None] | None = None
        self._started_at = time.time()
        self._duration_ms = 0
        self._keep = keep
        self._pieces: deque[tuple[int, Printed]] = deque()
        self._kept = self._printed = 0
        self._dropped = {"stdout": 0, "stderr": 0}
        self._changed = asyncio.Event()

    @property
    def running(self) -> bool:
        """Tell whether it runs."""
        return self.end is None and self.error is None

    def started(self) -> ExecFrame:
        """Return the first frame."""
        return ExecFrame(type="started", process_id=self.id)

    def exited(self) -> ExecFrame:
        """Return the last frame, once it has ended."""
        assert self.end is not None
        return ExecFrame(
            type="exit",
            process_id=self.id,
            offset=self._printed,
            exit_code=self.end.exit_code,
            signal=self.end.signal,
            timed_out=self.execution.timed_out,
            duration_ms=self._duration_ms,
            oom_killed=self.end.oom_killed,
        )

    async def frames(self) -> AsyncGenerator[ExecFrame]:
        """Run it, and yield what happens as it happens. Leaving the iterator ends it."""
        yield self.started()
        try:
            async with aclosing(self.execution.happenings()) as happenings:
                async for happening in happenings:
                    if isinstance(happening, Ended):
                        self._finish(happening)
                    else:
                        yield self._frame(self._printed, happening)
                        self._printed += len(happening.data)
        finally:
            if self.end is None:
                self._finish(Ended(128 + 9, 9))
        yield self.exited()

    async def run(self) -> None:
        """Run it, and keep the last of what it prints."""
        try:
            async with aclosing(self.execution.happenings()) as happenings:
                async for happening in happenings:
                    if isinstance(happening, Ended):
                        self._finish(happening)
                    else:
                        self._add(happening)
        except SandboxError as error:
            self.error = error
        except asyncio.CancelledError:
            # With a sandbox what still runs in it is given up.
            self.error = self.execution.error_of_its_sandbox()
            raise
        finally:
            if self.end is None and self.error is None:
                self._finish(Ended(128 + 9, 9))
            self._changed.set()

    async def follow(self, offset: int, *, to_the_end: bool) -> AsyncGenerator[ExecFrame]:
        """Yield what is kept from `offset` on and, where that is asked, what is printed until it ends."""
        yield self.started()
        while True:
            self._changed.clear()
            for frame in self._since(offset):
                yield frame
                offset = frame.offset + len(frame.data)
            if offset < self._printed and self._pieces:
                continue
            if not self.running or not to_the_end:
                break
            await self._changed.wait()
        if self.error is not None:
            raise self.error
        if self.end is None:
            yield ExecFrame(type="end", process_id=self.id, offset=self._printed)
        else:
            yield self.exited()

    async def result(self) -> ExecResult:
        """Wait until it has ended, and return what is kept and how it ended."""
        while self.running:
            self._changed.clear()
            await self._changed.wait()
        if self.error is not None:
            raise self.error
        assert self.end is not None
        kept = {name: BoundedBytes(self._keep, keep_last=True) for name in ("stdout", "stderr")}
        for _, piece in self._pieces:
            kept[piece.stream].add(piece.data)
        stdout, stderr = kept["stdout"], kept["stderr"]
        stdout.dropped += self._dropped["stdout"]
        stderr.dropped += self._dropped["stderr"]
        return self.execution.conclude(self.end, stdout, stderr, duration_ms=self._duration_ms)

    def info(self) -> ProcessInfo:
        """Return what is known of it."""
        end = self.end or Ended(0)
        return ProcessInfo(
            process_id=self.id,
            command=self.execution.program.command,
            running=self.running,
            attached=self.attached,
            tty=self.execution.program.terminal is not None,
            started_at=self._started_at,
            exit_code=end.exit_code,
            signal=end.signal,
            timed_out=self.execution.timed_out,
            duration_ms=self.execution.duration_ms() if self.running else self._duration_ms,
            oom_killed=end.oom_killed,
        )

    def _frame(self, offset: int, piece: Printed) -> ExecFrame:
        return ExecFrame(type=piece.stream, process_id=self.id, data=piece.data, offset=offset)

    def _since(self, offset: int) -> Iterator[ExecFrame]:
        for start, piece in tuple(self._pieces):
            skipped = max(offset - start, 0)
            if skipped < len(piece.data):
                yield self._frame(start + skipped, Printed(piece.stream, piece.data[skipped:]))

    def _add(self, piece: Printed) -> None:
        self._pieces.append((self._printed, piece))
        self._printed += len(piece.data)
        self._kept += len(piece.data)
        while self._kept - len(self._pieces[0][1].data) >= self._keep:
            _, dropped = self._pieces.popleft()
            self._kept -= len(dropped.data)
            self._dropped[dropped.stream] += len(dropped.data)
        self._changed.set()

    def _finish(self, end: Ended) -> None:
        self.end = end
        self._duration_ms = self.execution.duration_ms()
        self._changed.set()


class Processes:
    """The processes of one sandbox by ID, the oldest first; of those that have ended the last ones."""

    def __init__(self) -> None:
        self._by_id: dict[str, Process] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(tuple(self._by_id.values()))

    def add(self, process: Process) -> None:
        """Add a process, and forget those that ended longest ago where there are too many."""
        self._by_id[process.id] = process
        ended = [each for each in self if not each.running]
        for old in itertools.islice(ended, max(len(ended) - _MOST_ENDED, 0)):
            del self._by_id[old.id]

    def remove(self, process: Process) -> None:
        """Forget a process."""
        self._by_id.pop(process.id, None)

    def get(self, process_id: str) -> Process:
        """Return a process by its ID; raise SandboxNotFoundError where there is none."""
        try:
            return self._by_id[process_id]
        except KeyError:
            raise SandboxNotFoundError(f"there is no process {process_id}") from None

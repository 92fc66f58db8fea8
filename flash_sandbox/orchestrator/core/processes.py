"""The processes that `exec_stream` and `start_process` began in one sandbox, and their output."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from ...errors import ProcessNotFoundError, SandboxError, WrongStateError
from ...models import ExecFrame, ExecResult, ProcessInfo
from ..guest.guest import Adopted, Guest
from ..guest.output import BoundedBytes
from ..guest.programs import Execution, Exit, Output

__all__ = ["Process", "Processes"]

KEPT_BYTES: Final = 1024 * 1024
"""Bytes of a process's last output that are kept for readers who come later."""

_MAX_ENDED: Final = 100
_MAX_LABEL_BYTES: Final = 32_768


class Process:
    """One process.

    Args:
        command: Its command line.
        tty: Whether it has a terminal.
        attached: Whether it ends with the stream that began it; its output is not kept then.
        process_id: Its ID; empty for a new one.
        started_at: When it was started, in seconds of Unix time; 0 for now.

    Attributes:
        execution: The program, as soon as it runs.
        end: How it ended, once it has.
        error: Why it is not known how it ended.
        task: Reads its output, if it goes on by itself.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        tty: bool,
        attached: bool,
        process_id: str = "",
        started_at: float = 0.0,
    ) -> None:
        self.id = process_id or secrets.token_hex(6)
        self.attached = attached
        self.execution: Execution | None = None
        self.end: Exit | None = None
        self.error: SandboxError | None = None
        self.task: asyncio.Task[None] | None = None
        self._command = command
        self._tty = tty
        self._started_at = started_at or time.time()
        self._duration_ms = 0
        self._pieces: deque[tuple[int, Output]] = deque()
        self._kept = self._printed = 0
        self._dropped = {"stdout": 0, "stderr": 0}
        self._changed = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.end is None and self.error is None

    @property
    def has_terminal(self) -> bool:
        """Whether it has a terminal."""
        return self._tty

    def require_running(self) -> Execution:
        """Return the program; raise WrongStateError if it has ended."""
        if not self.running or self.execution is None:
            raise WrongStateError("the process has ended")
        return self.execution

    async def frames(self, running: AbstractAsyncContextManager[Execution]) -> AsyncGenerator[ExecFrame]:
        """Run it, and yield its output as it comes. Leaving the iterator ends it.

        Args:
            running: Runs it for the length of a block.
        """
        try:
            async with running as self.execution:
                yield self.started()
                async for output in self.execution.output():
                    yield self._frame(self._printed, output)
                    self._printed += len(output.data)
                self._finish(await self.execution.exit())
        finally:
            if self.end is None:
                self._finish(Exit(128 + 9, 9))
        yield self.exited()

    async def begin(self, running: AbstractAsyncContextManager[Execution]) -> None:
        """Start it, and leave it to a task that keeps the last of its output; return once it runs.

        Args:
            running: Runs it for the length of a block.
        """
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(running, begun))
        try:
            await asyncio.wait({begun, self.task}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.task.cancel()
            raise
        if not begun.done() and self.error is not None:
            raise self.error

    async def _run(
        self, running: AbstractAsyncContextManager[Execution], begun: asyncio.Future[None]
    ) -> None:
        try:
            async with running as self.execution:
                begun.set_result(None)
                self._printed = self._dropped["stdout"] = self.execution.offset
                async for output in self.execution.output():
                    self._add(output)
                self._finish(await self.execution.exit())
        except SandboxError as error:
            self.error = error
        finally:
            if self.running:
                self._finish(Exit(128 + 9, 9))
            self._changed.set()

    async def follow(self, offset: int, *, to_the_end: bool) -> AsyncGenerator[ExecFrame]:
        """Yield what is kept from `offset` on and, if that is asked, what comes until it ends."""
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
        """Wait until it has ended, and return what is kept of its output and how it ended."""
        while self.running:
            self._changed.clear()
            await self._changed.wait()
        if self.error is not None:
            raise self.error
        assert self.end is not None
        assert self.execution is not None
        kept = {name: BoundedBytes(KEPT_BYTES, keep_last=True) for name in ("stdout", "stderr")}
        for _, piece in self._pieces:
            kept[piece.stream].add(piece.data)
        stdout, stderr = kept["stdout"], kept["stderr"]
        stdout.dropped += self._dropped["stdout"]
        stderr.dropped += self._dropped["stderr"]
        return self.execution.result_of(self.end, stdout, stderr, self._duration_ms)

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
            timed_out=self._timed_out,
            duration_ms=self._duration_ms,
            oom_killed=self.end.oom_killed,
        )

    def info(self) -> ProcessInfo:
        """Return what is known of it."""
        end = self.end or Exit(0)
        return ProcessInfo(
            process_id=self.id,
            command=self._command,
            running=self.running,
            attached=self.attached,
            tty=self._tty,
            started_at=self._started_at,
            exit_code=end.exit_code,
            signal=end.signal,
            timed_out=self._timed_out,
            duration_ms=self._age_ms() if self.running else self._duration_ms,
            oom_killed=end.oom_killed,
        )

    # What the next host needs to go on with it

    def label(self, *, takes_input: bool, timeout: float | None) -> bytes:
        """Return what the next host shall find it by.

        Args:
            takes_input: Whether its input may be written.
            timeout: Seconds after which it is ended; None for no limit.
        """
        fields = {
            "process": self.id,
            "command": self._command,
            "tty": self._tty,
            "started_at": self._started_at,
            "takes_input": takes_input,
            "ends_at": None if timeout is None else time.time() + timeout,
        }
        label = json.dumps(fields).encode()
        if len(label) > _MAX_LABEL_BYTES:
            # The command line is only to be shown.
            fields["command"] = (self._command[0][:1000], "...")
            label = json.dumps(fields).encode()
        return label

    @classmethod
    async def adopted(cls, guest: Guest, adopted: Adopted) -> Process | None:
        """Go on with a program that a host before began; None if its label is not ours."""
        try:
            fields: dict[str, Any] = json.loads(adopted.label)
            process = cls(
                tuple(map(str, fields["command"])),
                tty=bool(fields["tty"]),
                attached=False,
                process_id=str(fields["process"]),
                started_at=float(fields["started_at"]),
            )
            takes_input = bool(fields["takes_input"])
            ends_at = fields["ends_at"]
            timeout = None if ends_at is None else max(float(ends_at) - time.time(), 0)
            # The sandbox may have changed it: it must be fit to be shown.
            process.info()
        except (ValueError, TypeError, KeyError, SandboxError):
            adopted.task.abandon()
            return None
        await process.begin(guest.go_on(adopted.task, takes_input=takes_input, timeout=timeout))
        return process

    @property
    def _timed_out(self) -> bool:
        return self.execution is not None and self.execution.timed_out

    def _age_ms(self) -> int:
        return round((time.time() - self._started_at) * 1000)

    def _frame(self, offset: int, output: Output) -> ExecFrame:
        return ExecFrame(type=output.stream, process_id=self.id, data=output.data, offset=offset)

    def _since(self, offset: int) -> Iterator[ExecFrame]:
        for start, piece in tuple(self._pieces):
            skipped = max(offset - start, 0)
            if skipped < len(piece.data):
                yield self._frame(start + skipped, Output(piece.stream, piece.data[skipped:]))

    def _add(self, output: Output) -> None:
        self._pieces.append((self._printed, output))
        self._printed += len(output.data)
        self._kept += len(output.data)
        while self._kept - len(self._pieces[0][1].data) >= KEPT_BYTES:
            _, dropped = self._pieces.popleft()
            self._kept -= len(dropped.data)
            self._dropped[dropped.stream] += len(dropped.data)
        self._changed.set()

    def _finish(self, end: Exit) -> None:
        self.end = end
        self._duration_ms = end.duration_ms or self._age_ms()
        self._changed.set()


class Processes:
    """The processes of one sandbox by ID, the oldest first; of those that have ended the last ones."""

    def __init__(self) -> None:
        self._by_id: dict[str, Process] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(tuple(self._by_id.values()))

    def add(self, process: Process) -> None:
        """Add a process, and forget those that ended longest ago if there are too many."""
        self._by_id[process.id] = process
        ended = [each for each in self if not each.running]
        for old in itertools.islice(ended, max(len(ended) - _MAX_ENDED, 0)):
            del self._by_id[old.id]

    def remove(self, process: Process) -> None:
        """Forget a process."""
        self._by_id.pop(process.id, None)

    def get(self, process_id: str) -> Process:
        """Return a process by its ID; raise ProcessNotFoundError if there is none."""
        try:
            return self._by_id[process_id]
        except KeyError:
            raise ProcessNotFoundError(f"there is no process {process_id}") from None

    async def settled(self) -> None:
        """Wait until nothing reads the output of a process any more: the sandbox has ended."""
        reading = {each.task for each in self if each.task is not None}
        if reading:
            await asyncio.wait(reading)

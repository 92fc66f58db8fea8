"""Programs that run in a sandbox, by its guest agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from ...errors import InternalServerError, WrongStateError
from ...models import ExecResult
from ..cancellation import completed
from .output import BoundedBytes
from .tasks import ChannelFailed, Task

__all__ = ["Execution", "Exit", "Output", "Program", "TerminalSize", "by_name"]

_STREAMS: Final[dict[int, Literal["stdout", "stderr"]]] = {0: "stdout", 1: "stderr"}


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """The size of a terminal, in characters."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run in a sandbox.

    Attributes:
        command: The program and its arguments.
        env: Variables besides the sandbox's own, each ``NAME=value``.
        cwd: Directory to run in; empty for the sandbox's own.
        user: User to run as: a name, ``UID`` or ``UID:GID``; empty for the sandbox's own.
        terminal: Size of the terminal that all three of its streams are; None for pipes.
    """

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    terminal: TerminalSize | None = None


def by_name(variables: Sequence[str]) -> dict[str, str]:
    """Return variables, each ``NAME=value``, by their names."""
    return {name: value for name, _, value in (variable.partition("=") for variable in variables)}


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a program's output. All output of a terminal is ``stdout``."""

    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended.

    Attributes:
        exit_code: Exit status; 128 + N if signal N ended it.
        signal: The signal that ended it; 0 for none.
        oom_killed: Whether the kernel ended a process of it for want of memory, as far as is known.
        duration_ms: Milliseconds from its start to its end; 0 if that is not known.
    """

    exit_code: int
    signal: int = 0
    oom_killed: bool = False
    duration_ms: int = 0


class Execution:
    """A program that runs in a sandbox.

    Args:
        task: Its task.
        oom_killed: Tells whether the kernel has ended a process of it, given its exit status.
        takes_input: Whether input may be written.
        started: When it was started, in seconds of `time.monotonic`.

    Attributes:
        timed_out: Whether it was ended because its time was over.
    """

    def __init__(
        self,
        task: Task,
        oom_killed: Callable[[int], Awaitable[bool]],
        *,
        takes_input: bool,
        started: float,
    ) -> None:
        self.timed_out = False
        self._task = task
        self._oom_killed = oom_killed
        self._takes_input = takes_input
        self._started = started
        # One write at a time, so that input arrives in the order of the calls.
        self._writing = asyncio.Lock()
        self._beginning: asyncio.Task[None] | None = None

    @property
    def offset(self) -> int:
        """Offset of the next byte of its output: not 0 if a host before has had the beginning."""
        return self._task.received

    async def output(self) -> AsyncIterator[Output]:
        """Yield its output, to the end. A program whose output nobody takes is held up."""
        async for piece in self._task.output():
            yield Output(_STREAMS[int(piece.stream)], piece.data)

    async def exit(self) -> Exit:
        """Wait until it has ended, discard the rest of its output, and return how it ended.

        Raises:
            InternalServerError: That is unknown.
        """
        ended = await self._task.ended()
        if ended.unknown:
            raise InternalServerError(
                "how the command ended is unknown: something in the sandbox killed its supervisor"
            )
        return Exit(ended.status, ended.signal, await self._oom_killed(ended.status), ended.duration_ms)

    async def result(self, max_output_bytes: int) -> ExecResult:
        """Wait until it has ended, and return its result with so many bytes of each stream at most."""
        kept = {"stdout": BoundedBytes(max_output_bytes), "stderr": BoundedBytes(max_output_bytes)}
        async for output in self.output():
            kept[output.stream].add(output.data)
        return self.result_of(await self.exit(), kept["stdout"], kept["stderr"], self.duration_ms())

    def result_of(
        self, end: Exit, stdout: BoundedBytes, stderr: BoundedBytes, duration_ms: int
    ) -> ExecResult:
        """Return the result of a program that has ended."""
        return ExecResult.of(
            stdout.kept,
            stderr.kept,
            end.exit_code,
            signal=end.signal,
            timed_out=self.timed_out,
            duration_ms=duration_ms,
            stdout_dropped=stdout.dropped,
            stderr_dropped=stderr.dropped,
            oom_killed=end.oom_killed,
        )

    def duration_ms(self) -> int:
        """Return the milliseconds since the start."""
        return round((monotonic() - self._started) * 1000)

    @asynccontextmanager
    async def fed(self, data: bytes, *, end: bool) -> AsyncIterator[None]:
        """Write the beginning of its input while the block runs, before anything else is written."""

        async def feed() -> None:
            # A program that has ended, or with its channel, takes none.
            with suppress(WrongStateError, ChannelFailed):
                await self._write(data, end=end)

        if not data:
            yield
            return
        self._beginning = asyncio.create_task(feed())
        try:
            yield
        finally:
            self._beginning.cancel()
            await completed(asyncio.wait({self._beginning}))

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Write to its input, as fast as it reads, and end the input if that is asked.

        Raises:
            WrongStateError: It has ended, or takes no (more) input.
        """
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
        await self._write(data, end=end)

    async def _write(self, data: bytes, *, end: bool) -> None:
        self._require_running()
        if not self._takes_input:
            raise WrongStateError("the process takes no input")
        async with self._writing:
            sent = await self._task.write(data, end=end)
        if not sent:
            self._require_running()
        self._takes_input = self._takes_input and not end

    def signal(self, number: int) -> None:
        """Send a signal to its first process.

        Raises:
            WrongStateError: It has ended.
        """
        self._require_running()
        self._task.signal(number)

    def kill(self) -> None:
        """End it with everything that it started.

        Raises:
            WrongStateError: It has ended.
        """
        self._require_running()
        self._task.kill()

    def resize(self, size: TerminalSize) -> None:
        """Change the size of its terminal.

        Raises:
            WrongStateError: It has ended.
        """
        self._require_running()
        self._task.resize(size.rows, size.columns)

    def time_out(self) -> None:
        """End it because its time is over."""
        if not self._task.has_ended:
            self.timed_out = True
            self._task.kill()

    def _require_running(self) -> None:
        if self._task.has_ended:
            raise WrongStateError("the process has ended")

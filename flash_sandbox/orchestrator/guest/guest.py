"""The guest agent of one sandbox: its main process, and what is run beside it."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final

import flash_sandbox_guest as guest

from ...errors import InvalidArgumentError, Reason, SandboxEndedError, SandboxError
from ...models import GetLogsResult
from ..cancellation import completed
from .channel import Channel
from .oom import OomKills
from .output import BoundedBytes
from .programs import Execution, Program, by_name
from .streams import AgentStream, OpenStream, open_stream
from .tasks import ChannelFailed, Known, Task, agent_errors

__all__ = ["KILLED", "LOG_BYTES", "Adopted", "Defaults", "Guest"]

_KEPT_ENDED: Final = 16
"""Programs that have ended and that the agent keeps, with the last of their output, for the next host."""

LOG_BYTES: Final = 64 * 1024
"""The last output of a program that the agent keeps for a host that comes later."""

_MAIN: Final = b"main"
_PROGRAM: Final = b"program"
KILLED: Final = 128 + signal.SIGKILL
"""Exit status of a main process whose end nobody saw."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What programs of a sandbox have unless a call says otherwise.

    Attributes:
        environment: Variables by name.
        cwd: Working directory.
        user: User: a name, ``UID`` or ``UID:GID``; empty for root.
    """

    environment: Mapping[str, str]
    cwd: str = "/"
    user: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A program that a host before has begun.

    Attributes:
        label: What that host called it.
        task: The program.
    """

    label: bytes
    task: Task


class Guest:
    """The agent of one sandbox, over whatever stream its runtime gives.

    Args:
        sandbox_id: ID of the sandbox, for errors.
        connect: Gives a stream to the agent.
        defaults: What programs have.
        reconnects: Whether the agent can be reached by another `connect` when a stream has broken.
        oom_kills: Reads how many processes the kernel has ended for want of memory.

    Attributes:
        channel: The channel to the agent.
        main_exit: Exit status of the main process, once it has ended; 137 if the agent is lost.
        failure: Why the agent was given up; None while it was not.
        is_held: Whether there is no stream, and `open` is to make one.
        environment: Variables that programs have besides: those of the sandbox go before them.
    """

    def __init__(
        self,
        sandbox_id: str,
        connect: Callable[[], Awaitable[AgentStream]],
        defaults: Defaults,
        oom_kills: Callable[[], Awaitable[int]],
        *,
        reconnects: bool = False,
    ) -> None:
        self.channel = Channel(on_failure=self._failed, on_lost=self._lost if reconnects else None)
        self.main_exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.failure: ChannelFailed | None = None
        self.is_held = True
        self.environment: Mapping[str, str] = {}
        self._sandbox_id = sandbox_id
        self._connect_stream = connect
        self._defaults = defaults
        self._stream: OpenStream | None = None
        self._oom_kills = OomKills(oom_kills)
        self._ended: deque[Task] = deque()
        self._log = BoundedBytes(LOG_BYTES, keep_last=True)
        self._reading: asyncio.Task[None] | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    async def open(self) -> list[Adopted]:
        """Connect to the agent, at first or after `hold`.

        Returns:
            The labelled programs that another host has begun, besides the main one.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        adopted = []
        with agent_errors():
            found = await self._connect()
            self.is_held = False
            for number, known in found.items():
                if known.label in (b"", _PROGRAM):
                    task = self.channel.adopt(number)
                    # Nobody waits for it any more. A program is nobody's to end.
                    task.abandon() if known.label else task.forget()
                    continue
                task = self.channel.adopt(number, keep=LOG_BYTES)
                if known.label != _MAIN:
                    adopted.append(Adopted(known.label, task))
                elif self._reading is None:
                    self._reading = asyncio.create_task(self._read_main(task))
        return adopted

    @property
    def has_main(self) -> bool:
        """Whether a main process has been started."""
        return self._reading is not None

    async def close(self) -> None:
        """Give the agent up: whatever waits for it fails. Idempotent."""
        self.channel.close()
        if self._stream is not None:
            self._stream.close()
        for task in (self._reading, self._reconnecting):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    def give_up(self, reason: str) -> None:
        """Take the agent for lost, and its main process for killed. Idempotent."""
        self.channel.fail(ChannelFailed(reason))

    async def hold(self) -> None:
        """Silence and close the stream, so that nothing is on its way. `open` follows.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        with agent_errors():
            await self.channel.hold()
        self.is_held = True
        if self._stream is not None:
            self._stream.close()

    # Programs

    async def start_main(self, command: tuple[str, ...]) -> None:
        """Start the main process; return once it runs.

        Raises:
            InvalidArgumentError: It cannot be run.
            InternalServerError: The agent does not answer as it should.
        """
        with agent_errors():
            task = self._begin(Program(command), detached=True, label=_MAIN)
            await task.started()
            if task.not_run:
                said = b"".join([piece.data async for piece in task.output()])
                task.forget()
                _require_user(task)
                why = said.decode(errors="replace").strip().rpartition(": ")[2]
                raise InvalidArgumentError(
                    f"the main process {command[0]!r} cannot be run: {why}", reason=Reason.START_FAILED
                )
        self._reading = asyncio.create_task(self._read_main(task))

    async def require_user(self) -> None:
        """Check that the sandbox has the user that programs run as by default.

        Raises:
            InvalidArgumentError: It does not.
            InternalServerError: The agent does not answer as it should.
        """
        with agent_errors():
            # No program has an empty name: everything before the program is tried.
            task = self._begin(Program(("",)))
            await task.started()
            task.forget()
            _require_user(task)

    def logs(self) -> GetLogsResult:
        """Return the last output of the main process."""
        return GetLogsResult(self._log.kept, self._log.dropped)

    @asynccontextmanager
    async def run(
        self,
        program: Program,
        *,
        stdin: bytes = b"",
        keep_stdin: bool = False,
        timeout: float | None = None,
        label: bytes = b"",
    ) -> AsyncIterator[Execution]:
        """Run a program for the length of the block, after which it and all that it started have ended.

        Args:
            program: The program.
            stdin: The beginning of its input.
            keep_stdin: Whether more input may come.
            timeout: Seconds after which it is ended; None for no limit.
            label: What the next host shall find it by, if it outlives this one. It then goes on while nobody
                takes its output, of which the last is kept. Empty for a program that nobody will look for.

        Raises:
            InvalidArgumentError: The sandbox does not have the user.
            SandboxEndedError: The sandbox has ended, or its agent has failed, also while the block ran.
        """
        takes_input = bool(stdin) or keep_stdin
        async with self._ended_errors(), self._oom_kills.watched() as oom_killed:
            started = monotonic()
            task = self._begin(program, takes_input=takes_input, detached=bool(label), label=label)
            async with self._ending(task, kept=bool(label)):
                await task.started()
                _require_user(task)
                execution = Execution(task, oom_killed, takes_input=takes_input, started=started)
                async with _timed(execution, timeout), execution.fed(stdin, end=not keep_stdin):
                    yield execution

    @asynccontextmanager
    async def go_on(
        self, task: Task, *, takes_input: bool, timeout: float | None = None
    ) -> AsyncIterator[Execution]:
        """Go on with a program that `open` returned, for the length of the block; see `run`."""
        async with self._ended_errors(), self._oom_kills.watched() as oom_killed:
            execution = Execution(task, oom_killed, takes_input=takes_input, started=monotonic())
            async with self._ending(task, kept=True), _timed(execution, timeout):
                yield execution

    def _begin(
        self, program: Program, *, takes_input: bool = False, detached: bool = False, label: bytes = b""
    ) -> Task:
        environment = {**self.environment, **self._defaults.environment, **by_name(program.env)}
        run = guest.Run(
            argv=[argument.encode() for argument in program.command],
            env=[f"{name}={value}".encode() for name, value in environment.items()],
            cwd=(program.cwd or self._defaults.cwd).encode(),
            user=(program.user or self._defaults.user).encode(),
            takes_input=takes_input,
            detached=detached,
            label=label or _PROGRAM,
            # The log of the main process is one stream.
            merged=label == _MAIN,
        )
        if program.terminal is not None:
            run.terminal = guest.Terminal(rows=program.terminal.rows, columns=program.terminal.columns)
        return self.channel.run(run, keep=LOG_BYTES if label else 0)

    async def _read_main(self, task: Task) -> None:
        at = 0
        with suppress(ChannelFailed):
            async for piece in task.output():
                # The agent has forgotten what came before.
                self._log.dropped += piece.offset - at
                at = piece.offset + len(piece.data)
                self._log.add(piece.data)
            ended = await task.ended()
            if not self.main_exit.done():
                self.main_exit.set_result(ended.status)

    # The channel

    async def _connect(self) -> Mapping[int, Known]:
        stream = await self._connect_stream()
        self._stream = await open_stream(stream, self.channel)
        return await self.channel.open()

    def _lost(self) -> None:
        self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        # A failure of the channel has been reported by it.
        with suppress(ChannelFailed):
            # A frozen agent does not connect.
            await self.channel.thawed()
            try:
                await self._connect()
            except (SandboxError, OSError) as error:
                self.channel.fail(ChannelFailed(str(error)))

    def _failed(self, failure: ChannelFailed) -> None:
        self.failure = failure
        if not self.main_exit.done():
            self.main_exit.set_result(KILLED)

    @asynccontextmanager
    async def _ending(self, task: Task, *, kept: bool) -> AsyncIterator[None]:
        """End a task when the block is left, and let the agent forget it.

        Args:
            task: The task.
            kept: Whether the next host shall hear of it, too, as long as it is among the last that ended.
        """
        try:
            yield
        finally:
            if not task.has_ended:
                with suppress(ChannelFailed):
                    await completed(task.end())
            if kept and task.has_ended:
                self._ended.append(task)
                if len(self._ended) > _KEPT_ENDED:
                    self._ended.popleft().forget()
            else:
                task.forget()

    @asynccontextmanager
    async def _ended_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except ChannelFailed as failure:
            raise SandboxEndedError(await self._why_ended()) from failure

    async def _why_ended(self) -> str:
        how = "ended for want of memory" if await self._oom_kills.count() else "was stopped"
        return f"sandbox {self._sandbox_id} {how} while the command ran"


@asynccontextmanager
async def _timed(execution: Execution, timeout: float | None) -> AsyncIterator[None]:
    timer = None
    if timeout is not None:
        timer = asyncio.get_running_loop().call_later(timeout, execution.time_out)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def _require_user(task: Task) -> None:
    """Raise InvalidArgumentError if a program was not run for want of its user."""
    if task.not_run == guest.NotRun.USER:
        raise InvalidArgumentError("user: the sandbox has no such user, or may not become that user")

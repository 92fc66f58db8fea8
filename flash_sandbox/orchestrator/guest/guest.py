"""The guest agent of one sandbox, as its runtime uses it: the main process, and commands beside it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import flash_sandbox_guest as guest

from ...errors import InternalServerError, InvalidArgumentError, Reason, SandboxEndedError, SandboxError
from ...models import GetLogsResult
from ..completion import alongside, completed
from ..sandboxing.oom import OomKills
from ..sandboxing.output import BoundedBytes
from .channel import Channel
from .programs import Control, Ended, Happening, Kill, Printed, Program, Signal
from .streams import AgentStream, OpenStream, open_stream
from .tasks import ChannelFailed, Known, Task

__all__ = ["LOG_BYTES", "Defaults", "Guest"]

LOG_BYTES: Final = 64 * 1024
"""The last output of the main process that is kept."""

_MAIN: Final = b"main"
_PROGRAM: Final = b"program"
_KILLED: Final = 128 + signal.SIGKILL
_STREAMS: Final[dict[int, Literal["stdout", "stderr"]]] = {0: "stdout", 1: "stderr"}


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


class Guest:
    """The agent of one sandbox, over whatever stream its runtime gives it.

    Args:
        connect: Gives a stream to the agent.
        defaults: What programs have.
        reconnects: Whether the agent can be reached again by another `connect` when a stream has broken.
        oom_kills: Reads how many processes the kernel has ended for want of memory; OSError if unknown.

    Attributes:
        channel: The channel to the agent.
        main_exit: Exit status of the main process, once it has ended; 137 if the agent is lost.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AgentStream]],
        defaults: Defaults,
        *,
        reconnects: bool = False,
        oom_kills: Callable[[], int] = lambda: 0,
    ) -> None:
        self.defaults = defaults
        self.channel = Channel(on_failure=self._failed, on_lost=self._lost if reconnects else None)
        self.main_exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.failure: ChannelFailed | None = None
        self._connect_stream = connect
        self._stream: OpenStream | None = None
        self._oom_kills = OomKills(oom_kills)
        self._log = BoundedBytes(LOG_BYTES, keep_last=True)
        self._reading: asyncio.Task[None] | None = None
        self._reconnecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Greet the agent, and go on with what a host before has begun.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        try:
            known = await self._connect()
        except ChannelFailed as failure:
            raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure
        for number, one in known.items():
            self._adopt(number, one)

    def _adopt(self, number: int, known: Known) -> None:
        if known.label == _MAIN and self._reading is None:
            task = self.channel.adopt(number, keep=LOG_BYTES)
            self._reading = asyncio.create_task(self._read_main(task))
        elif known.label == _PROGRAM:
            self.channel.adopt(number).abandon()
        else:
            # Nobody waits for it any more.
            self.channel.adopt(number).forget()

    async def confine(self, hostname: str) -> None:
        """Have an agent that was started with more privileges than its programs may have give them up.

        Args:
            hostname: Host name of the sandbox.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        self.channel.send(0, confine=guest.Confine(hostname=hostname.encode()))
        try:
            await self.channel.ping()
        except ChannelFailed as failure:
            raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure

    async def close(self) -> None:
        """Give the channel up, with everything that waits for it. Idempotent."""
        self.channel.close()
        if self._stream is not None:
            self._stream.close()
        for task in (self._reading, self._reconnecting):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    async def hold(self) -> None:
        """Silence and close the stream, so that nothing is on its way. `reopen` follows.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        try:
            await self.channel.hold()
        except ChannelFailed as failure:
            raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure
        if self._stream is not None:
            self._stream.close()

    async def reopen(self) -> None:
        """Connect again after `hold`.

        Raises:
            InternalServerError: The agent does not answer as it should.
        """
        try:
            await self._connect()
        except ChannelFailed as failure:
            raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure

    # Programs

    async def start_main(self, command: tuple[str, ...]) -> None:
        """Start the main process; return once it runs.

        Raises:
            InvalidArgumentError: It cannot be run.
        """
        task = self._begin(Program(command), detached=True, label=_MAIN, keep=LOG_BYTES)
        await self._started(task)
        if not task.has_started and task.not_run:
            said = b"".join([piece.data async for piece in task.output()])
            task.forget()
            _require_user(task)
            why = said.decode(errors="replace").strip().rpartition(": ")[2]
            raise InvalidArgumentError(
                f"the main process {command[0]!r} cannot be run: {why}", reason=Reason.START_FAILED
            )
        self._reading = asyncio.create_task(self._read_main(task))

    async def require_user(self) -> None:
        """Find out whether the sandbox has the user that its programs run as.

        Raises:
            InvalidArgumentError: It does not.
        """
        # The agent becomes the user before it finds that this is no program.
        task = self._begin(Program(("/",)))
        await self._started(task)
        task.forget()
        _require_user(task)

    async def _started(self, task: Task) -> None:
        try:
            await task.started()
        except ChannelFailed as failure:
            raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure

    def logs(self) -> GetLogsResult:
        """Return the last output of the main process."""
        return GetLogsResult(self._log.kept, self._log.dropped)

    async def run(
        self,
        program: Program,
        stdin: AsyncIterator[bytes] | None,
        controls: AsyncIterator[Control],
    ) -> AsyncGenerator[Happening]:
        """Run a program; see `Runtime.run`.

        Raises:
            InvalidArgumentError: The sandbox does not have the user.
            SandboxEndedError: The sandbox has ended, or its agent has failed.
            InternalServerError: How the program ended is unknown.
        """
        task: Task | None = None
        try:
            with self._oom_kills.watched() as oom_killed:
                task = self._begin(program, takes_input=stdin is not None)
                await task.started()
                _require_user(task)
                work = [_obey(controls, task)]
                if stdin is not None:
                    work.append(_feed(stdin, task))
                async with alongside(*work):
                    async for piece in task.output():
                        yield Printed(_STREAMS[int(piece.stream)], piece.data)
                ended = await task.ended()
                killed = oom_killed(ended.status)
            if ended.unknown:
                raise InternalServerError(
                    "how the command ended is unknown: something in the sandbox killed its supervisor"
                )
            yield Ended(ended.status, ended.signal, killed)
        except ChannelFailed as failure:
            raise SandboxEndedError(f"the sandbox's guest agent failed: {failure}") from failure
        finally:
            if task is not None:
                if not task.has_ended:
                    with suppress(ChannelFailed):
                        await completed(task.end())
                task.forget()

    def _begin(
        self,
        program: Program,
        *,
        takes_input: bool = False,
        detached: bool = False,
        label: bytes = _PROGRAM,
        keep: int = 0,
    ) -> Task:
        given = (variable.partition("=") for variable in program.env)
        environment = {**self.defaults.environment, **{name: value for name, _, value in given}}
        run = guest.Run(
            argv=[argument.encode("utf-8", "surrogateescape") for argument in program.command],
            env=[f"{name}={value}".encode() for name, value in environment.items()],
            cwd=(program.cwd or self.defaults.cwd).encode(),
            user=(program.user or self.defaults.user).encode(),
            takes_input=takes_input,
            detached=detached,
            label=label,
        )
        if program.terminal is not None:
            run.terminal = guest.Terminal(rows=program.terminal.rows, columns=program.terminal.columns)
        return self.channel.run(run, keep=keep)

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
        try:
            await self._connect()
        except (SandboxError, OSError) as error:
            self.channel.fail(ChannelFailed(str(error)))
        except ChannelFailed:
            # It has been reported.
            pass

    def _failed(self, failure: ChannelFailed) -> None:
        self.failure = failure
        if not self.main_exit.done():
            self.main_exit.set_result(_KILLED)


def _require_user(task: Task) -> None:
    """Raise InvalidArgumentError if a program was not run for want of its user."""
    if task.not_run == guest.NotRun.USER:
        raise InvalidArgumentError("user: the sandbox has no such user, or may not become that user")


async def _obey(controls: AsyncIterator[Control], task: Task) -> None:
    async for control in controls:
        if isinstance(control, Kill):
            task.kill()
        elif isinstance(control, Signal):
            task.signal(control.number)
        else:
            task.resize(control.rows, control.columns)


async def _feed(stdin: AsyncIterator[bytes], task: Task) -> None:
    with suppress(ChannelFailed):
        async for data in stdin:
            await task.write(data)
        await task.write(b"", end=True)

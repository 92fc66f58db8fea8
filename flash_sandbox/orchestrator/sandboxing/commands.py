"""Programs that are run in a sandbox, from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from ...errors import InternalServerError
from ..completion import alongside, completed
from ..runtimes.base import Control, Ended, Happening, Kill, Program, Signal
from . import bwrap
from .command_steps import Entry, command_steps
from .launcher_client import LauncherClient, Process
from .limits import CommandGroup
from .pipes import END_OF_INPUT, Outputs, feed, resize, wake
from .process_tree import ProcessTree
from .running import RunningSandbox

__all__ = ["run_program"]


async def run_program(
    launcher: LauncherClient,
    sandbox: RunningSandbox,
    program: Program,
    stdin: AsyncIterator[bytes] | None,
    controls: AsyncIterator[Control],
) -> AsyncGenerator[Happening]:
    """Run a program in a sandbox, confined as its main process is; see `Runtime.run`."""
    async with AsyncExitStack() as stack:
        oom_killed = stack.enter_context(sandbox.oom_kills.watched())
        streams = stack.enter_context(_Streams(program, sandbox.user, has_input=stdin is not None))
        process, group = await stack.enter_async_context(_process(launcher, sandbox, program, streams))
        outputs = await streams.outputs()
        work = [_obey(controls, launcher, process, group, streams)]
        if stdin is not None:
            work.append(feed(streams.input, stdin, streams.end_input))
        await stack.enter_async_context(alongside(*work))
        async for printed in outputs.printed(process.exited):
            yield printed
        end = await asyncio.shield(process.exited)
        killed = oom_killed(end.status)
    if end.signal == signal.SIGKILL:
        # By then its PID 1 is ending, if that is what has ended it.
        sandbox.require_alive()
    yield Ended(end.status, end.signal, killed)


async def _obey(
    controls: AsyncIterator[Control],
    launcher: LauncherClient,
    process: Process,
    group: CommandGroup,
    streams: _Streams,
) -> None:
    async for control in controls:
        if isinstance(control, Kill):
            # The first of its processes may be gone, and the program with it, before the others are.
            await completed(group.kill(process.pid))
        elif isinstance(control, Signal):
            await launcher.signal(process, control.number)
        else:
            resize(streams.input, control.rows, control.columns)


class _Streams:
    """What a program reads from and prints to: pipes, or the terminal that it opens in the sandbox."""

    def __init__(self, program: Program, user: int | None, *, has_input: bool) -> None:
        self.input = -1
        self._program = program
        self._user = user
        self.has_input = has_input
        self._outputs: Outputs | None = None
        self._ours: dict[str, int] = {}
        self._theirs: list[int] = []
        self._report: socket.socket | None = None

    def __enter__(self) -> _Streams:
        self._report, theirs = socket.socketpair()
        self._report.setblocking(False)
        self._theirs.append(theirs.detach())
        if self._program.terminal is None:
            for name in ("stdout", "stderr"):
                self._ours[name] = self._pipe(ours_is_written=False)
            if self.has_input:
                self.input = self._pipe(ours_is_written=True)
                os.set_blocking(self.input, False)
        return self

    def _pipe(self, *, ours_is_written: bool) -> int:
        """Make a pipe, keep the program's end and return ours."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        ours, theirs = (write_end, read_end) if ours_is_written else (read_end, write_end)
        self._theirs.append(theirs)
        if self._user is not None:
            # So that it can be opened by name: as /dev/stderr, for instance.
            os.fchown(theirs, self._user, self._user)
        return ours

    def __exit__(self, *_: object) -> None:
        assert self._report is not None
        self._report.close()
        self._close_theirs()
        if self._outputs is not None:
            self._outputs.close()
        self._ours["input"] = self.input
        for descriptor in self._ours.values():
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def theirs(self) -> list[int]:
        """What the program's process needs: for its report, and for its streams where they are pipes."""
        return self._theirs

    async def outputs(self) -> Outputs:
        """Return what the program prints, once its process has these streams.

        Raises:
            InternalServerError: If it could not be confined.
        """
        self._close_theirs()
        if self._program.terminal is not None:
            terminal = await self._receive_terminal()
            self._outputs = Outputs({"stdout": terminal})
            # One of its own: the other is closed when its program has ended.
            self.input = os.dup(terminal)
        else:
            self._outputs = Outputs({"stdout": self._ours.pop("stdout"), "stderr": self._ours.pop("stderr")})
        return self._outputs

    async def _receive_terminal(self) -> int:
        assert self._report is not None
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._report, wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self._report)
        said, descriptors, _, _ = socket.recv_fds(self._report, 4096, 1)
        if not descriptors:
            raise InternalServerError(f"the program got no terminal: {said.decode() or 'it has ended'}")
        return descriptors[0]

    def end_input(self) -> None:
        """Let the program read the end of its input."""
        if self._program.terminal is not None:
            with suppress(OSError):
                os.write(self.input, END_OF_INPUT)
        else:
            os.close(self.input)
            self.input = -1

    def raise_report(self) -> None:
        """Raise what a process said that joined the sandbox but could not be confined."""
        assert self._report is not None
        with suppress(BlockingIOError):
            problem = self._report.recv(4096)
            if problem:
                raise InternalServerError(f"the command could not be confined: {problem.decode()}")

    def _close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())


@asynccontextmanager
async def _process(
    launcher: LauncherClient, sandbox: RunningSandbox, program: Program, streams: _Streams
) -> AsyncIterator[tuple[Process, CommandGroup]]:
    """Run a program for the length of the block; what still runs is ended when the block is left."""
    sandbox.require_alive()
    sandbox.commands += 1
    group = sandbox.group.command_group(f"exec-{sandbox.commands}")
    tree = sandbox.group if isinstance(sandbox.group, ProcessTree) else None
    terminal = program.terminal
    entry = Entry(
        command=program.command,
        environment=_environment(sandbox, program),
        cwd=sandbox.root.working_dir,
        cwd_asked=program.cwd,
        terminal=None if terminal is None else (terminal.rows, terminal.columns),
        has_input=streams.has_input,
        join_files=group.join_files,
        hides_cgroup=group.is_within,
        rlimits=[*tree.command_rlimits, *getattr(group, "rlimits", [])] if tree else [],
        cpus=tree.cpus if tree else [],
    )
    given = (sandbox.handle, *streams.theirs)
    starting = asyncio.ensure_future(launcher.exec(partial(command_steps, entry, len(given)), given))
    try:
        try:
            process = await completed(starting)
            yield process, group
            streams.raise_report()
        except InternalServerError:
            # Who joins a sandbox that has just ended finds no process to join.
            sandbox.require_alive()
            raise
    finally:
        try:
            if starting.done() and not starting.cancelled() and starting.exception() is None:
                process = starting.result()
                if not process.exited.done():
                    await completed(group.kill(process.pid))
                elif tree:
                    tree.add_finished(process.exited.result())
        finally:
            group.close()


def _environment(sandbox: RunningSandbox, program: Program) -> dict[str, str]:
    variables = bwrap.environment(sandbox.id, sandbox.root.config, sandbox.env)
    given = (variable.partition("=") for variable in program.env)
    return variables | {name: value for name, _, value in given}

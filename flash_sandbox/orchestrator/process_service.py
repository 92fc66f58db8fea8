"""The service core's operations on the processes in a sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from ..errors import InvalidArgumentError, SandboxEndedError, UnsupportedError
from ..models import (
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_TERMINAL,
    ExecFrame,
    ExecRequest,
    ExecResult,
    ExecStreamRequest,
    FollowProcessRequest,
    GetPlatformInfoRequest,
    GetPlatformInfoResult,
    ListProcessesRequest,
    ListProcessesResult,
    ResizeProcessRequest,
    ResizeProcessResult,
    RunPythonRequest,
    RunPythonResult,
    SignalProcessRequest,
    SignalProcessResult,
    StartProcessRequest,
    StartProcessResult,
    WaitProcessRequest,
    WriteStdinRequest,
    WriteStdinResult,
)
from .completion import is_being_cancelled
from .executions import Execution, interruption
from .processes import Process
from .registry import Registry, Sandbox, State
from .runtimes import CAPABILITIES
from .runtimes.base import Control, Kill, Program, Resize, Signal

__all__ = ["ProcessOperations", "require_user"]

_Result = TypeVar("_Result")

_SIGKILL: Final = 9
_NOT_FOUND: Final = 127
_ROOT: Final = ("root", "0", "0:0")
_ROOT_NUMBERS: Final = "0:0"
_PYTHONS: Final = ("python3", "python")
_TERMINAL_TYPE: Final = "TERM=xterm-256color"
_PLATFORM: Final = """
uname -s; uname -n; uname -r; uname -v; uname -m
nproc 2> /dev/null || grep -c ^processor /proc/cpuinfo
( . /etc/os-release && echo "${PRETTY_NAME:-$NAME}" ) 2> /dev/null
"""
_PLATFORM_FIELDS: Final = ("system", "node", "release", "version", "machine", "cpus", "distribution")


class ProcessOperations:
    """Run commands in sandboxes; a part of `SandboxService`."""

    registry: Registry

    async def exec_command(self, request: ExecRequest) -> ExecResult:
        """Run a command in a running sandbox. Cancelling ends the command."""
        sandbox = self._running(request.id)
        program = Program(request.command, request.env, request.cwd, _user(sandbox, request.user))
        execution = Execution(sandbox, program, stdin=request.stdin, timeout=_seconds(request.timeout_ms))
        result = execution.result(request.max_output_bytes or DEFAULT_MAX_OUTPUT_BYTES)
        return await _until_ended(sandbox, result)

    async def exec_stream(self, request: ExecStreamRequest) -> AsyncGenerator[ExecFrame]:
        """Run a command and tell what happens as it happens. Leaving the iterator ends the command."""
        sandbox = self._running(request.id)
        process = Process(_execution(sandbox, request), attached=True)
        sandbox.processes.add(process)
        try:
            async with aclosing(process.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            sandbox.processes.remove(process)

    async def start_process(self, request: StartProcessRequest) -> StartProcessResult:
        """Start a command that goes on by itself."""
        sandbox = self._running(request.id)
        process = Process(_execution(sandbox, request), attached=False)
        sandbox.processes.add(process)
        process.task = _task_of(sandbox, process.run())
        return StartProcessResult(process.id)

    async def list_processes(self, request: ListProcessesRequest) -> ListProcessesResult:
        """List the processes that were begun in a sandbox, the oldest first."""
        processes = self.registry.get(request.id).processes
        return ListProcessesResult(tuple(process.info() for process in processes))

    async def wait_process(self, request: WaitProcessRequest) -> ExecResult:
        """Wait until a process has ended."""
        return await self._process(request.id, request.process_id).result()

    async def follow_process(self, request: FollowProcessRequest) -> AsyncGenerator[ExecFrame]:
        """Tell what a process has printed and prints."""
        process = self._process(request.id, request.process_id)
        async with aclosing(process.follow(request.offset, to_the_end=not request.no_follow)) as frames:
            async for frame in frames:
                yield frame

    async def signal_process(self, request: SignalProcessRequest) -> SignalProcessResult:
        """Send a signal to the first process of a command; SIGKILL to all that it started."""
        number = request.signal
        control: Control = Kill() if number == _SIGKILL else Signal(number)
        self._process(request.id, request.process_id).execution.control(control)
        return SignalProcessResult()

    async def write_stdin(self, request: WriteStdinRequest) -> WriteStdinResult:
        """Send input to a process, once it has read what was sent before."""
        process = self._process(request.id, request.process_id)
        await process.execution.write(request.data, end=request.end)
        return WriteStdinResult()

    async def resize_process(self, request: ResizeProcessRequest) -> ResizeProcessResult:
        """Change the size of a process's terminal."""
        execution = self._process(request.id, request.process_id).execution
        if execution.program.terminal is None:
            raise InvalidArgumentError("the process has no terminal")
        execution.control(Resize(request.rows, request.columns))
        return ResizeProcessResult()

    async def run_python(self, request: RunPythonRequest) -> RunPythonResult:
        """Run Python code by the interpreter in a sandbox."""
        for python in _PYTHONS:
            # As a file of its own on standard input: an argument may have 128 KiB at most.
            command = (python, "-")
            result = await self.exec_command(
                ExecRequest(request.id, command, stdin=request.code.encode() + b"\n")
            )
            if result.exit_code != _NOT_FOUND:
                return RunPythonResult.from_exec(result)
        raise UnsupportedError("the sandbox has no Python interpreter")

    async def get_platform_info(self, request: GetPlatformInfoRequest) -> GetPlatformInfoResult:
        """Tell what the processes in a sandbox find themselves on."""
        result = await self.exec_command(ExecRequest(request.id, ("/bin/sh", "-c", _PLATFORM)))
        found = dict(zip(_PLATFORM_FIELDS, result.stdout.splitlines(), strict=False))
        return GetPlatformInfoResult(json.dumps(found))

    def _running(self, sandbox_id: str) -> Sandbox:
        sandbox = self.registry.get(sandbox_id)
        sandbox.require(State.RUNNING)
        return sandbox

    def _process(self, sandbox_id: str, process_id: str) -> Process:
        return self.registry.get(sandbox_id).processes.get(process_id)


def _task_of(sandbox: Sandbox, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """Do `work` in a task that ends with the sandbox at the latest."""
    task = asyncio.create_task(work)
    sandbox.execs.add(task)
    task.add_done_callback(sandbox.execs.discard)
    return task


async def _until_ended(sandbox: Sandbox, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do `work`; raise SandboxEndedError where it hangs when the sandbox has been stopped."""
    task = _task_of(sandbox, work)
    try:
        return await task
    except asyncio.CancelledError:
        if sandbox.has_ended and not is_being_cancelled():
            raise SandboxEndedError(interruption(sandbox.id)) from None
        raise


def _execution(sandbox: Sandbox, request: ExecStreamRequest) -> Execution:
    terminal = None
    env = request.env
    if request.tty:
        rows, columns = DEFAULT_TERMINAL
        terminal = Resize(request.rows or rows, request.columns or columns)
        if not any(variable.startswith("TERM=") for variable in env):
            env = (*env, _TERMINAL_TYPE)
    program = Program(request.command, env, request.cwd, _user(sandbox, request.user), terminal)
    return Execution(
        sandbox,
        program,
        stdin=request.stdin,
        # A terminal has input, whether or not any is sent.
        keep_stdin=request.keep_stdin or request.tty,
        timeout=_seconds(request.timeout_ms),
    )


def _user(sandbox: Sandbox, user: str) -> str:
    """Return the user as the runtime takes it; raise UnsupportedError for one that it cannot run as."""
    return require_user(sandbox.runtime.name, user or sandbox.request.user)


def require_user(runtime: str, user: str) -> str:
    """Return a user as a runtime takes it; raise UnsupportedError for one that it cannot run as."""
    if user in _ROOT:
        # By number: an image may have no file that knows the name.
        return _ROOT_NUMBERS
    if user and not CAPABILITIES[runtime].runs_as(user):
        raise UnsupportedError(f"the {runtime} runtime runs nothing as user {user[:100]!r}")
    return user


def _seconds(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None

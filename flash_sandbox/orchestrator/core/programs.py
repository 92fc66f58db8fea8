"""The service core's operations on the processes in a sandbox."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from ...errors import InvalidArgumentError, UnsupportedError
from ...models import (
    DEFAULT_COLUMNS,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_ROWS,
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
from ..guest.programs import Execution, Program, TerminalSize
from ..runtimes.base import Runtime
from .base import ServiceCore
from .processes import Process
from .sandboxes import Sandbox

__all__ = ["ProcessOperations", "require_user"]

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


class ProcessOperations(ServiceCore):
    """Run commands in sandboxes; a part of `SandboxService`."""

    async def exec_command(self, request: ExecRequest) -> ExecResult:
        """Run a command in a running sandbox. Cancelling ends the command."""
        with await self._running(request.id) as sandbox:
            program = Program(request.command, request.env, request.cwd, _user(sandbox, request.user))
            timeout = _seconds(request.timeout_ms)
            async with sandbox.guest.run(program, stdin=request.stdin, timeout=timeout) as execution:
                return await execution.result(request.max_output_bytes or DEFAULT_MAX_OUTPUT_BYTES)

    async def exec_stream(self, request: ExecStreamRequest) -> AsyncGenerator[ExecFrame]:
        """Run a command and tell what happens as it happens. Leaving the iterator ends the command."""
        with await self._running(request.id) as sandbox:
            process = Process(request.command, tty=request.tty, attached=True)
            sandbox.processes.add(process)
            try:
                async with aclosing(process.frames(_begun(sandbox, request))) as frames:
                    async for frame in frames:
                        yield frame
            finally:
                sandbox.processes.remove(process)

    async def start_process(self, request: StartProcessRequest) -> StartProcessResult:
        """Start a command that goes on by itself."""
        with await self._running(request.id) as sandbox:
            process = Process(request.command, tty=request.tty, attached=False)
            label = process.label(takes_input=_takes_input(request), timeout=_seconds(request.timeout_ms))
            await process.begin(_begun(sandbox, request, label))
            sandbox.processes.add(process)
        return StartProcessResult(process.id)

    async def list_processes(self, request: ListProcessesRequest) -> ListProcessesResult:
        """List the processes that were begun in a sandbox, the oldest first."""
        processes = self.registry.get(request.id).processes
        return ListProcessesResult(tuple(process.info() for process in processes))

    async def wait_process(self, request: WaitProcessRequest) -> ExecResult:
        """Wait until a process has ended."""
        with await self._awake(request.id) as sandbox:
            return await sandbox.processes.get(request.process_id).result()

    async def follow_process(self, request: FollowProcessRequest) -> AsyncGenerator[ExecFrame]:
        """Tell what a process has printed and prints."""
        with await self._awake(request.id) as sandbox:
            process = sandbox.processes.get(request.process_id)
            async with aclosing(process.follow(request.offset, to_the_end=not request.no_follow)) as frames:
                async for frame in frames:
                    yield frame

    async def signal_process(self, request: SignalProcessRequest) -> SignalProcessResult:
        """Send a signal to the first process of a command; SIGKILL to all that it started."""
        with await self._awake(request.id) as sandbox:
            execution = sandbox.processes.get(request.process_id).require_running()
            if request.signal == signal.SIGKILL:
                execution.kill()
            else:
                execution.signal(request.signal)
        return SignalProcessResult()

    async def write_stdin(self, request: WriteStdinRequest) -> WriteStdinResult:
        """Send input to a process, once it has read what was sent before."""
        with await self._awake(request.id) as sandbox:
            process = sandbox.processes.get(request.process_id)
            await process.require_running().write(request.data, end=request.end)
        return WriteStdinResult()

    async def resize_process(self, request: ResizeProcessRequest) -> ResizeProcessResult:
        """Change the size of a process's terminal."""
        with await self._awake(request.id) as sandbox:
            process = sandbox.processes.get(request.process_id)
            if not process.has_terminal:
                raise InvalidArgumentError("the process has no terminal")
            process.require_running().resize(TerminalSize(request.rows, request.columns))
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


def _begun(
    sandbox: Sandbox, request: ExecStreamRequest | StartProcessRequest, label: bytes = b""
) -> AbstractAsyncContextManager[Execution]:
    """Return what runs a command for the length of a block."""
    terminal = None
    env = request.env
    if request.tty:
        terminal = TerminalSize(request.rows or DEFAULT_ROWS, request.columns or DEFAULT_COLUMNS)
        if not any(variable.startswith("TERM=") for variable in env):
            env = (*env, _TERMINAL_TYPE)
    program = Program(request.command, env, request.cwd, _user(sandbox, request.user), terminal)
    return sandbox.guest.run(
        program,
        stdin=request.stdin,
        keep_stdin=_takes_input(request),
        timeout=_seconds(request.timeout_ms),
        label=label,
    )


def _takes_input(request: ExecStreamRequest | StartProcessRequest) -> bool:
    # A terminal has input, whether or not any is sent.
    return request.keep_stdin or request.tty


def _user(sandbox: Sandbox, user: str) -> str:
    """Return the user as the runtime takes it; raise UnsupportedError for one that it cannot run as."""
    return require_user(sandbox.runtime, user or sandbox.request.user)


def require_user(runtime: Runtime, user: str) -> str:
    """Return a user as a runtime takes it; raise UnsupportedError for one that it cannot run as."""
    if user in _ROOT:
        # By number: an image may have no file that knows the name.
        return _ROOT_NUMBERS
    if user and runtime.capabilities.missing_users:
        why = runtime.capabilities.missing_users
        raise UnsupportedError(f"user {user[:100]!r}: sandboxes have no user but root here: {why}")
    if user and not runtime.capabilities.runs_as(user):
        raise UnsupportedError(f"the {runtime.name} runtime runs nothing as user {user[:100]!r}")
    return user


def _seconds(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None

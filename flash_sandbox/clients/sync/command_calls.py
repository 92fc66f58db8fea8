# Derived from flash_sandbox/clients/aio/command_calls.py by `python -m codegen`; do not edit.
"""Calls about the commands that run in a sandbox."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ... import models, operations
from ...errors import ProtocolError
from ...models import ExecResult, ProcessInfo, RunPythonResult
from ...options import NOT_GIVEN, CallOptions, NotGiven
from .calls import Calls
from .streams import ExecStream, Frames

__all__ = ["CommandCalls"]


class CommandCalls(Calls):
    """Run commands in sandboxes."""

    def exec_command(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        max_output_bytes: int = models.DEFAULT_MAX_OUTPUT_BYTES,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecResult:
        """Run a command in a running sandbox and return what it printed and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, at most 8 MiB; a text is sent as UTF-8.
            max_output_bytes: Bytes of each output stream that are kept, at most 32 MiB; the result tells how
                many were dropped.
            timeout: Seconds that it may take; then it is ended with all that it started, and the result has
                what it printed until then. None for any time. Where it is left out, the command has no limit
                of its own, and the client's time-out is that of the call.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            SandboxEndedError: The sandbox ended while the command ran.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxTimeoutError: No answer came within the client's time-out, or within a few seconds after
                the command's own time. The command is ended with all that it started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        milliseconds, seconds = self._command_options(timeout)
        request = models.ExecRequest(
            sandbox_id,
            command,  # type: ignore[arg-type]  # the model makes it a tuple
            env=() if env is None else env,  # type: ignore[arg-type]  # the model makes it texts
            cwd=cwd,
            user=user,
            stdin=stdin,  # type: ignore[arg-type]  # the model makes it bytes
            timeout_ms=milliseconds,
            # What is usual goes without saying, also to orchestrators that know of nothing else.
            max_output_bytes=0 if max_output_bytes == models.DEFAULT_MAX_OUTPUT_BYTES else max_output_bytes,
        )
        return self._perform(operations.EXEC_COMMAND, request, seconds)

    def exec_stream(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecStream:
        """Run a command in a running sandbox and tell what it prints as it happens.

        What is returned is an iterator of frames, the last one of which tells how the command ended, and a
        context manager that ends the command. A reader that stops holds the command up.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, or the beginning of it, at most 8 MiB; a text is sent as UTF-8.
            keep_stdin: Whether more input may come, until its end is sent, too.
            tty: Whether it gets a terminal for all of its streams, which more input may always come to.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ExecStreamRequest(
            sandbox_id,
            command,  # type: ignore[arg-type]  # the model makes it a tuple
            env=() if env is None else env,  # type: ignore[arg-type]  # the model makes it texts
            cwd=cwd,
            user=user,
            stdin=stdin,  # type: ignore[arg-type]  # the model makes it bytes
            keep_stdin=keep_stdin,
            tty=tty,
            rows=rows,
            columns=columns,
            timeout_ms=_milliseconds(limit),
        )
        frames = self._stream(operations.EXEC_STREAM, request, timeout)
        return ExecStream.begin_in(self, sandbox_id, frames)

    def start_process(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str = "",
        user: str = "",
        stdin: bytes | str = b"",
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 24,
        columns: int = 80,
        limit: float | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Start a command in a running sandbox that goes on by itself, and return its process ID.

        It ends with the sandbox. The last MiB of its output is kept for `wait_process` and `follow_process`.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments, at least one element; a text is run by ``/bin/sh``.
            env: Variables that it has besides the sandbox's own: names and values, or texts ``NAME=value``.
            cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
            user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's. Some runtimes
                know no other than root.
            stdin: Its input, or the beginning of it, at most 8 MiB; a text is sent as UTF-8.
            keep_stdin: Whether more input may come, until its end is sent, too.
            tty: Whether it gets a terminal for all of its streams, which more input may always come to.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have been started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.StartProcessRequest(
            sandbox_id,
            command,  # type: ignore[arg-type]  # the model makes it a tuple
            env=() if env is None else env,  # type: ignore[arg-type]  # the model makes it texts
            cwd=cwd,
            user=user,
            stdin=stdin,  # type: ignore[arg-type]  # the model makes it bytes
            keep_stdin=keep_stdin,
            tty=tty,
            rows=rows,
            columns=columns,
            timeout_ms=_milliseconds(limit),
        )
        return (self._perform(operations.START_PROCESS, request, timeout)).process_id

    def list_processes(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[ProcessInfo, ...]:
        """Return the processes that `exec_stream` and `start_process` began in a sandbox, the oldest first.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ListProcessesRequest(sandbox_id)
        return (self._perform(operations.LIST_PROCESSES, request, timeout)).processes

    def wait_process(
        self, sandbox_id: str, process_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> ExecResult:
        """Wait until a process has ended, and return what is kept of its output and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxEndedError: The sandbox ended while the process ran.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WaitProcessRequest(sandbox_id, process_id)
        return self._perform(operations.WAIT_PROCESS, request, timeout)

    def follow_process(
        self,
        sandbox_id: str,
        process_id: str,
        *,
        offset: int = 0,
        follow: bool = True,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Frames:
        """Tell what is kept of a process's output, and what it prints from then on until it ends.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            offset: Bytes printed before, of both streams together, that are not wanted; to go on, `offset` of
                the last frame that was seen and the length of its `data`.
            follow: False to end with what has been printed so far.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.FollowProcessRequest(sandbox_id, process_id, offset, not follow)
        frames = self._stream(operations.FOLLOW_PROCESS, request, timeout)
        return Frames.begin(frames)

    def signal_process(
        self,
        sandbox_id: str,
        process_id: str,
        signal: int | str = "TERM",
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send a signal to the first process of a command; ``KILL`` ends it with all that it started.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            signal: Name, such as ``TERM`` or ``SIGTERM``, or number, 1 to 64.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.SignalProcessRequest(sandbox_id, process_id, signal)  # type: ignore[arg-type]
        self._perform(operations.SIGNAL_PROCESS, request, timeout)

    def write_stdin(
        self,
        sandbox_id: str,
        process_id: str,
        data: bytes | str = b"",
        *,
        end: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send input to a process, and return once it has read most of what was sent before.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            data: What it is to read, at most 8 MiB; a text is sent as UTF-8.
            end: Whether its input ends with that.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WriteStdinRequest(sandbox_id, process_id, data, end)  # type: ignore[arg-type]
        self._perform(operations.WRITE_STDIN, request, timeout)

    def resize_process(
        self,
        sandbox_id: str,
        process_id: str,
        rows: int,
        columns: int,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Change the size of a process's terminal.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            rows: Rows, 1 to 65535.
            columns: Columns, 1 to 65535.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            ConflictError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ResizeProcessRequest(sandbox_id, process_id, rows, columns)
        self._perform(operations.RESIZE_PROCESS, request, timeout)

    def run_python(
        self, sandbox_id: str, code: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> RunPythonResult:
        """Run Python code by the interpreter in a sandbox, and return what it printed and how it ended.

        The result is an `ExecResult`; ``str()`` of it is what was printed.

        Args:
            sandbox_id: ID of the sandbox.
            code: Python code, not empty, at most 8 MiB.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            UnsupportedError: There is no Python interpreter in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.RunPythonRequest(sandbox_id, code)
        return self._perform(operations.RUN_PYTHON, request, timeout)

    def get_platform_info(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> dict[str, Any]:
        """Return what the processes in a sandbox find themselves on: system, release, machine and more.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetPlatformInfoRequest(sandbox_id)
        info = (self._perform(operations.GET_PLATFORM_INFO, request, timeout)).info
        return _object(info)


def _milliseconds(limit: float | None) -> int:
    if limit is None:
        return 0
    return max(math.ceil((CallOptions(timeout=limit).timeout or 0) * 1000), 1)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError("the platform information is not a JSON object")
    return found

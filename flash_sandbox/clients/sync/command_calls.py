# Derived from flash_sandbox/clients/aio/command_calls.py by `python -m codegen`; do not edit.
"""Calls that run commands in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ... import models, operations
from ...errors import ProtocolError
from ...models import ExecResult
from ...options import NOT_GIVEN, NotGiven
from .calls import given, milliseconds_of
from .operation_calls import OperationCalls
from .streams import ExecStream, Frames, first_of

__all__ = ["CommandCalls"]


class CommandCalls(OperationCalls):
    """Run commands in sandboxes."""

    def exec_command(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        max_output_bytes: int = models.DEFAULT_MAX_OUTPUT_BYTES,
        limit: float | NotGiven | None = NOT_GIVEN,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecResult:
        """Run a command in a running sandbox and return what it printed and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments. The first element is a path, or a name looked up in the
                sandbox's PATH. A text is run by ``/bin/sh``.
            env: Variables that the command has besides the sandbox's own, each NAME=value. Or a mapping of
                names to values.
            cwd: Directory in the sandbox to run in, absolute. None is the sandbox's own.
            user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. None is
                the main process's.
            stdin: Input of the command, at most 8 MiB. A text is sent as UTF-8.
            max_output_bytes: Bytes of each output stream that are kept, at most 33554432. The result tells
                how many were dropped.
            limit: Seconds that it may take; then it is ended with all that it started, and the result has
                what it printed until then. None for any time. Where it is left out, `timeout` is the limit.
            timeout: Seconds for the whole call; None for no time-out. Where it is left out, the client's, or
                a few seconds more than `limit` where that is longer. Without `limit` it is that of the
                command, and the call may take a few seconds more.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxEndedError: The sandbox ended while the command ran.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxTimeoutError: No answer came within the client's time-out, or within a few seconds after
                the command's own time. The command is ended with all that it started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        timeout_ms, seconds = self._command_options(limit, timeout)
        request = models.ExecRequest(
            sandbox_id,
            command,  # type: ignore[arg-type]  # the model makes it a tuple
            env=() if env is None else env,  # type: ignore[arg-type]  # the model makes it texts
            cwd="" if cwd is None else cwd,
            user="" if user is None else user,
            stdin=b"" if stdin is None else stdin,  # type: ignore[arg-type]  # the model makes it bytes
            timeout_ms=timeout_ms,
            # Omit the default: older orchestrators know no other.
            max_output_bytes=0 if max_output_bytes == models.DEFAULT_MAX_OUTPUT_BYTES else max_output_bytes,
        )
        return self._perform(operations.EXEC_COMMAND, request, seconds)

    def exec_stream(
        self,
        sandbox_id: str,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
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
            command: Command and its arguments. The first element is a path, or a name looked up in the
                sandbox's PATH. A text is run by ``/bin/sh``.
            env: Variables that the command has besides the sandbox's own, each NAME=value. Or a mapping of
                names to values.
            cwd: Directory in the sandbox to run in, absolute. None is the sandbox's own.
            user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. None is
                the main process's.
            stdin: Input of the command, or the beginning of it, at most 8 MiB. A text is sent as UTF-8.
            keep_stdin: Whether more input may come, by write_stdin.
            tty: Whether the command gets a terminal for all of its streams. More input may always come to
                that.
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            limit: Seconds that it may take; then it is ended with all that it started. None for any time.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        program = given(env=env, cwd=cwd, user=user, stdin=stdin, keep_stdin=keep_stdin)
        terminal = given(tty=tty, rows=rows, columns=columns, timeout_ms=milliseconds_of(limit))
        request = models.ExecStreamRequest(sandbox_id, command, **program, **terminal)  # type: ignore[arg-type]
        frames = self._stream(operations.EXEC_STREAM, request, timeout)
        return ExecStream(self, sandbox_id, frames, first_of(frames))

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
            offset: Where to begin: bytes printed before, of both streams together. What is not kept any more
                is left out. To go on: `offset` of the last frame that was seen, and the length of its `data`.
            follow: False to end with what has been printed so far.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.FollowProcessRequest(sandbox_id, process_id, offset, not follow)
        frames = self._stream(operations.FOLLOW_PROCESS, request, timeout)
        return Frames(frames, first_of(frames))

    def get_platform_info(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> dict[str, Any]:
        """Return what the processes in a sandbox find themselves on: system, release, machine and more.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetPlatformInfoRequest(sandbox_id)
        info = (self._perform(operations.GET_PLATFORM_INFO, request, timeout)).info
        return _object(info)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError("the platform information is not a JSON object")
    return found

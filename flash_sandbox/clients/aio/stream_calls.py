# Generated from specs/ by `python -m codegen`; do not edit.
"""The calls whose answer is a stream that the specs decide alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ... import models, operations
from ...options import NOT_GIVEN, NotGiven
from .. import continuation
from .calls import milliseconds_of
from .operation_calls import AsyncOperationCalls
from .streams import AsyncEvents, AsyncExecStream, AsyncFrames, first_of

__all__ = ["AsyncStreamCalls"]


class AsyncStreamCalls(AsyncOperationCalls):
    """Makes each call whose answer is a stream."""

    async def exec_stream(
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
    ) -> AsyncExecStream:
        """Run a command in a running sandbox and tell what it prints as it happens.

        The last frame tells how the command ended. It ends with the stream, and a reader that stops holds it
        up.

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
        request = models.ExecStreamRequest(
            id=sandbox_id,
            command=cast("Any", command),
            env=() if env is None else cast("Any", env),
            cwd="" if cwd is None else cwd,
            user="" if user is None else user,
            stdin=b"" if stdin is None else cast("Any", stdin),
            keep_stdin=keep_stdin,
            tty=tty,
            rows=0 if rows == 24 else rows,
            columns=0 if columns == 80 else columns,
            timeout_ms=milliseconds_of(limit),
        )
        pieces = self._stream(operations.EXEC_STREAM, request, timeout)
        return AsyncExecStream(self, sandbox_id, pieces, await first_of(pieces))

    async def follow_process(
        self,
        sandbox_id: str,
        process_id: str,
        *,
        offset: int = 0,
        follow: bool = True,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncFrames:
        """Tell what is kept of a process's output, and what it prints from then on until it ends.

        The last frame tells how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            process_id: ID of the process.
            offset: Where to begin: bytes printed before, of both streams together. What is not kept any more
                is left out. To go on: offset of the last frame that was seen, and the length of its data.
            follow: False to end with what has been printed so far.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.FollowProcessRequest(
            id=sandbox_id, process_id=process_id, offset=offset, no_follow=not follow
        )
        pieces = self._stream(operations.FOLLOW_PROCESS, request, timeout, continuation.follow_process)
        return AsyncFrames(pieces, await first_of(pieces))

    async def watch_events(
        self, token: str | None = None, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> AsyncEvents:
        """Tell what happens to sandboxes, as it happens; nothing that happens after this returns is missed.

        Args:
            token: Where to go on: the token of the last event that was seen. None is what happens from now
                on.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            EventsMissedError: What happened after `token` is not known any more.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WatchEventsRequest(token="" if token is None else token)
        pieces = self._stream(operations.WATCH_EVENTS, request, timeout, continuation.watch_events)
        return AsyncEvents(pieces, await first_of(pieces))

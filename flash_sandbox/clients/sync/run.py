# Derived from flash_sandbox/clients/aio/run.py by `python -m codegen`; do not edit.
# Generated from specs/ and the clients' calls by `python -m codegen`; do not edit.
"""What runs a command in a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...models import (
    ExecResult,
)
from ...options import NOT_GIVEN, NotGiven
from ..delegation import Delegate
from .api import SandboxAPI

__all__ = ["Run"]


class Run(Delegate):
    """Runs commands in one sandbox."""

    _client: SandboxAPI
    _ids: tuple[str]

    def run(
        self,
        command: Sequence[str] | str,
        *,
        env: Mapping[str, str] | Sequence[str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        stdin: bytes | str | None = None,
        max_output_bytes: int = 8388608,
        limit: float | None = None,
        check: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> ExecResult:
        """Run a command and return what it printed and how it ended.

        Args:
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
                what it printed until then. None for any time.
            check: True raises CommandFailedError where it does not end by itself with status 0.
            timeout: Seconds for the whole call; None for no time-out. Where it is left out, the client's, or
                a few seconds more than `limit` where that is longer.

        Raises:
            CommandFailedError: It failed, and `check` is True; the error has the result.
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxEndedError: The sandbox ended while the command ran.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxTimeoutError: No answer came in time, or within a few seconds after the command's own time.
                The command is ended with all that it started.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        result = self._client.exec_command(
            *self._ids,
            command,
            env=env,
            cwd=cwd,
            user=user,
            stdin=stdin,
            max_output_bytes=max_output_bytes,
            limit=limit,
            timeout=timeout,
        )
        return result.check() if check else result

"""Calls about the processes that run in a sandbox."""

from __future__ import annotations

from ... import models, operations
from ...models import ExecResult, ProcessInfo
from ...options import NOT_GIVEN, NotGiven
from .calls import AsyncCalls

__all__ = ["AsyncProcessCalls"]


class AsyncProcessCalls(AsyncCalls):
    """Use what runs in sandboxes."""

    async def list_processes(
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
        return (await self._perform(operations.LIST_PROCESSES, request, timeout)).processes

    async def wait_process(
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
        return await self._perform(operations.WAIT_PROCESS, request, timeout)

    async def signal_process(
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
            signal: Number of the signal, 1 to 64. Or its name, such as ``TERM`` or ``SIGTERM``.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.SignalProcessRequest(sandbox_id, process_id, signal)  # type: ignore[arg-type]
        await self._perform(operations.SIGNAL_PROCESS, request, timeout)

    async def write_stdin(
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
            data: What it is to read, at most 8 MiB. A text is sent as UTF-8.
            end: Whether its input ends with that.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WriteStdinRequest(sandbox_id, process_id, data, end)  # type: ignore[arg-type]
        await self._perform(operations.WRITE_STDIN, request, timeout)

    async def resize_process(
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
            rows: Rows of the terminal, 1 to 65535.
            columns: Columns of the terminal, 1 to 65535.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ProcessNotFoundError: There is no such process in it.
            WrongStateError: The process has ended, or does not take this.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ResizeProcessRequest(sandbox_id, process_id, rows, columns)
        await self._perform(operations.RESIZE_PROCESS, request, timeout)

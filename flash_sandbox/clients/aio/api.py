"""The interface that all asynchronous clients share."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from ...models import (
    DEFAULT_CPU_CORES,
    DEFAULT_MEMORY_MB,
    ExecResult,
    MetricsResult,
    SnapshotInfo,
    SnapshotResult,
)
from ...options import NOT_GIVEN, NotGiven

__all__ = ["AsyncSandboxAPI"]


class AsyncSandboxAPI(Protocol):
    """What every asynchronous client can do, over whichever transport."""

    async def start_sandbox(
        self,
        type: str = "",
        image: str = "",
        command: Sequence[str] | None = None,
        memory_mb: int = DEFAULT_MEMORY_MB,
        cpu_cores: float = DEFAULT_CPU_CORES,
        kernel_image: str | None = None,
        initrd_path: str | None = None,
        snapshot_path: str | None = None,
        mem_file_path: str | None = None,
        network: str | None = None,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Start a sandbox and return its ID once its main process runs.

        Args:
            type: Runtime: ``bubblewrap``, ``docker``, ``gvisor``, ``firecracker``, or ``auto`` (also when
                empty) for the best one that the orchestrator's host has.
            image: Image to start from; empty is the runtime's default.
            command: Main process and its arguments; None is the image's own command, and without one (or
                where that is a lone shell) the sandbox idles until it is stopped.
            memory_mb: Memory limit in MiB, 1 to 2**31 - 1.
            cpu_cores: CPU limit in cores, above 0 and at most 1024.
            kernel_image: Guest kernel on the orchestrator's host (Firecracker only).
            initrd_path: Initial RAM disk on the orchestrator's host (Firecracker only).
            snapshot_path: Snapshot to start from, as `snapshot_sandbox` returned it.
            mem_file_path: Memory file of that snapshot, where the runtime keeps one.
            network: ``none`` (nothing but its own loopback) or ``bridge`` (out through the host); None is
                the orchestrator's default.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range, or the orchestrator refuses it.
            RuntimeUnavailableError: The orchestrator's host lacks the runtime.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def stop_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def exec_command(
        self, sandbox_id: str, command: Sequence[str], *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> ExecResult:
        """Run a command in a running sandbox and return what it printed and how it ended.

        Args:
            sandbox_id: ID of the sandbox.
            command: Command and its arguments, at least one element.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not running.
            OutcomeUnknownError: The connection was lost; the command may have run.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def get_status(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> str:
        """Return the state of a sandbox: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def get_metrics(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> MetricsResult:
        """Return what a sandbox uses at this moment.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def snapshot_sandbox(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is in a state in which this cannot be done.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def resume_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Let a paused sandbox run on.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            ConflictError: The sandbox is not paused.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def list_snapshots(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[SnapshotInfo]:
        """Return what is known of each snapshot in the orchestrator's store, the oldest first.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    async def remove_snapshot(
        self, snapshot_path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Remove a snapshot from the orchestrator's store. What was started from it goes on.

        Args:
            snapshot_path: Snapshot to remove, as `snapshot_sandbox` or `list_snapshots` returned it.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            InvalidArgumentError: There is no such snapshot.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        ...

    def with_options(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN, max_retries: int | NotGiven = NOT_GIVEN
    ) -> Self:
        """Return a client with other options that shares the connections; closing either closes both.

        Args:
            timeout: Seconds for each whole call; None for no time-out; unchanged where it is left out.
            max_retries: How often a failed call may be repeated; unchanged where it is left out.
        """
        ...

    async def close(self) -> None:
        """Release the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

"""The asynchronous clients: what to call, and over which transport."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ... import models, operations
from ...address import parse_address
from ...models import (
    DEFAULT_CPU_CORES,
    DEFAULT_MEMORY_MB,
    ExecResult,
    MetricsResult,
    SnapshotInfo,
    SnapshotResult,
)
from ...operations import Operation
from ...options import NOT_GIVEN, CallOptions, NotGiven, api_key_or_default
from ...transports.base import AsyncTransport

if TYPE_CHECKING:
    import ssl as ssl_module

    from ...transports.base import AsyncSession, Metadata
    from .api import AsyncSandboxAPI

__all__ = ["AsyncHTTPClient", "AsyncSandboxClient"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class _AsyncClient:
    """Every operation, over the transport that a subclass chooses."""

    _transport: AsyncTransport
    _options: CallOptions

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
        request = models.StartRequest(
            type=type,
            image=image,
            command=() if command is None else command,  # type: ignore[arg-type]  # the model makes it a tuple
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            kernel_image="" if kernel_image is None else kernel_image,
            initrd_path="" if initrd_path is None else initrd_path,
            snapshot_path="" if snapshot_path is None else snapshot_path,
            mem_file_path="" if mem_file_path is None else mem_file_path,
            network="" if network is None else network,
        )
        return (await self._perform(operations.START_SANDBOX, request, timeout)).id

    async def stop_sandbox(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._perform(operations.STOP_SANDBOX, models.StopRequest(sandbox_id), timeout)

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
        request = models.ExecRequest(sandbox_id, command)  # type: ignore[arg-type]  # the model makes it a tuple
        return await self._perform(operations.EXEC_COMMAND, request, timeout)

    async def get_status(self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> str:
        """Return the state of a sandbox: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        return (await self._perform(operations.GET_STATUS, models.StatusRequest(sandbox_id), timeout)).status

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
        return await self._perform(operations.GET_METRICS, models.MetricsRequest(sandbox_id), timeout)

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
        return await self._perform(operations.SNAPSHOT_SANDBOX, models.SnapshotRequest(sandbox_id), timeout)

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
        await self._perform(operations.RESUME_SANDBOX, models.ResumeRequest(sandbox_id), timeout)

    async def list_snapshots(self, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[SnapshotInfo]:
        """Return what is known of each snapshot in the orchestrator's store, the oldest first.

        Args:
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        result = await self._perform(operations.LIST_SNAPSHOTS, models.ListSnapshotsRequest(), timeout)
        return list(result.snapshots)

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
        request = models.RemoveSnapshotRequest(snapshot_path)
        await self._perform(operations.REMOVE_SNAPSHOT, request, timeout)

    def with_options(
        self, *, timeout: float | NotGiven | None = NOT_GIVEN, max_retries: int | NotGiven = NOT_GIVEN
    ) -> Self:
        """Return a client with other options that shares the connections; closing either closes both.

        Args:
            timeout: Seconds for each whole call; None for no time-out; unchanged where it is left out.
            max_retries: How often a failed call may be repeated; unchanged where it is left out.
        """
        client = copy.copy(self)
        client._options = self._options.replace(timeout, max_retries)
        return client

    async def close(self) -> None:
        """Release the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        await self._transport.close()

    async def _perform(
        self, operation: Operation[Req, Res], request: Req, timeout: float | NotGiven | None
    ) -> Res:
        options = self._options if timeout is NOT_GIVEN else self._options.replace(timeout)
        return await self._transport.perform(operation, request, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        options = f"timeout={self._options.timeout}, max_retries={self._options.max_retries}"
        return f"{type(self).__name__}({str(self._transport.address)!r}, {options})"


class AsyncHTTPClient(_AsyncClient):
    """Start, use and stop sandboxes over HTTP.

    Args:
        host: Host name or IP address of the orchestrator.
        port: Its HTTP port, 1 to 65535.
        address: Full address, in place of `host` and `port`: ``host:port``, with or without ``http://`` or
            ``https://`` before it and a path prefix after it; or ``unix:///path``.
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        session: ``httpx.AsyncClient`` that makes the connections, and is not closed.
            Its TLS settings, proxies and headers hold. None to make one.
        api_key: Key of the orchestrator; None takes that of the environment (FLASH_SANDBOX_API_KEY).
        max_retries: How often a failed call may be repeated, 0 to 100. A command is never run twice.

    Raises:
        InvalidArgumentError: An argument is malformed or out of range.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8080,
        address: str | None = None,
        timeout: float | None = 30.0,
        session: AsyncSession | None = None,
        *,
        api_key: str | None = None,
        max_retries: int = 2,
    ) -> None:
        from ...transports.http import AsyncHTTPTransport

        self._options = CallOptions(timeout, max_retries)
        self._transport = AsyncHTTPTransport(
            parse_address(address, host, port), api_key_or_default(api_key), session
        )


class AsyncSandboxClient(_AsyncClient):
    """Start, use and stop sandboxes over gRPC.

    Args:
        host: Host name or IP address of the orchestrator.
        port: Its gRPC port, 1 to 65535.
        address: Full address, in place of `host` and `port`: ``host:port``, with or without ``http://`` or
            ``https://`` before it and a path prefix after it; or ``unix:///path``.
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        ssl: True for TLS, or its settings; None goes by the address.
        metadata: Headers that go with every call; names in lower case.
        api_key: Key of the orchestrator; None takes that of the environment (FLASH_SANDBOX_API_KEY).
        max_retries: How often a failed call may be repeated, 0 to 100. A command is never run twice.

    Raises:
        InvalidArgumentError: An argument is malformed or out of range.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 50051,
        address: str | None = None,
        timeout: float | None = 30.0,
        *,
        ssl: ssl_module.SSLContext | bool | None = None,
        metadata: Metadata | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
    ) -> None:
        from ...transports.grpc import AsyncGRPCTransport

        self._options = CallOptions(timeout, max_retries)
        where = parse_address(address, host, port, tls=None if ssl is None else bool(ssl))
        self._transport = AsyncGRPCTransport(where, api_key_or_default(api_key), ssl, metadata or ())


if TYPE_CHECKING:
    # The type checker proves here that the clients have the interface.
    _PROOF: tuple[type[AsyncSandboxAPI], ...] = (AsyncHTTPClient, AsyncSandboxClient)

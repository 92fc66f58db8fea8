"""A sandbox as an object."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ...display import html_table
from ...errors import SandboxError, SandboxNotFoundError
from ...models import NetworkMode
from ...models.network import Network, network_fields
from ...options import NOT_GIVEN, NotGiven
from ..delegation import of_sandbox
from .api import AsyncSandboxAPI
from .commands import AsyncCommands
from .creation import AsyncCreation
from .files import AsyncFiles
from .object_calls import AsyncObjectCalls
from .ports import AsyncPorts
from .run import AsyncRun

__all__ = ["AsyncSandbox"]


class AsyncSandbox(AsyncCreation, AsyncRun, AsyncObjectCalls):
    """One sandbox. As a context manager it stops the sandbox at the end.

    `create`, `connect` and `list` need no client: without one, a sandbox has one of its own, closed when it
    is stopped. It uses the orchestrator that the environment names (FLASH_SANDBOX_ADDR: an address as
    `connect_async` takes it; FLASH_SANDBOX_API_KEY), and where it names none, one that this process starts
    for itself on first use. That ends with the process, as do its sandboxes, and keeps no files but pulled
    images. It needs Linux and the extra ``flash-sandbox[orchestrator]``.

    Args:
        client: Performs the calls; it is not closed.
        sandbox_id: ID of a sandbox; whether it exists is not asked (see `connect`).
    """

    status = of_sandbox(AsyncSandboxAPI.get_status)
    info = of_sandbox(AsyncSandboxAPI.get_info)
    logs = of_sandbox(AsyncSandboxAPI.get_logs)
    metrics = of_sandbox(AsyncSandboxAPI.get_metrics)
    metrics_history = of_sandbox(AsyncSandboxAPI.get_metrics_history)
    platform_info = of_sandbox(AsyncSandboxAPI.get_platform_info)
    run_python = of_sandbox(AsyncSandboxAPI.run_python)
    keep_alive = of_sandbox(AsyncSandboxAPI.keep_alive)
    snapshot = of_sandbox(AsyncSandboxAPI.snapshot_sandbox)
    pause = of_sandbox(AsyncSandboxAPI.pause_sandbox)
    resume = of_sandbox(AsyncSandboxAPI.resume_sandbox)

    async def fork(self, count: int = 1, *, timeout: float | NotGiven | None = NOT_GIVEN) -> list[Self]:
        """Start copies of it with its files, limits, variables and labels; all of them, or none.

        Of a gvisor sandbox, copies also have the memory and the processes; of others the main process starts
        anew. It goes on as it was. The copies use the client that it was given, or each has one of its own.

        Args:
            count: How many copies to start, 1 to 100.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            WrongStateError: It is in a state in which this cannot be done.
            AtCapacityError: The orchestrator takes no such number of sandboxes.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        client = None if self._is_environments else self._client
        ids = await self._client.fork_sandbox(self.id, count, timeout=timeout)
        return [await self._over(client, sandbox_id) for sandbox_id in ids]

    fork_sandbox = fork

    async def set_network(
        self, network: Network | NetworkMode, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> None:
        """Change what a running sandbox may reach. Connections to anything else end.

        Programs that run already do not learn of a proxy that was not there when they were started.

        Args:
            network: A policy, or none for nothing.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            WrongStateError: The sandbox is not running.
            NetworkRefusedError: The orchestrator gives no sandbox that network.
            UnsupportedError: The sandbox has the network bridge, or is to have it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self._client.set_network(self.id, timeout=timeout, **network_fields(network))

    @property
    def commands(self) -> AsyncCommands:
        """Return what runs, starts and lists commands in it."""
        return AsyncCommands(self._client, self.id)

    @property
    def files(self) -> AsyncFiles:
        """Return what reads, writes and lists its files."""
        return AsyncFiles(self._client, self.id)

    @property
    def ports(self) -> AsyncPorts:
        """Return what reaches the TCP ports that its programs listen on."""
        return AsyncPorts(self._client, self.id)

    @classmethod
    async def connect(
        cls,
        sandbox_id: str,
        *,
        client: AsyncSandboxAPI | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Self:
        """Return a sandbox that was started before, once the orchestrator says that it is there.

        Args:
            sandbox_id: ID of the sandbox.
            client: Performs the calls, and is not closed; None for one of the sandbox's own.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        sandbox = await cls._over(client, sandbox_id)
        try:
            await sandbox.status(timeout=timeout)
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    async def stop(self, *, cleanup: bool = True, timeout: float | NotGiven | None = NOT_GIVEN) -> None:
        """Stop it, end all of its processes and remove what it held; its ID is unknown afterwards.

        Args:
            cleanup: False ends the processes of the sandbox but keeps what it holds, to be looked at, until
                it is stopped again.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        try:
            await self._client.stop_sandbox(self.id, cleanup=cleanup, timeout=timeout)
        except SandboxNotFoundError:
            await self.close()
            raise
        if cleanup:
            await self.close()

    stop_sandbox = stop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        except SandboxNotFoundError:
            pass
        except SandboxError as error:
            if exc is None:
                raise
            # What went wrong inside the block matters more.
            exc.add_note(f"the sandbox could not be stopped: {error}")
        finally:
            await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self._client!r})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, [("id", self.id), ("client", repr(self._client))])

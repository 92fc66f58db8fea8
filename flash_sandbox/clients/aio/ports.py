"""The ports of a sandbox, as an object."""

from __future__ import annotations

from time import monotonic
from typing import Final

from ...errors import PortClosedError, SandboxTimeoutError
from ...options import seconds_of
from ..async_forwarding import AsyncForward
from ..delegation import Delegate, of_sandbox
from .api import AsyncSandboxAPI

__all__ = ["AsyncPorts"]

_POLL_SECONDS: Final = 0.05


class AsyncPorts(Delegate):
    """The TCP ports of one sandbox: `AsyncSandbox.ports`."""

    _client: AsyncSandboxAPI
    _ids: tuple[str]

    list = of_sandbox(AsyncSandboxAPI.list_ports)
    url = of_sandbox(AsyncSandboxAPI.get_port_url)
    connect = of_sandbox(AsyncSandboxAPI.connect_port)

    async def wait(self, port: int, *, timeout: float = 30.0) -> None:
        """Return once a program in the sandbox listens on a port.

        Args:
            port: TCP port on the loopback interface of the sandbox, 1 to 65535.
            timeout: Seconds to wait for that.

        Raises:
            SandboxTimeoutError: None does by then.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        import asyncio

        end = monotonic() + seconds_of("timeout", timeout)
        while True:
            try:
                await (await self.connect(port)).close()
                return
            except PortClosedError as error:
                if monotonic() >= end:
                    raise SandboxTimeoutError(
                        f"nothing listens after {timeout:g} s: {error.detail}"
                    ) from error
            await asyncio.sleep(_POLL_SECONDS)

    async def forward(self, port: int, local_port: int = 0, *, host: str = "127.0.0.1") -> AsyncForward:
        """Listen on this machine, and carry each connection to a port of the sandbox, until it is closed.

        Args:
            port: TCP port on the loopback interface of the sandbox, 1 to 65535.
            local_port: Port of this machine to listen on, 1 to 65535; 0 for any that is free.
            host: Address of this machine to listen on. Whoever can connect to it reaches the port.

        Raises:
            InvalidArgumentError: A port is out of range.
            OSError: It cannot listen there.
        """
        forward = AsyncForward(self._client, *self._ids, port, local_port, host)
        await forward.open()
        return forward

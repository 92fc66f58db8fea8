"""``/mcp``: sandboxes as tools of the Model Context Protocol, where the extra ``mcp`` is installed.

The tools are a client of this orchestrator like any other: what they do passes its front door once more.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from typing import TYPE_CHECKING, Final

from starlette.types import Receive, Scope, Send

from ...errors import Reason, UnavailableError, error_for

if TYPE_CHECKING:
    from ...clients.aio.api import AsyncSandboxAPI
    from ...integrations.mcp import StreamableHTTP

__all__ = ["MCPDoor"]

_CLOSE_SECONDS: Final = 10.0


class MCPDoor:
    """The application at ``/mcp``. It asks for no key: who calls it was checked before.

    Args:
        address: Address of this orchestrator's HTTP front door, as this machine reaches it.
        api_key: Its key; None for none.
    """

    def __init__(self, address: str, api_key: str | None) -> None:
        self._address = address
        self._api_key = api_key
        self._client: AsyncSandboxAPI | None = None
        self._serving: StreamableHTTP | None = None
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotFoundError: The extra is not installed.
            UnavailableError: The orchestrator is shutting down.
        """
        # The first one loads the SDK, which takes a second.
        async with self._lock:
            serving = self._serving or await self._begin()
        await serving(scope, receive, send)

    async def _begin(self) -> StreamableHTTP:
        if self._is_closed:
            raise UnavailableError("the orchestrator is shutting down")
        if importlib.util.find_spec("mcp") is None:
            raise error_for(
                Reason.NOT_FOUND, "/mcp needs the extra mcp here: pip install 'flash-sandbox[mcp]'"
            )
        integration = await asyncio.to_thread(importlib.import_module, "flash_sandbox.integrations.mcp")
        from ...clients.aio.client import AsyncHTTPClient

        self._client = AsyncHTTPClient(address=self._address, api_key=self._api_key)
        serving: StreamableHTTP = integration.StreamableHTTP(self._client)
        await serving.start()
        self._serving = serving
        return serving

    async def close(self) -> None:
        """End all sessions, and the sandboxes that end with them. The front door must be open for that."""
        async with self._lock:
            self._is_closed = True
            serving, self._serving = self._serving, None
        if serving is not None and self._client is not None:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await serving.close()
            except TimeoutError:
                pass
            await self._client.close()

"""The sandboxes of one MCP session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from mcp.server.mcpserver import Context

from ...clients.aio.api import AsyncSandboxAPI
from ...errors import NotFoundError, SandboxError

__all__ = ["PATIENCE_SECONDS", "Session", "SessionOf"]

PATIENCE_SECONDS: Final = 600.0
"""What a start, a snapshot or an end may take: an image may have to be pulled, or much to be written."""

_LOGGER: Final = logging.getLogger("flash_sandbox.integrations.mcp")


class Session:
    """Sandboxes that end with an MCP session.

    Args:
        client: Performs the calls; it is not closed.
    """

    def __init__(self, client: AsyncSandboxAPI) -> None:
        self._client = client
        self._own: set[str] = set()
        self._has_ended = False

    async def adopt(self, sandbox_id: str) -> None:
        """Have a sandbox end with the session; at once, where that has ended already."""
        self._own.add(sandbox_id)
        if self._has_ended:
            await self.end()

    def forget(self, sandbox_id: str) -> None:
        """Do nothing about a sandbox at the end."""
        self._own.discard(sandbox_id)

    async def end(self) -> None:
        """Stop the sandboxes. Idempotent."""
        self._has_ended = True
        own, self._own = self._own, set()
        await asyncio.gather(*map(self._stop, own))

    async def _stop(self, sandbox_id: str) -> None:
        try:
            await self._client.stop_sandbox(sandbox_id, timeout=PATIENCE_SECONDS)
        except NotFoundError:
            pass
        except SandboxError as error:
            _LOGGER.warning("the sandbox %s did not end with its MCP session: %s", sandbox_id, error)


SessionOf = Callable[[Context[Any, Any]], Session | None]
"""Returns the session that a call belongs to; None where the protocol has none."""

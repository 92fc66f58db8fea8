"""``mcp``: sandboxes as tools for an agent, by standard input and output."""

from __future__ import annotations

import asyncio
from typing import Final

from .connection import Connection, Failure, complain, reporting
from .options import Address, ApiKey, Transport

__all__ = ["serve_mcp"]

_EXTRA: Final = "pip install 'flash-sandbox[mcp]'"


def serve_mcp(transport: Transport = None, address: Address = "", api_key: ApiKey = None) -> None:
    """Give an agent sandboxes as tools: a server of the Model Context Protocol by standard input and output.

    Agents start it themselves. Its sandboxes end with it, unless they were started to be kept. Where no
    orchestrator is named and none answers on this machine, one is started for as long as it runs.
    """
    with reporting("mcp"):
        connection = Connection(transport, address, api_key).or_own(told=lambda why: complain("mcp", why))
        asyncio.run(_serve(connection))


async def _serve(connection: Connection) -> None:
    try:
        from ..integrations.mcp import serve_stdio
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise Failure(f"{missing} is not installed: {_EXTRA}") from None
    async with connection.async_client() as client:
        await serve_stdio(client)

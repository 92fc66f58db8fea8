"""The MCP SDK's own client, over both transports and in both eras of the protocol."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from flash_sandbox import AsyncHTTPClient
from flash_sandbox.integrations.mcp import StreamableHTTP

FSB_MCP: Final = ("-W", "error", "-m", "flash_sandbox.cli", "mcp")

KINDS: Final = ("stdio", "stdio-legacy", "http", "http-legacy")
"""Over which transport; a legacy client begins with a handshake, as all did before protocol 2026-07-28."""

SESSIONS: Final = ("stdio", "stdio-legacy", "http-legacy")
"""Those that have a session."""


def stdio(
    address: str, program: tuple[str, ...] = FSB_MCP, variables: dict[str, str] | None = None
) -> StdioServerParameters:
    """Return how ``fsb mcp`` is started for an orchestrator."""
    environment = os.environ | {"FLASH_SANDBOX_ADDR": address} | (variables or {})
    return StdioServerParameters(command=sys.executable, args=list(program), env=environment)


@asynccontextmanager
async def served(address: str, *, idle_seconds: float = 1800) -> AsyncIterator[str]:
    """Serve the tools for an orchestrator over HTTP; give their URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with AsyncHTTPClient(address=address, timeout=None) as client:
            tools = StreamableHTTP(client, idle_seconds=idle_seconds)
            await tools.start()
            server = uvicorn.Server(uvicorn.Config(tools, lifespan="off", log_config=None))
            serving = asyncio.create_task(server.serve([sock]))
            try:
                yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
            finally:
                await tools.close()
                server.should_exit = True
                await serving


@asynccontextmanager
async def connected(kind: str, address: str, *, url: str = "", api_key: str = "") -> AsyncIterator[Client]:
    """Connect to ``fsb mcp`` for an orchestrator, or to its ``/mcp``."""
    mode = "legacy" if kind.endswith("-legacy") else "auto"
    if kind.startswith("stdio"):
        async with Client(stdio(address), mode=mode) as client:
            yield client
        return
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(60)) as http,
        Client(streamable_http_client(url or f"{address}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def answer(client: Client, tool: str, **arguments: Any) -> Any:
    """Return what a tool answers; fail where it fails."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    content = result.structured_content
    assert content is not None
    return content["result"] if content.keys() == {"result"} else content


async def complaint(client: Client, tool: str, **arguments: Any) -> str:
    """Return what a tool says that fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    (said,) = result.content
    return str(said.text)  # type: ignore[union-attr]

"""The configurations that the documentation gives start the MCP server, and its table names every tool."""

from __future__ import annotations

import json
import os
import re
import sysconfig
from typing import Any

import httpx2
import pages
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from flash_sandbox.orchestrator import Orchestrator, running_orchestrator

PAGE = "how-to/mcp.md"
KEY = "the-key"
SERVERS = [
    (block.line, server)
    for block in pages.blocks(PAGE)
    if block.kind == "json"
    for kind in ("mcpServers", "servers")
    for server in json.loads(block.text).get(kind, {}).values()
]


async def tools_of(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


def test_each_of_four_applications_has_one() -> None:
    headings = re.findall(r"^### (.*)$", (pages.DOCS / PAGE).read_text(), re.MULTILINE)
    assert headings == ["Claude Desktop", "Claude Code", "Cursor", "VS Code"]
    assert len(SERVERS) == 7
    # Claude Desktop's file takes commands alone.
    assert sum("url" in server for _, server in SERVERS) == 3


@pytest.mark.parametrize(("line", "server"), [each for each in SERVERS if "url" not in each[1]])
async def test_a_command_starts_it(line: int, server: dict[str, Any], orchestrator: Orchestrator) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environment = os.environ | {"FLASH_SANDBOX_ADDR": orchestrator.http_address, "PATH": path}
    assert server.keys() <= {"type", "command", "args"}
    given = StdioServerParameters(command=server["command"], args=server["args"], env=environment)
    async with Client(given) as client:
        assert "create_sandbox" in await tools_of(client)


@pytest.mark.parametrize(("line", "server"), [each for each in SERVERS if "url" in each[1]])
async def test_an_address_is_that_of_it(line: int, server: dict[str, Any]) -> None:
    with running_orchestrator(limits="best-effort", api_key=KEY) as running:
        url = server["url"].replace("http://localhost:8080", running.http_address)
        headers = {name: re.sub(r"\$\{.*\}", KEY, value) for name, value in server["headers"].items()}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            assert "create_sandbox" in await tools_of(client)


async def test_the_table_names_every_tool(orchestrator: Orchestrator) -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", (pages.DOCS / PAGE).read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    async with Client(f"{orchestrator.http_address}/mcp") as client:
        assert named == await tools_of(client)

"""What the MCP server shows of output and says of failures, and that nobody else loads its SDK."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.clients.aio.client import AsyncHTTPClient
from flash_sandbox.errors.table import TABLE
from flash_sandbox.integrations.mcp import new_server
from flash_sandbox.integrations.mcp.failures import NEXT_STEPS
from flash_sandbox.integrations.mcp.output import Excerpt


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20))
def test_an_excerpt_is_the_beginning_and_the_end(pieces: list[bytes], half: int) -> None:
    excerpt = Excerpt(2 * half)
    for piece in pieces:
        excerpt.add(piece.replace(b"[", b"("))
    whole = b"".join(pieces).replace(b"[", b"(").decode("latin-1")
    shown = excerpt.text()
    if len(whole) <= 2 * half:
        assert excerpt.left_out == 0
        assert "[" not in shown
    else:
        assert excerpt.left_out == len(whole) - 2 * half
        assert f"[... {excerpt.left_out} bytes left out ...]" in shown


@pytest.mark.parametrize("sizes", [[10], [10, 10], [1] * 100, [3, 1000], [1000, 3], [8], [16], [17]])
def test_an_excerpt_has_the_right_bytes(sizes: list[int]) -> None:
    whole = "".join(chr(ord("a") + number % 26) for number in range(sum(sizes)))
    excerpt = Excerpt(16)
    rest = whole
    for size in sizes:
        excerpt.add(rest[:size].encode())
        rest = rest[size:]
    if len(whole) <= 16:
        assert excerpt.text() == whole
    else:
        cut = len(whole) - 16
        assert excerpt.text() == f"{whole[:8]}\n[... {cut} bytes left out ...]\n{whole[-8:]}"
    assert whole.endswith(excerpt.last_line())


def test_every_reason_has_a_next_step() -> None:
    assert NEXT_STEPS.keys() == {row.reason for row in TABLE}
    for step in NEXT_STEPS.values():
        assert re.fullmatch(r"[A-Z].*\.", step)


async def test_the_steps_name_tools_that_there_are() -> None:
    async with AsyncHTTPClient() as client:
        tools = {tool.name for tool in await new_server(client, lambda context: None).list_tools()}
    named = set(re.findall(r"\b[a-z]+_[a-z]+\b", " ".join(NEXT_STEPS.values()))) - {"timeout_seconds"}
    assert named
    assert named <= tools


async def test_a_server_leaves_the_log_of_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    async with AsyncHTTPClient() as client:
        new_server(client, lambda context: None)
    assert (root.handlers, root.level) == ([], level)


def test_nobody_else_loads_the_sdk() -> None:
    program = (
        "import sys\n"
        "import flash_sandbox, flash_sandbox.cli, flash_sandbox.orchestrator\n"
        "print([name for name in ('mcp', 'mcp_types', 'pydantic', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

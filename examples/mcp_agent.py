"""An agent that has sandboxes as its tools, by MCP: it repairs a program until its test passes.

`work` is the loop of any such agent: the model sees the tools and what they answered, and says what to call.
The model here needs no key: it plays its part from a script. Put one that thinks in its place.

    python examples/mcp_agent.py
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.types import Tool

TASK = "The test of /work/prices.py fails. Repair the program, not the test."
PROGRAM = "def total(prices):\n    return sum(prices[1:])\n"
TEST = (
    "import unittest\n"
    "from prices import total\n\n\n"
    "class TotalTest(unittest.TestCase):\n"
    "    def test_total(self):\n"
    "        self.assertEqual(total([1, 2, 3]), 6)\n"
)


@dataclass(frozen=True)
class Call:
    """A tool that the model wants called."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


Model = Callable[[str, Sequence[Tool], Sequence[Any]], Call | str]
"""Takes the task, the tools and all answers so far; returns the next call, or its last word."""


async def work(client: Client, model: Model, task: str) -> str:
    """Have a model do a task by the tools of an MCP server, and return what it says at the end."""
    tools = (await client.list_tools()).tools
    answers: list[Any] = []
    while isinstance(move := model(task, tools, answers), Call):
        result = await client.call_tool(move.tool, move.arguments)
        # A failure is for the model to read, too.
        answers.append(result.structured_content if not result.is_error else str(result.content))
        print(f"{move.tool}: {answers[-1]}")
    return move


def scripted(task: str, tools: Sequence[Tool], answers: Sequence[Any]) -> Call | str:
    """Play a model that repairs the program."""
    if not answers:
        return Call("create_sandbox", {"memory_mb": 256})
    sandbox = {"sandbox_id": answers[0]["id"]}
    test = Call("run_command", sandbox | {"command": "python3 -m unittest", "cwd": "/work"})
    moves = [
        Call("write_file", sandbox | {"path": "/work/prices.py", "content": PROGRAM}),
        Call("write_file", sandbox | {"path": "/work/test_prices.py", "content": TEST}),
        test,
        Call("read_file", sandbox | {"path": "/work/prices.py"}),
        Call("edit_file", sandbox | {"path": "/work/prices.py", "old": "prices[1:]", "new": "prices"}),
        test,
        Call("stop_sandbox", sandbox),
    ]
    if len(answers) <= len(moves):
        return moves[len(answers) - 1]
    before, after = (answer["exit_code"] for answer in (answers[3], answers[6]))
    return f"The test ended with {before} before and {after} after the repair."


async def main() -> None:
    """Start the MCP server as an agent does, and have the model work."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "flash_sandbox.cli", "mcp"], env=dict(os.environ)
    )
    async with Client(server) as client:
        print(await work(client, scripted, TASK))


if __name__ == "__main__":
    asyncio.run(main())

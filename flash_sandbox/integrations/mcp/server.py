"""The server, and how it speaks by standard input and output."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from ...clients.aio.api import AsyncSandboxAPI
from .command_tools import CommandTools
from .failures import told
from .file_tools import FileTools
from .sandbox_tools import SandboxTools
from .session import Session, SessionOf

__all__ = ["new_server", "serve_stdio"]

_INSTRUCTIONS: Final = (
    "Runs commands, programs and Python code in sandboxes: isolated Linux systems that can be thrown away. "
    "Call create_sandbox first and pass its id to the other tools. Sandboxes are stopped when the session "
    "ends, unless they were created with keep. Long output is cut in the middle."
)
_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS: Final = ToolAnnotations(destructive_hint=False, open_world_hint=False)
_CHANGES: Final = ToolAnnotations(destructive_hint=True, open_world_hint=False)
_SIGNALLED: Final = 128
# Whoever sends a signal does not wait for long.
_END_SECONDS: Final = 5.0


def new_server(client: AsyncSandboxAPI, session_of: SessionOf) -> MCPServer[Any]:
    """Make a server of all tools.

    Args:
        client: Performs the calls; it is not closed.
        session_of: Returns the session of a call, which the sandboxes that it starts end with.
    """
    with _own_logging():
        server = MCPServer[Any](
            "flash-sandbox",
            title="Sandboxes",
            instructions=_INSTRUCTIONS,
            version=version("flash-sandbox"),
            # The tools are always the same, so that there is nothing to tell of.
            subscriptions=False,
        )
    sandboxes = SandboxTools(client, session_of)
    commands = CommandTools(client)
    files = FileTools(client)
    for kind, tools in (
        (_ADDS, (sandboxes.create_sandbox,)),
        (_READS, (sandboxes.list_sandboxes, sandboxes.get_sandbox)),
        (_CHANGES, (sandboxes.stop_sandbox,)),
        (_ADDS, (sandboxes.fork_sandbox, sandboxes.snapshot_sandbox)),
        (_READS, (sandboxes.list_snapshots,)),
        (_CHANGES, (sandboxes.remove_snapshot,)),
        (_CHANGES, (commands.run_command, commands.run_python, commands.start_process)),
        (_READS, (commands.list_processes, commands.read_process)),
        (_CHANGES, (commands.write_process, commands.kill_process)),
        (_READS, (files.read_file, files.list_files, files.search_files)),
        (_CHANGES, (files.write_file, files.edit_file)),
    ):
        for tool in tools:
            description = inspect.getdoc(tool)
            server.add_tool(told(tool), description=description, annotations=kind)
    return server


@contextmanager
def _own_logging() -> Iterator[None]:
    """Keep the SDK from setting the log of the process up: it does so where nobody else has."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


async def serve_stdio(client: AsyncSandboxAPI) -> None:
    """Serve one client by standard input and output until it leaves; its sandboxes end then.

    SIGTERM, SIGINT and SIGHUP end the process, and its sandboxes before.

    Args:
        client: Performs the calls; it is not closed.
    """
    session = Session(client)
    loop = asyncio.get_running_loop()
    ending: set[asyncio.Task[None]] = set()

    async def end(number: int) -> None:
        try:
            async with asyncio.timeout(_END_SECONDS):
                await session.end()
        finally:
            # A thread reads standard input, which no signal interrupts.
            os._exit(_SIGNALLED + number)

    def begin_end(number: int) -> None:
        ending.add(loop.create_task(end(number)))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, begin_end, number)
    try:
        await new_server(client, lambda context: session).run_stdio_async()
    finally:
        await session.end()

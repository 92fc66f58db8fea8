"""Tools that run commands and programs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from ...clients.aio.api import AsyncSandboxAPI
from .arguments import Command, Env, MaxOutputBytes, ProcessId, SandboxId, TimeoutSeconds, Workdir
from .output import MAX_OUTPUT_BYTES, CommandOutput, Excerpt, Printed, ending, left_out, reporting

__all__ = ["CommandTools"]


class ProcessOutput(CommandOutput):
    """What a program has printed since it was read last, and whether it runs."""

    running: bool = Field(description="Whether it runs.")
    next_offset: int = Field(description="What read_process takes as `offset` to go on from here.")
    dropped: int = Field(0, description="Bytes from `offset` on that are not kept any more.")


class ProcessView(BaseModel):
    """A program that was started by start_process."""

    process_id: str
    command: list[str]
    running: bool
    exit_code: int | None = Field(description="Its exit status; None while it runs.")


class CommandTools:
    """The tools.

    Args:
        client: Performs the calls.
    """

    def __init__(self, client: AsyncSandboxAPI) -> None:
        self._client = client

    async def run_command(
        self,
        context: Context[Any, Any],
        sandbox_id: SandboxId,
        command: Command,
        cwd: Workdir = None,
        env: Env = None,
        stdin: Annotated[str | None, Field(description="What it reads from standard input.")] = None,
        timeout_seconds: TimeoutSeconds = 60.0,
        max_output_bytes: MaxOutputBytes = MAX_OUTPUT_BYTES,
    ) -> CommandOutput:
        """Run a command in a sandbox, wait for its end, and return what it printed and how it ended.

        Of long output the beginning and the end are returned: write it to a file and read that in parts to
        see all. Use start_process for what goes on by itself, such as a server.
        """
        printed = Printed(max_output_bytes)
        async with reporting(context, printed.last_line):
            stream = await self._client.exec_stream(
                sandbox_id, command, cwd=cwd, env=env, stdin=stdin, limit=timeout_seconds
            )
            await printed.read(stream)
        return CommandOutput(**printed.fields())

    async def run_python(
        self,
        context: Context[Any, Any],
        sandbox_id: SandboxId,
        code: Annotated[str, Field(description="A Python program. What it prints is returned.")],
        timeout_seconds: TimeoutSeconds = 60.0,
        max_output_bytes: MaxOutputBytes = MAX_OUTPUT_BYTES,
    ) -> CommandOutput:
        """Run Python code by the interpreter in a sandbox, and return what it printed.

        Each call has an interpreter of its own, so that variables do not last; files do.
        """
        async with reporting(context):
            result = await self._client.run_python(sandbox_id, code, timeout=timeout_seconds)
        fields = ending(result)
        for name in ("stdout", "stderr"):
            excerpt = Excerpt(max_output_bytes)
            excerpt.add(getattr(result, f"{name}_bytes"))
            fields[name] = excerpt.text()
            if dropped := getattr(result, f"{name}_dropped"):
                # The orchestrator keeps the end.
                fields[name] = left_out(dropped) + fields[name]
            fields[f"{name}_left_out"] = excerpt.left_out + dropped
        return CommandOutput(**fields)

    async def start_process(
        self,
        sandbox_id: SandboxId,
        command: Command,
        cwd: Workdir = None,
        env: Env = None,
        terminal: Annotated[
            bool, Field(description="Whether it gets a terminal, as interactive programs need.")
        ] = False,
    ) -> ProcessView:
        """Start a program that goes on by itself, such as a server or a shell to talk to; return its ID.

        read_process returns what it prints, write_process sends it input, kill_process ends it. It ends with
        the sandbox. The last MiB of its output is kept.
        """
        process_id = await self._client.start_process(
            sandbox_id, command, cwd=cwd, env=env, keep_stdin=True, tty=terminal
        )
        words = [command] if isinstance(command, str) else command
        return ProcessView(process_id=process_id, command=words, running=True, exit_code=None)

    async def list_processes(self, sandbox_id: SandboxId) -> list[ProcessView]:
        """List the programs that start_process has started in a sandbox, the oldest first."""
        return [
            ProcessView(
                process_id=info.process_id,
                command=list(info.command),
                running=info.running,
                exit_code=None if info.running else info.exit_code,
            )
            for info in await self._client.list_processes(sandbox_id)
            if not info.attached
        ]

    async def read_process(
        self,
        context: Context[Any, Any],
        sandbox_id: SandboxId,
        process_id: ProcessId,
        offset: Annotated[
            int,
            Field(ge=0, description="Where to begin: next_offset of the read before."),
        ] = 0,
        wait_seconds: Annotated[
            float,
            Field(ge=0, le=3600, description="Seconds to follow it, at most until it ends. 0: do not wait."),
        ] = 0.0,
        max_output_bytes: MaxOutputBytes = MAX_OUTPUT_BYTES,
    ) -> ProcessOutput:
        """Return what a program has printed, and whether it runs; or follow it for a while."""
        printed = Printed(max_output_bytes, offset)
        frames = await self._client.follow_process(
            sandbox_id, process_id, offset=offset, follow=wait_seconds > 0
        )
        async with reporting(context, printed.last_line):
            try:
                async with asyncio.timeout(wait_seconds or None):
                    await printed.read(frames)
            except TimeoutError:
                pass
        return ProcessOutput(
            **printed.fields(),
            running=printed.exit is None,
            next_offset=printed.offset,
            dropped=printed.dropped,
        )

    async def write_process(
        self,
        sandbox_id: SandboxId,
        process_id: ProcessId,
        text: Annotated[str, Field(description="What it is to read. A line ends with a newline.")] = "",
        end: Annotated[bool, Field(description="Whether its input ends with that.")] = False,
    ) -> str:
        """Send input to a program."""
        await self._client.write_stdin(sandbox_id, process_id, text, end=end)
        return f"sent {len(text)} characters"

    async def kill_process(
        self,
        sandbox_id: SandboxId,
        process_id: ProcessId,
        signal: Annotated[
            str,
            Field(description="KILL ends it with all that it started; others are sent to it."),
        ] = "KILL",
    ) -> str:
        """End a program, or send it a signal."""
        await self._client.signal_process(sandbox_id, process_id, signal)
        return f"sent {signal}"

"""Tools that read, write, edit, list and search files."""

from __future__ import annotations

import asyncio
import posixpath
from typing import Annotated, Any, Final
from weakref import WeakValueDictionary

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

from ...clients.aio.api import AsyncSandboxAPI
from .arguments import MaxOutputBytes, Path, SandboxId
from .output import MAX_OUTPUT_BYTES, Excerpt, Printed, reporting

__all__ = ["FileTools"]

_MOST_ENTRIES: Final = 500
_SEARCH_SECONDS: Final = 60.0
# What the programs of the image end with where there is no such program (POSIX shell, 2.8.2).
_NOT_FOUND: Final = 127


class Entry(BaseModel):
    """What is in a directory."""

    name: str
    type: str = Field(description="file, directory, symlink, fifo, socket, char_device or block_device")
    size: int = Field(description="Size in bytes.")


class Listing(BaseModel):
    """What a directory holds."""

    entries: list[Entry]
    left_out: int = Field(description="How many more there are.")


class FileTools:
    """The tools.

    Args:
        client: Performs the calls.
    """

    def __init__(self, client: AsyncSandboxAPI) -> None:
        self._client = client
        self._edits: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def read_file(
        self,
        sandbox_id: SandboxId,
        path: Path,
        first_line: Annotated[int, Field(ge=1, description="Line to begin with, counted from 1.")] = 1,
        max_lines: Annotated[int, Field(ge=1, description="Most lines to return.")] = 2000,
        max_output_bytes: MaxOutputBytes = MAX_OUTPUT_BYTES,
    ) -> str:
        """Return the text of a file, or of some of its lines. A line at the end counts what was left out."""
        lines = _lines(await self._text(sandbox_id, path))
        begin = first_line - 1
        shown: list[str] = []
        room = max_output_bytes
        for line in lines[begin : begin + max_lines]:
            room -= len(line.encode())
            if room < 0:
                break
            shown.append(line)
        rest = len(lines) - begin - len(shown)
        if not shown and rest > 0:
            excerpt = Excerpt(max_output_bytes)
            excerpt.add(lines[begin].encode())
            shown, rest = [excerpt.text()], rest - 1
        if rest > 0:
            if not shown[-1].endswith("\n"):
                shown.append("\n")
            shown.append(f"[... {rest} more lines, from first_line={len(lines) - rest + 1} on]\n")
        return "".join(shown)

    async def write_file(
        self,
        sandbox_id: SandboxId,
        path: Path,
        content: Annotated[str, Field(description="What the file is to hold.")],
    ) -> str:
        """Write a file; one that is there is replaced. Directories that the path lacks are made."""
        await self._client.write_file(sandbox_id, path, content, parents=True)
        return f"wrote {len(content.encode())} bytes to {path}"

    async def edit_file(
        self,
        sandbox_id: SandboxId,
        path: Path,
        old: Annotated[
            str, Field(min_length=1, description="Text to replace, exactly as the file has it, once.")
        ],
        new: Annotated[str, Field(description="What comes in its place.")],
        replace_all: Annotated[bool, Field(description="Whether to replace it wherever it is.")] = False,
    ) -> str:
        """Replace a text in a file, which must be in it exactly once unless replace_all is given."""
        key = (sandbox_id, posixpath.normpath(path))
        async with self._edits.setdefault(key, asyncio.Lock()):
            text = await self._text(sandbox_id, path)
            found = text.count(old)
            if not found:
                raise ToolError(f"{path} does not have that text. Next: read_file, and copy it exactly.")
            if found > 1 and not replace_all:
                raise ToolError(
                    f"{path} has that text {found} times. Next: give more of the text around it, "
                    "or replace_all."
                )
            await self._client.write_file(sandbox_id, path, text.replace(old, new))
        return f"replaced {found} in {path}"

    async def list_files(self, sandbox_id: SandboxId, path: Path) -> Listing:
        """List what a directory holds."""
        found = await self._client.list_dir(sandbox_id, path)
        shown = [Entry(name=one.name, type=one.type, size=one.size) for one in found[:_MOST_ENTRIES]]
        return Listing(entries=shown, left_out=len(found) - len(shown))

    async def search_files(
        self,
        context: Context[Any, Any],
        sandbox_id: SandboxId,
        path: Path,
        pattern: Annotated[
            str | None,
            Field(description="Extended regular expression that lines match. Default: find files by name."),
        ] = None,
        name: Annotated[str, Field(description="Pattern of the names of files, such as *.py.")] = "*",
        max_output_bytes: MaxOutputBytes = MAX_OUTPUT_BYTES,
    ) -> str:
        """Find files below a directory by name, or the lines in them that match: path:line number:line.

        Directories named .git are left out. It needs the programs find and grep in the sandbox.
        """
        if not path.startswith("/"):
            raise ToolError(f"{path} is not absolute. Next: give the path from the root on.")
        command = ["find", path, "-name", ".git", "-prune", "-o", "-name", name]
        if pattern is None:
            command.append("-print")
        else:
            command += ["-type", "f", "-exec", "grep", "-nHIE", "-e", pattern, "{}", "+"]
        printed = Printed(max_output_bytes)
        async with reporting(context, printed.last_line):
            frames = await self._client.exec_stream(sandbox_id, command, limit=_SEARCH_SECONDS)
            await printed.read(frames)
        told = printed.fields()
        if told.get("exit_code") == _NOT_FOUND:
            raise ToolError("the sandbox has no program find. Next: list_files and read_file.")
        if told.get("timed_out"):
            told["stdout"] += f"\n[... ended after {_SEARCH_SECONDS:g} s: search a smaller directory]\n"
        # What cannot be read is told; that nothing was found is no failure.
        return f"{told['stdout']}{told['stderr']}" or "nothing was found"

    async def _text(self, sandbox_id: str, path: str) -> str:
        content = await self._client.read_file(sandbox_id, path)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ToolError(
                f"{path} is no text in UTF-8, but {len(content)} bytes. "
                "Next: look at it by run_command, such as with file, od or strings."
            ) from None


def _lines(text: str) -> list[str]:
    # As grep counts them.
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]

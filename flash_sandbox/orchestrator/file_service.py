"""The service core's operations on the files in a sandbox: commands that run in it, see `file_commands`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from ..errors import ConflictError, PayloadTooLargeError, Reason, SandboxTimeoutError
from ..models import (
    DownloadArchiveChunk,
    DownloadArchiveRequest,
    ListDirRequest,
    ListDirResult,
    MakeDirRequest,
    MakeDirResult,
    MoveRequest,
    MoveResult,
    ReadFileRequest,
    ReadFileResult,
    RemoveRequest,
    RemoveResult,
    StatRequest,
    StatResult,
    UploadArchiveRequest,
    UploadArchiveResult,
    WriteFileRequest,
    WriteFileResult,
)
from ..models.checks import MAX_MESSAGE_BYTES
from . import file_commands as commands
from .completion import completed
from .executions import Execution
from .file_records import directory_records, file_records
from .registry import Registry, State
from .runtimes.base import Ended, Happening, Program
from .sandboxing.output import BoundedBytes

__all__ = ["FileOperations"]

_T = TypeVar("_T")

_SECONDS: Final = 10.0
"""What is done to one file takes no longer unless it hangs: on a pipe that took the place of a file, say."""

_TREE_SECONDS: Final = 60.0
"""What may be done to many files takes longer."""

_STALL_SECONDS: Final = 30.0
"""After so long without a byte an archive is given up."""

_DEFAULT_DIRECTORY_MODE: Final = 0o755
_SAID_BYTES: Final = 64 * 1024
# A record of a list becomes up to six times as long in JSON, and a client takes 128 MiB.
_LIST_BYTES: Final = MAX_MESSAGE_BYTES
# What is held back of an archive: one that fails sooner is told as an error of its own on either transport.
_HELD_CHUNKS: Final = 4


class _Done(NamedTuple):
    """What a command printed, and how it ended."""

    stdout: bytes
    stderr: bytes
    end: Ended


class FileOperations:
    """Use the files in sandboxes; a part of `SandboxService`."""

    registry: Registry

    async def read_file(self, request: ReadFileRequest) -> ReadFileResult:
        """Return what a file holds."""
        path = _path(request.path)
        done = await self._perform(
            request.id,
            path,
            commands.script(commands.READ, path),
            limit=MAX_MESSAGE_BYTES,
            too_large=f"is larger than {MAX_MESSAGE_BYTES} bytes: download it",
        )
        return ReadFileResult(done.stdout)

    async def write_file(self, request: WriteFileRequest) -> WriteFileResult:
        """Write a file, at once. A caller that goes away meanwhile does not leave it half-written."""
        path = _path(request.path)
        directory, _, name = path.rpartition("/")
        program = commands.script(
            commands.WRITE,
            directory or "/",
            name or ".",
            f".flash-sandbox-{secrets.token_hex(8)}",
            f"{request.mode:o}" if request.mode else "",
            str(len(request.content)),
            "parents" if request.parents else "",
        )
        writing = self._perform(request.id, path, program, stdin=request.content)
        await completed(writing)
        return WriteFileResult()

    async def stat(self, request: StatRequest) -> StatResult:
        """Tell what is at a path; of a link the link itself."""
        path = _path(request.path)
        done = await self._perform(request.id, path, commands.script(commands.STAT, path))
        found = file_records(done.stdout)
        if len(found) != 1:
            raise ConflictError(f"{path}: it was changed meanwhile", reason=Reason.FILE_CONFLICT)
        return StatResult(replace(found[0], name=request.path))

    async def list_dir(self, request: ListDirRequest) -> ListDirResult:
        """Tell what is in a directory, by name."""
        path = _path(request.path)
        done = await self._run(
            request.id,
            path,
            commands.script(commands.LIST, path),
            seconds=_TREE_SECONDS,
            limit=_LIST_BYTES,
            too_large="holds more files than one message can tell of",
        )
        if not commands.only_vanished(done.end, done.stderr):
            raise commands.failure(path, done.end, done.stderr)
        return directory_records(done.stdout)

    async def make_dir(self, request: MakeDirRequest) -> MakeDirResult:
        """Make a directory."""
        path = _path(request.path)
        mode = f"{request.mode or _DEFAULT_DIRECTORY_MODE:o}"
        parents = "parents" if request.parents else ""
        await self._perform(request.id, path, commands.script(commands.MAKE_DIR, path, mode, parents))
        return MakeDirResult()

    async def remove(self, request: RemoveRequest) -> RemoveResult:
        """Remove a file, a link or a directory."""
        path = _path(request.path)
        if path == "/":
            raise ConflictError("/: the root directory cannot be removed", reason=Reason.FILE_CONFLICT)
        recursive = "recursive" if request.recursive else ""
        program = commands.script(commands.REMOVE, path, recursive)
        await self._perform(request.id, path, program, seconds=_TREE_SECONDS)
        return RemoveResult()

    async def move(self, request: MoveRequest) -> MoveResult:
        """Give a file, a link or a directory another path; replace a file that is there, but no directory."""
        source, target = _path(request.source), _path(request.target)
        program = commands.script(commands.MOVE, source, target)
        await self._perform(request.id, f"{source} to {target}", program, seconds=_TREE_SECONDS)
        return MoveResult()

    async def upload_archive(
        self, request: UploadArchiveRequest, chunks: AsyncIterator[bytes]
    ) -> UploadArchiveResult:
        """Unpack a tar archive into a directory, as it comes."""
        path = _path(request.path)
        execution = self._execution(request.id, commands.script(commands.UPLOAD, path), keep_stdin=True)
        unpacking = asyncio.create_task(_outcome(execution, path))
        try:
            # Where the command has ended, its own error is the one to tell.
            with suppress(ConflictError):
                async for chunk in chunks:
                    await _in_time(execution.write(chunk), path)
                await _in_time(execution.write(b"", end=True), path)
            done = await _in_time(asyncio.shield(unpacking), path)
        finally:
            unpacking.cancel()
            await asyncio.wait({unpacking})
            if not unpacking.cancelled():
                # Taken note of: asyncio complains of an error that nobody has looked at.
                unpacking.exception()
        if done.end.exit_code != 0:
            raise commands.failure(path, done.end, done.stderr)
        return UploadArchiveResult()

    async def download_archive(self, request: DownloadArchiveRequest) -> AsyncGenerator[DownloadArchiveChunk]:
        """Pack a file or directory into a tar archive, as it is taken."""
        path = _path(request.path)
        execution = self._execution(request.id, commands.script(commands.DOWNLOAD, path))
        held: list[DownloadArchiveChunk] | None = []
        stderr = BoundedBytes(_SAID_BYTES)
        async with aclosing(execution.happenings()) as happenings:
            while (happening := await _in_time(_next(happenings), path)) is not None:
                if isinstance(happening, Ended):
                    if not commands.only_changed(happening, stderr.kept):
                        raise commands.failure(path, happening, stderr.kept)
                elif happening.stream == "stderr":
                    stderr.add(happening.data)
                elif held is None:
                    yield DownloadArchiveChunk(happening.data)
                else:
                    held.append(DownloadArchiveChunk(happening.data))
                    if len(held) > _HELD_CHUNKS:
                        for chunk in held:
                            yield chunk
                        held = None
        for chunk in held or ():
            yield chunk

    async def _perform(
        self,
        sandbox_id: str,
        path: str,
        program: Program,
        *,
        stdin: bytes = b"",
        seconds: float | None = None,
        limit: int = _SAID_BYTES,
        too_large: str = "",
    ) -> _Done:
        done = await self._run(
            sandbox_id, path, program, stdin=stdin, seconds=seconds, limit=limit, too_large=too_large
        )
        if done.end.exit_code != 0:
            raise commands.failure(path, done.end, done.stderr)
        return done

    async def _run(
        self,
        sandbox_id: str,
        path: str,
        program: Program,
        *,
        stdin: bytes = b"",
        seconds: float | None,
        limit: int,
        too_large: str,
    ) -> _Done:
        seconds = seconds or _SECONDS
        execution = self._execution(sandbox_id, program, stdin=stdin, timeout=seconds)
        done = await _outcome(execution, path, limit, too_large)
        if execution.timed_out:
            raise _stalled(path, seconds)
        return done

    def _execution(
        self,
        sandbox_id: str,
        program: Program,
        *,
        stdin: bytes = b"",
        keep_stdin: bool = False,
        timeout: float | None = None,
    ) -> Execution:
        sandbox = self.registry.get(sandbox_id)
        sandbox.require(State.RUNNING)
        return Execution(sandbox, program, stdin=stdin, keep_stdin=keep_stdin, timeout=timeout)


def _path(path: str) -> str:
    """Return a path without the slashes behind it, which would have a link followed."""
    return path.rstrip("/") or "/"


async def _outcome(
    execution: Execution, path: str, limit: int = _SAID_BYTES, too_large: str = "printed too much"
) -> _Done:
    """Run a command to its end; raise PayloadTooLargeError once it has printed more than `limit` bytes."""
    stdout = bytearray()
    stderr = BoundedBytes(_SAID_BYTES)
    end = Ended(0)
    async with aclosing(execution.happenings()) as happenings:
        async for happening in happenings:
            if isinstance(happening, Ended):
                end = happening
            elif happening.stream == "stderr":
                stderr.add(happening.data)
            else:
                stdout += happening.data
                if len(stdout) > limit:
                    raise PayloadTooLargeError(f"{path}: {too_large}")
    return _Done(bytes(stdout), stderr.kept, end)


async def _next(happenings: AsyncGenerator[Happening]) -> Happening | None:
    return await anext(happenings, None)


async def _in_time(step: Awaitable[_T], path: str) -> _T:
    """Wait for a step of an archive's way, but not for ever."""
    bound = asyncio.timeout(_STALL_SECONDS)
    try:
        async with bound:
            return await step
    except TimeoutError:
        if bound.expired():
            raise _stalled(path, _STALL_SECONDS) from None
        raise


def _stalled(path: str, seconds: float) -> SandboxTimeoutError:
    return SandboxTimeoutError(f"{path}: nothing came of it for {seconds:g} s, so it was given up")

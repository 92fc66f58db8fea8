"""The service core's operations on the files in a sandbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from ...errors import SandboxFileConflictError
from ...models import (
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
from ..cancellation import completed
from ..guest import files
from ..guest.channel import Channel
from .sandboxes import Registry, State

__all__ = ["FileOperations"]

# Chunks of an archive that are held back: one that fails sooner is an error of its own on either transport.
_HELD_CHUNKS: Final = 4


class FileOperations:
    """Use the files in sandboxes; a part of `SandboxService`."""

    registry: Registry

    async def read_file(self, request: ReadFileRequest) -> ReadFileResult:
        """Return the content of a file."""
        return ReadFileResult(await files.read_file(self._channel(request.id), _path(request.path)))

    async def write_file(self, request: WriteFileRequest) -> WriteFileResult:
        """Write a file, at once. A caller that goes away meanwhile does not leave it half-written."""
        writing = files.write_file(
            self._channel(request.id),
            _path(request.path),
            request.content,
            mode=request.mode,
            parents=request.parents,
        )
        await completed(writing)
        return WriteFileResult()

    async def stat(self, request: StatRequest) -> StatResult:
        """Return what is at a path; of a link the link itself."""
        found = await files.stat(self._channel(request.id), _path(request.path))
        return StatResult(replace(found, name=request.path))

    async def list_dir(self, request: ListDirRequest) -> ListDirResult:
        """Return the entries of a directory, by name."""
        return ListDirResult(await files.list_dir(self._channel(request.id), _path(request.path)))

    async def make_dir(self, request: MakeDirRequest) -> MakeDirResult:
        """Make a directory."""
        path = _path(request.path)
        await files.make_dir(self._channel(request.id), path, mode=request.mode, parents=request.parents)
        return MakeDirResult()

    async def remove(self, request: RemoveRequest) -> RemoveResult:
        """Remove a file, a link or a directory."""
        path = _path(request.path)
        if path == "/":
            raise SandboxFileConflictError("/: the root directory cannot be removed")
        await files.remove(self._channel(request.id), path, recursive=request.recursive)
        return RemoveResult()

    async def move(self, request: MoveRequest) -> MoveResult:
        """Give a file, a link or a directory another path; replace a file that is there, but no directory."""
        await files.move(self._channel(request.id), _path(request.source), _path(request.target))
        return MoveResult()

    async def upload_archive(
        self, request: UploadArchiveRequest, chunks: AsyncIterator[bytes]
    ) -> UploadArchiveResult:
        """Unpack a tar archive into a directory, as it comes."""
        await files.unpack(self._channel(request.id), _path(request.path), chunks)
        return UploadArchiveResult()

    async def download_archive(self, request: DownloadArchiveRequest) -> AsyncGenerator[DownloadArchiveChunk]:
        """Pack a file or directory into a tar archive, as it is taken."""
        held: list[DownloadArchiveChunk] | None = []
        async with aclosing(files.pack(self._channel(request.id), _path(request.path))) as packed:
            async for data in packed:
                if held is None:
                    yield DownloadArchiveChunk(data)
                    continue
                held.append(DownloadArchiveChunk(data))
                if len(held) > _HELD_CHUNKS:
                    for chunk in held:
                        yield chunk
                    held = None
        for chunk in held or ():
            yield chunk

    def _channel(self, sandbox_id: str) -> Channel:
        sandbox = self.registry.get(sandbox_id)
        sandbox.require(State.RUNNING)
        return sandbox.guest.channel


def _path(path: str) -> str:
    """Return a path without the slashes behind it, which would have a link followed."""
    return path.rstrip("/") or "/"

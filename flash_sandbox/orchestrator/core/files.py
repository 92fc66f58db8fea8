"""The service core's operations on the files in a sandbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

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
from .base import ServiceCore
from .held_back import held_back

__all__ = ["FileOperations"]


class FileOperations(ServiceCore):
    """Use the files in sandboxes; a part of `SandboxService`."""

    async def read_file(self, request: ReadFileRequest) -> ReadFileResult:
        """Return the content of a file."""
        with await self._running(request.id) as sandbox:
            return ReadFileResult(await files.read_file(sandbox.guest.channel, _path(request.path)))

    async def write_file(self, request: WriteFileRequest) -> WriteFileResult:
        """Write a file, at once. A caller that goes away meanwhile does not leave it half-written."""
        with await self._running(request.id) as sandbox:
            writing = files.write_file(
                sandbox.guest.channel,
                _path(request.path),
                request.content,
                mode=request.mode,
                parents=request.parents,
            )
            await completed(writing)
        return WriteFileResult()

    async def stat(self, request: StatRequest) -> StatResult:
        """Return what is at a path; of a link the link itself."""
        with await self._running(request.id) as sandbox:
            found = await files.stat(sandbox.guest.channel, _path(request.path))
        return StatResult(replace(found, name=request.path))

    async def list_dir(self, request: ListDirRequest) -> ListDirResult:
        """Return the entries of a directory, by name."""
        with await self._running(request.id) as sandbox:
            return ListDirResult(await files.list_dir(sandbox.guest.channel, _path(request.path)))

    async def make_dir(self, request: MakeDirRequest) -> MakeDirResult:
        """Make a directory."""
        path = _path(request.path)
        with await self._running(request.id) as sandbox:
            await files.make_dir(sandbox.guest.channel, path, mode=request.mode, parents=request.parents)
        return MakeDirResult()

    async def remove(self, request: RemoveRequest) -> RemoveResult:
        """Remove a file, a link or a directory."""
        path = _path(request.path)
        if path == "/":
            raise SandboxFileConflictError("/: the root directory cannot be removed")
        with await self._running(request.id) as sandbox:
            await files.remove(sandbox.guest.channel, path, recursive=request.recursive)
        return RemoveResult()

    async def move(self, request: MoveRequest) -> MoveResult:
        """Give a file, a link or a directory another path; replace a file that is there, but no directory."""
        with await self._running(request.id) as sandbox:
            await files.move(sandbox.guest.channel, _path(request.source), _path(request.target))
        return MoveResult()

    async def upload_archive(
        self, request: UploadArchiveRequest, chunks: AsyncIterator[bytes]
    ) -> UploadArchiveResult:
        """Unpack a tar archive into a directory, as it comes."""
        with await self._running(request.id) as sandbox:
            await files.unpack(sandbox.guest.channel, _path(request.path), chunks)
        return UploadArchiveResult()

    async def download_archive(self, request: DownloadArchiveRequest) -> AsyncGenerator[DownloadArchiveChunk]:
        """Pack a file or directory into a tar archive, as it is taken."""
        with await self._running(request.id) as sandbox:
            packed = files.pack(sandbox.guest.channel, _path(request.path))
            async with aclosing(packed), aclosing(held_back(packed)) as chunks:
                async for data in chunks:
                    yield DownloadArchiveChunk(data)


def _path(path: str) -> str:
    """Return a path without the slashes behind it, which would have a link followed."""
    return path.rstrip("/") or "/"

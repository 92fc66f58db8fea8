"""Calls about the files in a sandbox."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ... import models, operations
from ...errors import SandboxFileConflictError, SandboxFileNotFoundError
from ...models import path_in_sandbox
from ...options import NOT_GIVEN, NotGiven, Progress
from ..bound import Bound
from ..disk import AsyncDisk
from .operation_calls import AsyncOperationCalls
from .streams import AsyncArchive, first_of

# Their libraries are loaded when they are used.
if TYPE_CHECKING:
    from ...transports.base import AsyncStream
    from ..packing import Packing

__all__ = ["AsyncFileCalls"]


class AsyncFileCalls(AsyncOperationCalls):
    """Use the files in sandboxes."""

    async def upload(
        self,
        sandbox_id: str,
        local: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Copy a file, or all that a directory holds, into a sandbox, whatever its size.

        Links are copied as links; what is neither a file, a directory nor a link is left out. What is there
        is replaced file by file. An upload that fails leaves what has been copied by then.

        Args:
            sandbox_id: ID of the sandbox.
            local: Path of the file or directory on this machine.
            path: Its path in the sandbox, absolute: that of itself, not of the directory to put it in. The
                directories that the path lacks are made.
            progress: Called now and then with the bytes of content that are sent, and those that there are.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: There is no such file or directory on this machine, or it cannot be read.
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            OutcomeUnknownError: The connection was lost; any part may have been copied.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        from ..packing import Packing

        packing = await AsyncDisk.run(Packing, local, path_in_sandbox("path", path))
        request = models.UploadArchiveRequest(sandbox_id, packing.directory)
        if not packing.is_tree:
            await self._refuse_directory(sandbox_id, path, timeout)
        await self._send(operations.UPLOAD_ARCHIVE, request, _sent(packing, progress), timeout)

    async def download(
        self,
        sandbox_id: str,
        path: str,
        local: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Copy a file, or all that a directory holds, out of a sandbox, whatever its size.

        Nothing is written but at, or below, `local`. Links are copied as links, wherever they lead; what is
        neither a file, a directory nor a link is left out, and what is there is replaced file by file. A
        download that fails leaves the files that were complete by then.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of the file or directory in the sandbox, absolute. A link is followed.
            local: Its path on this machine: that of itself, not of the directory to put it in. The
                directories that the path lacks are made.
            progress: Called now and then with the bytes of content that have come, and those that there are:
                None for a directory.
            max_bytes: Most bytes that may come, 0 to 2**63 - 1: what the files hold, and up to 1 KiB more for
                each file, directory and link; None for no bound.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: It cannot be written on this machine.
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: It is neither a file nor a directory, or here a link is in the way.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came.
            SandboxConnectionError: It broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        from ..unpacking import Unpacking

        bound = Bound(path, max_bytes)
        request = models.DownloadArchiveRequest(sandbox_id, path)
        unpacking = Unpacking(local)
        try:
            async with aclosing(self._chunks(request, bound, timeout)) as chunks:
                async for chunk in chunks:
                    await AsyncDisk.run(unpacking.feed, chunk.data)
                    if progress is not None:
                        progress(unpacking.done, unpacking.total)
            unpacking.finish()
        finally:
            await AsyncDisk.run(unpacking.close)

    async def download_archive(
        self,
        sandbox_id: str,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncArchive:
        """Pack a file or directory of a sandbox into a tar archive, and return its bytes as they come.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a file or directory in the sandbox, absolute. A link is followed.
            max_bytes: Most bytes that the archive may have, 0 to 2**63 - 1; None for no bound.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read all of it.
            PayloadTooLargeError: More than `max_bytes` came; raised by the archive, too.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        bound = Bound(path, max_bytes)
        request = models.DownloadArchiveRequest(sandbox_id, path)
        chunks = self._chunks(request, bound, timeout)
        return AsyncArchive(chunks, await first_of(chunks))

    async def _chunks(
        self, request: models.DownloadArchiveRequest, bound: Bound, timeout: float | NotGiven | None
    ) -> AsyncStream[models.DownloadArchiveChunk]:
        """Yield an archive as it comes, as much of it as the caller takes."""
        async with aclosing(self._stream(operations.DOWNLOAD_ARCHIVE, request, timeout)) as chunks:
            async for chunk in chunks:
                bound.take(len(chunk.data))
                yield chunk

    async def _refuse_directory(self, sandbox_id: str, path: str, timeout: float | NotGiven | None) -> None:
        """Refuse to put a file where a directory is: some tars would replace an empty one."""
        try:
            found = await self.stat(sandbox_id, path, timeout=timeout)
        except SandboxFileNotFoundError:
            return
        if found.type == "directory":
            raise SandboxFileConflictError(f"{path}: is a directory")


async def _sent(packing: Packing, progress: Progress | None) -> AsyncIterator[bytes]:
    """Yield an archive, and tell how much of it has been taken."""
    done = 0
    async for chunk in AsyncDisk.each(packing.chunks()):
        yield chunk.data
        done += chunk.content_bytes
        if progress is not None:
            progress(done, packing.total)

# Derived from flash_sandbox/clients/aio/file_calls.py by `python -m codegen`; do not edit.
"""Calls about the files in a sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from ... import models, operations
from ...errors import SandboxFileConflictError, SandboxFileNotFoundError
from ...models import FileInfo, path_in_sandbox
from ...options import NOT_GIVEN, NotGiven, Progress
from ..bound import Bound
from ..disk import Disk
from .calls import Calls, given
from .streams import Archive, first_of

# Their libraries are loaded when they are used.
if TYPE_CHECKING:
    from ...transports.base import Stream
    from ..packing import Packing

__all__ = ["FileCalls"]


class FileCalls(Calls):
    """Use the files in sandboxes."""

    def read_file(
        self,
        sandbox_id: str,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> bytes:
        """Return what a file in a sandbox holds, at most 8 MiB; `download` takes files of any size.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a file in the sandbox, absolute. Links are followed.
            max_bytes: Most bytes that the file may hold, 0 to 2**63 - 1; None for no bound but that of 8 MiB.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: It is no regular file.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not read it.
            PayloadTooLargeError: It is larger than 8 MiB, or than `max_bytes`.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        bound = Bound(path, max_bytes)
        request = models.ReadFileRequest(sandbox_id, path)
        content = (self._perform(operations.READ_FILE, request, timeout)).content
        bound.take(len(content))
        return content

    def write_file(
        self,
        sandbox_id: str,
        path: str,
        content: bytes | str,
        *,
        mode: int | None = None,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Write a file in a sandbox, at once: who reads it meanwhile reads the old content or the new one.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of the file in the sandbox, absolute. A link at its end is replaced, not followed.
            content: What the file is to hold, at most 8 MiB; upload_archive takes files of any size. A text
                is sent as UTF-8.
            mode: Permissions of the file, at most 4095 (octal 7777). None keeps those of the file that is
                replaced, or is octal 644 for a new one. Its owner is kept where whoever writes may.
            parents: Whether to make the directories that the path lacks.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: What is there is no regular file.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        options = given(mode=mode, parents=parents)
        request = models.WriteFileRequest(sandbox_id, path, content, **options)  # type: ignore[arg-type]
        self._perform(operations.WRITE_FILE, request, timeout)

    def stat(self, sandbox_id: str, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN) -> FileInfo:
        """Return what is at a path in a sandbox; of a link the link itself.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path in the sandbox, absolute.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: The path leads through what is no directory.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.StatRequest(sandbox_id, path)
        return (self._perform(operations.STAT, request, timeout)).file

    def list_dir(
        self, sandbox_id: str, path: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> tuple[FileInfo, ...]:
        """Return what a directory in a sandbox holds, by name.

        In a name that is not UTF-8, U+FFFD stands for each byte that is not. No other call takes such a name;
        `download` of the directory brings the file along.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of a directory in the sandbox, absolute. Links are followed.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileConflictError: It is no directory.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not look there.
            PayloadTooLargeError: There are more files than one answer can tell of, some 100,000.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ListDirRequest(sandbox_id, path)
        return (self._perform(operations.LIST_DIR, request, timeout)).entries

    def make_dir(
        self,
        sandbox_id: str,
        path: str,
        *,
        mode: int = 0o755,
        parents: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Make a directory in a sandbox.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path of the directory in the sandbox, absolute.
            mode: Permissions of the directory, at most 4095 (octal 7777).
            parents: Whether to make the directories that the path lacks, and to leave one that is there.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such directory.
            SandboxFileExistsError: There is something already.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not write there.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.MakeDirRequest(sandbox_id, path, mode=mode, parents=parents)
        self._perform(operations.MAKE_DIR, request, timeout)

    def remove(
        self,
        sandbox_id: str,
        path: str,
        *,
        recursive: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Remove a file, a link (not what it leads to) or a directory in a sandbox.

        Args:
            sandbox_id: ID of the sandbox.
            path: Path in the sandbox, absolute.
            recursive: Whether to remove a directory with all that it holds. Otherwise only an empty one is
                removed.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is nothing at the path.
            SandboxFileConflictError: It is a directory that is not empty.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not remove it.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.RemoveRequest(sandbox_id, path, recursive=recursive)
        self._perform(operations.REMOVE, request, timeout)

    def move(
        self,
        sandbox_id: str,
        source: str,
        target: str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Give a file, a link or a directory in a sandbox another path. A file that is there is replaced.

        Args:
            sandbox_id: ID of the sandbox.
            source: Path in the sandbox, absolute.
            target: Its new path in the sandbox, absolute. That is the path of itself, not of the directory to
                put it in.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileNotFoundError: There is no such file in it.
            SandboxFileConflictError: There is a directory already.
            WrongStateError: The sandbox is not running.
            SandboxFilePermissionError: What runs in the sandbox may not do that.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.MoveRequest(sandbox_id, source, target)
        self._perform(operations.MOVE, request, timeout)

    def upload(
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

        packing = Disk.run(Packing, local, path_in_sandbox("path", path))
        request = models.UploadArchiveRequest(sandbox_id, packing.directory)
        if not packing.is_tree:
            self._refuse_directory(sandbox_id, path, timeout)
        self._send(operations.UPLOAD_ARCHIVE, request, _sent(packing, progress), timeout)

    def download(
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
            with closing(self._chunks(request, bound, timeout)) as chunks:
                for chunk in chunks:
                    Disk.run(unpacking.feed, chunk.data)
                    if progress is not None:
                        progress(unpacking.done, unpacking.total)
            unpacking.finish()
        finally:
            Disk.run(unpacking.close)

    def upload_archive(
        self,
        sandbox_id: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Unpack a tar archive into a directory of a sandbox, as it comes; `upload` makes one of files.

        Args:
            sandbox_id: ID of the sandbox.
            path: Directory in the sandbox to unpack into, absolute; made where it is not there.
            chunks: The bytes of the archive, in pieces of any size.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            SandboxFileConflictError: Something else is there.
            WrongStateError: The sandbox is not running.
            InvalidArgumentError: It is no tar archive.
            OutcomeUnknownError: The connection was lost; any part may have been unpacked.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.UploadArchiveRequest(sandbox_id, path)
        self._send(operations.UPLOAD_ARCHIVE, request, chunks, timeout)

    def download_archive(
        self,
        sandbox_id: str,
        path: str,
        *,
        max_bytes: int | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Archive:
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
        return Archive(chunks, first_of(chunks))

    def _chunks(
        self, request: models.DownloadArchiveRequest, bound: Bound, timeout: float | NotGiven | None
    ) -> Stream[models.DownloadArchiveChunk]:
        """Yield an archive as it comes, as much of it as the caller takes."""
        with closing(self._stream(operations.DOWNLOAD_ARCHIVE, request, timeout)) as chunks:
            for chunk in chunks:
                bound.take(len(chunk.data))
                yield chunk

    def _refuse_directory(self, sandbox_id: str, path: str, timeout: float | NotGiven | None) -> None:
        """Refuse to put a file where a directory is: some tars would replace an empty one."""
        try:
            found = self.stat(sandbox_id, path, timeout=timeout)
        except SandboxFileNotFoundError:
            return
        if found.type == "directory":
            raise SandboxFileConflictError(f"{path}: is a directory")


def _sent(packing: Packing, progress: Progress | None) -> Iterator[bytes]:
    """Yield an archive, and tell how much of it has been taken."""
    done = 0
    for chunk in Disk.each(packing.chunks()):
        yield chunk.data
        done += chunk.content_bytes
        if progress is not None:
            progress(done, packing.total)

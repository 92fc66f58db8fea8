"""Verified blobs on disk. A download that was cut goes on where it ended, also in another process."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import IO, Final, Self

from ..archives.bounded_tar import refused
from .manifests import Descriptor

__all__ = ["Blobs", "PartialBlob"]

_BLOCK: Final = 1024 * 1024
# Longer than any download goes without a byte.
_GIVEN_UP_SECONDS: Final = 3600


class Blobs:
    """The directory of blobs, each under its digest.

    Args:
        directory: Where they are; those that are not whole yet lie in ``partial`` below it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._partial = directory / "partial"

    def open(self) -> None:
        """Make ready."""
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, descriptor: Descriptor) -> IO[bytes] | None:
        """Open a blob, which from then on is there until it is closed; None where it is not."""
        path = self._directory / descriptor.hex
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        os.utime(path)
        return file

    def continue_download(self, descriptor: Descriptor) -> PartialBlob:
        """Return what there is of a blob so far. Reads all of it: not for an event loop."""
        return PartialBlob(descriptor, self._partial / descriptor.hex, self._directory / descriptor.hex)

    def sizes(self) -> list[tuple[float, int, Path]]:
        """Return last use, size and path of each blob, and of each download that was given up."""
        found = []
        for path in (*self._directory.iterdir(), *self._partial.iterdir()):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            is_partial = path.parent == self._partial
            given_up = time.time() - status.st_mtime > _GIVEN_UP_SECONDS
            if path != self._partial and (given_up or not is_partial):
                found.append((status.st_mtime, status.st_size, path))
        return found

    def remove(self, digest: str) -> None:
        """Remove a blob; nothing where it is not there."""
        (self._directory / digest.removeprefix("sha256:")).unlink(missing_ok=True)


class PartialBlob:
    """A blob of which not all is there yet, as a context manager. It is kept when the block fails.

    Attributes:
        size: Bytes that are there.
    """

    def __init__(self, descriptor: Descriptor, path: Path, target: Path) -> None:
        self.descriptor = descriptor
        self._path = path
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(handle, "r+b")
        while block := self._file.read(_BLOCK):
            self._hash.update(block)
            self.size += len(block)
        if self.size > descriptor.size:
            self.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.size == self.descriptor.size

    def restart(self) -> None:
        """Forget what is there: it is not what the server would go on from."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            InvalidArgumentError: If that is more than there should be.
        """
        if self.size + len(data) > self.descriptor.size:
            self.discard()
            raise refused(
                f"{self.descriptor.digest} is larger than the {self.descriptor.size} bytes it should be"
            )
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self) -> None:
        """Give the blob its name, after proof that it is what it should be.

        Raises:
            InvalidArgumentError: If it is not; then it is removed.
        """
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self.descriptor.digest or not self.is_whole:
            self.discard()
            raise refused(f"a layer has the digest {found}, not {self.descriptor.digest}")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.rename(self._target)

    def discard(self) -> None:
        """Remove what is there."""
        self._path.unlink(missing_ok=True)

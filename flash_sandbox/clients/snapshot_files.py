"""Snapshots as files of this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import suppress
from typing import Final

__all__ = ["Incoming", "content_of"]

_CHUNK: Final = 256 * 1024


class Incoming:
    """A file that comes piece by piece, and has its name once all of it has come.

    Args:
        local: Its path.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, local: str | os.PathLike[str]) -> None:
        self._path = os.fspath(local)
        self._partial = f"{self._path}.{secrets.token_hex(4)}.partial"
        self._digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(self._partial, flags, 0o600), "wb")

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._digest.update(data)
        self._file.write(data)

    def finish(self) -> str:
        """Give the file its name, and return the SHA-256 of it."""
        self._file.close()
        os.replace(self._partial, self._path)
        return self._digest.hexdigest()

    def close(self) -> None:
        """Remove what has come, unless that was all."""
        self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._partial)


def content_of(local: str | os.PathLike[str]) -> Generator[bytes, None, None]:
    """Yield what a file holds.

    Raises:
        OSError: It cannot be read.
    """
    with open(local, "rb") as file:
        while data := file.read(_CHUNK):
            yield data

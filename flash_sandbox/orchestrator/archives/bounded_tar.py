"""Tar streams of strangers: read by tarfile, but bounded, and with one error for all that may be wrong."""

from __future__ import annotations

import errno
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, Self, cast

from ...errors import InvalidArgumentError, Reason, UnavailableError

__all__ = ["Bounds", "Readable", "entries", "refused", "refusing"]

# Between two entries, so that names and extended headers, which are held in memory, stay small.
_HEADER_BYTES: Final = 4 * 1024 * 1024
_BLOCK: Final = 1024 * 1024
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What unpacking one image may take at most.

    Attributes:
        total_bytes: Size of all files together, uncompressed, and of the tar streams themselves.
        entries: Number of entries.
        ratio: Uncompressed bytes for each compressed one, once there is more than 64 MiB of them.
    """

    total_bytes: int = 16 * 1024**3
    entries: int = 1_000_000
    ratio: int = 400


class Readable(Protocol):
    """What is read from, forward only."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes; none at the end."""


class _Metered:
    """Passes a tar stream on, but no more of it than is due.

    Args:
        file: The stream.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0
        self._limit = 0

    def allow(self, more: int) -> None:
        """Let this many bytes be read from here on, and the headers of one more entry."""
        self._limit = self.count + more + _HEADER_BYTES

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes, unless that is more than is due."""
        data = self._file.read(size)
        self.count += len(data)
        if self.count > self._limit:
            raise refused("an entry's headers are too large")
        return data


class _BoundedTarInfo(tarfile.TarInfo):
    """An entry whose header does not lead tarfile backwards."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0:
            raise refused(f"entry {info.name[:200]!r} has a negative size")
        return info


def entries(file: Readable) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield each entry of an uncompressed tar stream, and what its content is read from.

    What an entry holds is read before the next one is asked for, or not at all. No more is kept in memory
    than the headers of one entry, and those are bounded.

    Raises:
        InvalidArgumentError: If it is damaged, or has headers that are too large.
    """
    metered = _Metered(file)
    metered.allow(0)
    with (
        refusing(),
        tarfile.open(
            fileobj=cast(IO[bytes], metered), mode="r|", tarinfo=_BoundedTarInfo, bufsize=_BLOCK
        ) as tar,
    ):
        while (info := tar.next()) is not None:
            # Else a million entries would stay in memory.
            cast(Any, tar).members.clear()
            if sum(len(name) + len(value) for name, value in tar.pax_headers.items()) > _HEADER_BYTES:
                raise refused("its headers for all entries are too large")
            # Where the next header is; a sparse file's size says nothing of that.
            metered.allow(max(tar.offset - metered.count, 0))
            yield tar, info


def refused(why: str) -> InvalidArgumentError:
    """Return the error for a tar file or an image that is not used."""
    return InvalidArgumentError(f"cannot unpack: {why}", reason=Reason.IMAGE_NOT_FOUND)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what damaged and hostile tar files make the standard library raise into the one error."""
    try:
        yield
    except (InvalidArgumentError, UnavailableError):
        raise
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UnavailableError(f"cannot unpack: {error.strerror}") from error
        raise refused(error.strerror or str(error)) from error
    except (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        raise refused(str(error)) from error
    except (zlib.error, lzma.LZMAError, RecursionError) as error:
        raise refused(str(error)) from error

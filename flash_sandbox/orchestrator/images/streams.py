"""Layers as tar streams: decompressed, digested at both ends, bounded."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import sys
from typing import IO, Final, cast

from ..archives.bounded_tar import Bounds, Readable, refused, refusing
from ..archives.extraction import Extraction

__all__ = ["bounded", "is_compressed", "unpack_stream"]

_BLOCK: Final = 1024 * 1024
# Small and very regular files compress better than any ratio that tells a bomb from a layer.
_RATIO_FLOOR_BYTES: Final = 64 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\x00"
# A frame of content, or one that is skipped, with which the files of some tools begin.
_ZSTD: Final = (b"\x28\xb5\x2f\xfd", *(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60)))
_WINDOW_LOG: Final = 27


class _Counted:
    """Passes a file on, and keeps its size."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


class _Digested(_Counted):
    """Passes a file on, and keeps its digest and size."""

    def __init__(self, file: Readable) -> None:
        super().__init__(file)
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int = -1, /) -> bytes:
        data = super().read(size)
        self._hash.update(data)
        return data


class _Bounded:
    """Passes a decompressed stream on until it is larger than any honest one would be."""

    def __init__(self, file: Readable, compressed: _Counted, bounds: Bounds) -> None:
        self._file = file
        self._compressed = compressed
        self._bounds = bounds
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._count += len(data)
        # Headers and padding come on top of the content: at most as much again and a little.
        if self._count > 2 * self._bounds.total_bytes + _BLOCK:
            raise refused(f"the layer is larger than {self._bounds.total_bytes} bytes")
        # What a decompressor has read ahead makes the ratio look smaller, never larger.
        if self._count > _RATIO_FLOOR_BYTES and self._count > self._bounds.ratio * self._compressed.count:
            raise refused(f"the layer expands more than {self._bounds.ratio} times")
        return data


def unpack_stream(
    extraction: Extraction,
    file: IO[bytes],
    bounds: Bounds,
    *,
    digest: str = "",
    diff_id: str = "",
    any_compression: bool = False,
) -> str:
    """Unpack one layer and return the digest of the uncompressed tar stream.

    Args:
        extraction: What is filled.
        file: The layer, as it was stored.
        bounds: How much it may expand.
        digest: What the digest of `file` must be; empty where nobody knows.
        diff_id: What the digest of the uncompressed stream must be; empty where nobody knows.
        any_compression: Whether bzip2 and xz will do, too, besides gzip, zstd and none.

    Raises:
        InvalidArgumentError: If it is damaged, hostile, not what the digests say, or compressed otherwise.
        UnavailableError: If the disk is full.
    """
    compressed = _Digested(file)
    plain = _Digested(_Bounded(_decompressed(compressed, any_compression), compressed, bounds))
    extraction.add(plain)
    with refusing():
        # Up to the end: what comes after the last entry is part of what was digested.
        while plain.read(_BLOCK):
            pass
        while compressed.read(_BLOCK):
            pass
    for kind, found, wanted in (("layer", compressed.digest, digest), ("content", plain.digest, diff_id)):
        if wanted and found != wanted:
            raise refused(f"the {kind} has the digest {found}, not {wanted}")
    return plain.digest


def is_compressed(head: bytes) -> bool:
    """Tell whether a file that begins so is compressed, in a way that is known here."""
    return head.startswith((_GZIP, *_ZSTD, _BZIP2, _XZ))


def bounded(file: Readable, bounds: Bounds) -> Readable:
    """Return the content of a tar file, compressed in whatever way, bounded as a layer is.

    Raises:
        InvalidArgumentError: When it is read, if it expands too much.
    """
    compressed = _Counted(file)
    return _Bounded(_decompressed(compressed, any_compression=True), compressed, bounds)


def _decompressed(file: _Counted, any_compression: bool) -> Readable:
    buffered = io.BufferedReader(_Raw(file), _BLOCK)
    magic = buffered.peek(len(_XZ))[: len(_XZ)]
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=buffered, mode="rb")
    if magic.startswith(_ZSTD):
        return _Zstandard(cast(IO[bytes], buffered))
    if any_compression and magic.startswith(_BZIP2):
        return bz2.BZ2File(buffered)
    if any_compression and magic.startswith(_XZ):
        return lzma.LZMAFile(buffered)
    return buffered


class _Zstandard:
    """The content of a zstd stream (RFC 8878), whose window is at most 128 MiB."""

    def __init__(self, file: IO[bytes]) -> None:
        # Loaded where it is needed: it is a library's, or as of Python 3.14 Python's own.
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._error = zstd.ZstdError
        options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
        self._file = zstd.ZstdFile(file, options=options)

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size)
        except self._error as error:
            raise ValueError(str(error)) from error


class _Raw(io.RawIOBase):
    """A file as a raw one, which is what a buffered reader reads from."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

"""Files and directories of the client's machine, packed into a tar archive as it is sent.

The format is GNU's, which every tar reads: names of any length, files of any size.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

__all__ = ["CHUNK_BYTES", "Packed", "Packing"]

CHUNK_BYTES: Final = 256 * 1024
"""What is read of a file at a time."""

_BLOCK: Final = tarfile.BLOCKSIZE


class Packed(NamedTuple):
    """The next bytes of an archive, and how many of them are content of files."""

    data: bytes
    content_bytes: int


class Packing:
    """What is to be packed: a file under the last part of its new path, or what a directory holds.

    What is neither a file, a directory nor a link is left out. A link is packed as a link, but for `local`.

    Args:
        local: Path of the file or directory.
        path: Its path in the sandbox.

    Attributes:
        is_tree: Whether it is a directory.
        directory: The directory in the sandbox that the archive is to be unpacked into.
        total: Bytes that the files hold.

    Raises:
        OSError: There is no such file or directory, or it cannot be read.
    """

    def __init__(self, local: str | os.PathLike[str], path: str) -> None:
        self._local = Path(local)
        found = self._local.stat()
        self.is_tree = stat.S_ISDIR(found.st_mode)
        if not self.is_tree and not stat.S_ISREG(found.st_mode):
            raise OSError(f"{self._local} is neither a file nor a directory")
        before, _, name = path.rstrip("/").rpartition("/")
        self._name = name or "."
        self.directory = path if self.is_tree else before or "/"
        self.total = sum(_sizes(self._local)) if self.is_tree else found.st_size

    def chunks(self) -> Iterator[Packed]:
        """Yield the archive.

        Raises:
            OSError: A file cannot be read, or became shorter meanwhile.
        """
        data, content_bytes = bytearray(), 0
        for piece in self._pieces():
            data += piece.data
            content_bytes += piece.content_bytes
            if len(data) >= CHUNK_BYTES:
                yield Packed(bytes(data), content_bytes)
                data, content_bytes = bytearray(), 0
        yield Packed(bytes(data), content_bytes)

    def _pieces(self) -> Iterator[Packed]:
        yield from _tree(self._local) if self.is_tree else _file(self._local, self._name)
        yield Packed(bytes(2 * _BLOCK), 0)


def _sizes(directory: Path) -> Iterator[int]:
    for _, entry in _entries(directory):
        if entry.is_file(follow_symlinks=False):
            yield entry.stat(follow_symlinks=False).st_size


def _entries(directory: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all that is in a directory, by name; each directory before what it holds."""
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        yield name, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), name + "/")


def _tree(directory: Path) -> Iterator[Packed]:
    for name, entry in _entries(directory):
        if entry.is_symlink():
            yield _head(name, entry.stat(follow_symlinks=False), tarfile.SYMTYPE, os.readlink(entry.path))
        elif entry.is_dir():
            yield _head(name, entry.stat(), tarfile.DIRTYPE)
        elif entry.is_file():
            yield from _file(Path(entry.path), name)


def _file(path: Path, name: str) -> Iterator[Packed]:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        yield _head(name, found, tarfile.REGTYPE)
        yield from _content(file, path, found.st_size)
    if rest := found.st_size % _BLOCK:
        yield Packed(bytes(_BLOCK - rest), 0)


def _content(file: BinaryIO, path: Path, size: int) -> Iterator[Packed]:
    left = size
    while left:
        data = file.read(min(left, CHUNK_BYTES))
        if not data:
            raise OSError(f"{path} became shorter while it was read")
        left -= len(data)
        yield Packed(data, len(data))


def _head(name: str, found: os.stat_result, kind: bytes, target: str = "") -> Packed:
    # Made for no user: who unpacks it owns it.
    info = tarfile.TarInfo(name.replace(os.sep, "/"))
    info.type = kind
    info.mode = stat.S_IMODE(found.st_mode) & 0o777
    info.mtime = max(int(found.st_mtime), 0)
    info.size = found.st_size if kind == tarfile.REGTYPE else 0
    info.linkname = target
    return Packed(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"), 0)

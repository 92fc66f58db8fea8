"""What a writable layer, at rest, consists of: the walk that packing and copying share.

A writable layer is overlayfs's upper directory (``Documentation/filesystems/overlayfs.rst``, with
"userxattr"): a deletion is a device 0:0, and an attribute marks a directory that hides what is below it.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from ...errors import UnavailableError, WrongStateError
from ..linux.tree_walk import Entry, TreeChanged, open_file, walk
from .extraction import OPAQUE_XATTR, OVERLAY_XATTRS

__all__ = [
    "MAX_DEPTH",
    "MAX_PATH_BYTES",
    "LayerWalk",
    "copy_blocks",
    "explained",
    "extents",
    "is_opaque",
    "user_xattrs",
]

MAX_PATH_BYTES: Final = 3072
"""The longest path in a layer that is saved: of Linux's 4096, the rest is for the store's own."""

MAX_DEPTH: Final = 256
"""Directories below one another in a layer that is saved, as in images: it bounds the time to unpack."""

# The list of them has to fit into what `bounded_tar` takes for headers.
_MAX_EXTENTS: Final = 100_000
# So much of a file is not worth a list of its holes.
_LEAST_HOLES: Final = 64 * 1024


class LayerWalk(ABC):
    """Takes all that is in a layer, one after the other, parents first; sockets are left out."""

    def __init__(self) -> None:
        # Of files with several names: the first one, and how many are still to come.
        self._names: dict[tuple[int, int], tuple[str, int]] = {}

    def go_through(self, layer: Path) -> None:
        """Take all that is in a layer.

        Raises:
            OSError: With ENAMETOOLONG for a path of more than `MAX_DEPTH` directories or `MAX_PATH_BYTES`;
                TreeChanged where the layer is not at rest.
        """
        for entry in walk(layer, path_bytes=MAX_PATH_BYTES, depth=MAX_DEPTH):
            self._take(entry)

    @abstractmethod
    def directory(self, entry: Entry) -> None:
        """Take a directory; the first is the layer itself, whose path is empty."""

    @abstractmethod
    def file(self, entry: Entry, descriptor: int) -> None:
        """Take a regular file, open for reading."""

    @abstractmethod
    def other_name(self, entry: Entry, first: str) -> None:
        """Take one more name of a file, whose first name was taken before."""

    @abstractmethod
    def link(self, entry: Entry, target: str) -> None:
        """Take a symbolic link."""

    @abstractmethod
    def pipe(self, entry: Entry) -> None:
        """Take a named pipe."""

    @abstractmethod
    def deletion(self, entry: Entry) -> None:
        """Take the deletion of what is below."""

    def _take(self, entry: Entry) -> None:
        mode = entry.status.st_mode
        if stat.S_ISDIR(mode):
            self.directory(entry)
        elif stat.S_ISREG(mode):
            self._take_file(entry)
        elif stat.S_ISLNK(mode):
            try:
                target = os.readlink(entry.name, dir_fd=entry.parent)
            except OSError as error:
                raise TreeChanged(f"{entry.path[:200]!r} was exchanged") from error
            self.link(entry, target)
        elif stat.S_ISFIFO(mode):
            self.pipe(entry)
        elif stat.S_ISCHR(mode):
            # The only device that a sandbox's layer can hold.
            self.deletion(entry)

    def _take_file(self, entry: Entry) -> None:
        first = self._first_name(entry)
        if first:
            self.other_name(entry, first)
            return
        descriptor, mode_before = open_file(entry)
        try:
            self.file(entry, descriptor)
        finally:
            if mode_before is not None:
                os.fchmod(descriptor, mode_before)
            os.close(descriptor)

    def _first_name(self, entry: Entry) -> str:
        """Return the name under which a file was taken before; empty for the first time."""
        if entry.status.st_nlink == 1:
            return ""
        identity = entry.status.st_dev, entry.status.st_ino
        first, left = self._names.pop(identity, ("", entry.status.st_nlink))
        if left > 1:
            self._names[identity] = (first or entry.path, left - 1)
        return first


@contextmanager
def explained() -> Iterator[None]:
    """Say what it means for a sandbox that its layer cannot be saved.

    Raises:
        UnavailableError: If the disk has not got the room.
        WrongStateError: If the layer is not at rest, or holds what cannot be saved.
    """
    try:
        yield
    except TreeChanged as error:
        raise WrongStateError(f"the sandbox changed its files while they were saved: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _refused(
                f"a path of more than {MAX_DEPTH} directories or {MAX_PATH_BYTES} bytes"
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(f"the snapshot cannot be written: {error.strerror}") from error
        raise


def extents(descriptor: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the size of a file, and offset and size of each part that holds data.

    Where the file has holes, an empty part at its end is the last.
    """
    status = os.fstat(descriptor)
    size = status.st_size
    if size - status.st_blocks * 512 < _LEAST_HOLES:
        return size, [(0, size)]
    found = list(islice(_data(descriptor, size), _MAX_EXTENTS + 1))
    if len(found) > _MAX_EXTENTS:
        raise _refused(f"a file of more than {_MAX_EXTENTS} holes")
    return size, [*found, (size, 0)]


def copy_blocks(descriptor: int, copy: int, offset: int, length: int, target: int) -> None:
    """Copy a part of a file to a place in another one.

    Where the file system can, and both places are at the start of a block, the files share the blocks
    (copy_file_range(2), NOTES).

    Raises:
        TreeChanged: The file became shorter.
    """
    end = offset + length
    os.lseek(copy, target, os.SEEK_SET)
    while offset < end:
        try:
            copied = os.copy_file_range(descriptor, copy, end - offset, offset)
        except OSError as error:
            # From one file system to another.
            if error.errno != errno.EXDEV:
                raise
            copied = os.sendfile(copy, descriptor, offset, end - offset)
        if not copied:
            raise TreeChanged("a file became shorter")
        offset += copied


def user_xattrs(descriptor: int) -> dict[str, bytes]:
    """Return the attributes that a sandbox has given a file."""
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return {}
    return {
        name: _xattr(descriptor, name)
        for name in names
        if name.startswith("user.") and not name.startswith(OVERLAY_XATTRS)
    }


def is_opaque(descriptor: int) -> bool:
    """Tell whether a directory hides what is below it."""
    return _xattr(descriptor, OPAQUE_XATTR) == b"y"


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, end - start


def _xattr(descriptor: int, name: str) -> bytes:
    with suppress(OSError):
        return os.getxattr(descriptor, name)
    return b""


def _refused(what: str) -> WrongStateError:
    return WrongStateError(f"the sandbox cannot be saved: it has {what}")

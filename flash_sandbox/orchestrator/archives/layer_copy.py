"""Writable layers as directories: a copy of one at rest, for overlayfs to lay below others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..linux.id_range import IdRange
from ..linux.tree_walk import Entry
from .extraction import KEPT_MODES, KEPT_OF_DIRECTORIES, OPAQUE_XATTR
from .layer_walk import LayerWalk, copy_blocks, explained, extents, is_opaque, user_xattrs

__all__ = ["copy_layer"]


def copy_layer(layer: Path, target: Path, owners: IdRange | None, target_owners: IdRange | None) -> None:
    """Fill an empty directory with what `pack_layer` and `unpack_layer` would make of a layer.

    Files share their blocks with the layer's where the file system can have that.

    Args:
        layer: The upper directory, at rest.
        target: The directory. It is not removed where this fails.
        owners: The users of the layer; None where root is the only one.
        target_owners: The same users as the owners of the copy.

    Raises:
        UnavailableError: If the disk has not got the room.
        WrongStateError: As with `pack_layer`.
    """
    with explained():
        copier = _Copier(target, owners, target_owners)
        copier.go_through(layer)
        copier.finish()


class _Copier(LayerWalk):
    def __init__(self, target: Path, owners: IdRange | None, target_owners: IdRange | None) -> None:
        super().__init__()
        self._target = str(target)
        self._owners = owners
        self._target_owners = target_owners
        # What filling them would change, or hinder.
        self._directories: list[tuple[str, int, int]] = []

    def directory(self, entry: Entry) -> None:
        if not entry.path:
            return
        path = self._path(entry.path)
        os.mkdir(path, 0o700)
        self._give_away(entry, path)
        self._set_xattrs(path, entry.descriptor)
        if is_opaque(entry.descriptor):
            os.setxattr(path, OPAQUE_XATTR, b"y")
        self._directories.append((path, entry.mode & KEPT_OF_DIRECTORIES, entry.status.st_mtime_ns))

    def file(self, entry: Entry, descriptor: int) -> None:
        size, parts = extents(descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        copy = os.open(self._path(entry.path), flags, 0o600)
        try:
            for offset, length in parts:
                copy_blocks(descriptor, copy, offset, length, offset)
            # Only a hole at its end is lacking then.
            os.ftruncate(copy, size)
            self._set_xattrs(copy, descriptor)
            self._give_away(entry, copy)
            os.fchmod(copy, entry.mode & KEPT_MODES)
            os.utime(copy, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))
        finally:
            os.close(copy)

    def other_name(self, entry: Entry, first: str) -> None:
        os.link(self._path(first), self._path(entry.path), follow_symlinks=False)

    def link(self, entry: Entry, target: str) -> None:
        os.symlink(target, self._path(entry.path))
        self._give_away(entry, self._path(entry.path))

    def pipe(self, entry: Entry) -> None:
        path = self._path(entry.path)
        os.mkfifo(path, 0o600)
        self._give_away(entry, path)
        os.chmod(path, entry.mode & KEPT_MODES)

    def deletion(self, entry: Entry) -> None:
        path = self._path(entry.path)
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        self._give_away(entry, path)

    def finish(self) -> None:
        """Give directories their modes and times."""
        for path, mode, mtime in reversed(self._directories):
            os.chmod(path, mode)
            os.utime(path, ns=(mtime, mtime))

    def _path(self, path: str) -> str:
        return f"{self._target}/{path}"

    def _give_away(self, entry: Entry, copy: str | int) -> None:
        if self._owners is not None and self._target_owners is not None:
            inside = map(self._owners.inside, (entry.status.st_uid, entry.status.st_gid))
            user, group = map(self._target_owners.outside, inside)
            os.chown(copy, user, group, follow_symlinks=isinstance(copy, int))

    def _set_xattrs(self, copy: str | int, descriptor: int) -> None:
        for name, value in user_xattrs(descriptor).items():
            os.setxattr(copy, name, value)

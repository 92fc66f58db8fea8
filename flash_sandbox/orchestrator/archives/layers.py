"""Writable layers as tar files.

In a tar file the deletions of a layer are written as the OCI image specification has them (``layer.md``:
``.wh.NAME``, and ``.wh..wh..opq`` for a directory that hides what is below it). Holes of files are left out
as GNU tar does it (its manual, "PAX Format, Version 1.0"). The content of a large file begins at a block of
the file system, so that the tar file can share the layer's blocks. `extraction` does the reading of them.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from ...errors import InvalidArgumentError, UnavailableError
from ..linux.id_range import IdRange
from ..linux.tree_walk import Entry, TreeChanged, remove_tree, walk
from .extraction import OPAQUE, WHITEOUT, XATTR_HEADER, Extraction, Whiteouts
from .layer_walk import (
    MAX_DEPTH,
    MAX_PATH_BYTES,
    LayerWalk,
    copy_blocks,
    explained,
    extents,
    is_opaque,
    user_xattrs,
)
from .supplied import has_place_in

__all__ = ["merge_layers", "mountable_over", "pack_layer", "unpack_layer"]

_CHUNK: Final = 1024 * 1024
# The largest block that file systems share, and from which size on a file is worth the padding.
_ALIGNMENT: Final = 4096
_ALIGNED_BYTES: Final = 16 * _ALIGNMENT
_SPARSE: Final = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}


def pack_layer(layer: Path, target: Path, owners: IdRange | None = None) -> None:
    """Write a writable layer, at rest, to a tar file that appears under its name only when it is whole.

    Args:
        layer: The upper directory.
        target: The file to make, with mode 0600.
        owners: The sandbox's users; None where root is the only one.

    Raises:
        UnavailableError: If the disk has not got the room.
        WrongStateError: If the layer is not at rest, or holds what no snapshot can: a path of more than
            `MAX_DEPTH` directories or `MAX_PATH_BYTES`, or a file of more than 100,000 holes.
    """
    partial = target.with_name(target.name + ".partial")
    with explained():
        _require_room(layer, target.parent)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(layer, descriptor, owners)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)


def unpack_layer(file: IO[bytes], layer: Path, owners: IdRange | None) -> int:
    """Fill an empty directory from what `pack_layer` wrote, for overlayfs to lay over others.

    Args:
        file: The tar file.
        layer: The directory.
        owners: The sandbox's users; None where root is the only one, and the caller.

    Returns:
        The bytes of its files.
    """
    return _unpack([file], layer, owners)


def merge_layers(
    files: Sequence[IO[bytes]], layer: Path, target: Path, scratch: Path, owners: IdRange | None = None
) -> None:
    """Write several layers, and a writable one at rest above them, as one.

    Args:
        files: What `pack_layer` wrote of the lower ones, the lowest first.
        layer: The upper directory.
        target: The file to make, as `pack_layer` does.
        scratch: A directory for what is made on the way; it is made and removed.
        owners: The sandbox's users; None where root is the only one.

    Raises:
        UnavailableError: The disk has not got the room.
        WrongStateError: As with `pack_layer`.
    """
    scratch.mkdir(mode=0o700)
    try:
        top, merged = scratch / "top.tar", scratch / "merged"
        merged.mkdir()
        pack_layer(layer, top, owners)
        with top.open("rb") as file:
            _unpack([*files, file], merged, owners)
        pack_layer(merged, target, owners)
    finally:
        remove_tree(scratch)


def _unpack(files: Sequence[IO[bytes]], layer: Path, owners: IdRange | None) -> int:
    extraction = Extraction(layer, owners=owners, whiteouts=Whiteouts.OVERLAY)
    for file in files:
        extraction.add(file)
    extraction.finish()
    return extraction.total_bytes


def mountable_over(layer: Path, mount_points: Sequence[str], supplied: Sequence[str]) -> tuple[str, ...]:
    """Tell what can be mounted over a layer that a sandbox has written; nothing of that follows a link.

    Args:
        layer: Its directory.
        mount_points: Names at the top of the sandbox where file systems are mounted.
        supplied: Names, below /etc, of files to be mounted over it.

    Returns:
        Which of the files can be mounted.

    Raises:
        InvalidArgumentError: Something else can then not be mounted.
    """
    for name in mount_points:
        if (layer / name).is_symlink():
            raise InvalidArgumentError(f"the snapshot cannot be started from: its /{name} is a link")
    return tuple(name for name in supplied if has_place_in(layer, name))


def _write(layer: Path, descriptor: int, owners: IdRange | None) -> None:
    with os.fdopen(descriptor, "wb") as file:
        _Packer(file, owners).go_through(layer)
        file.write(bytes(2 * tarfile.BLOCKSIZE))
        file.flush()
        os.fsync(file.fileno())


def _require_room(layer: Path, store: Path) -> None:
    needed = 0
    for entry in walk(layer, path_bytes=MAX_PATH_BYTES, depth=MAX_DEPTH):
        # What lies in holes, or is compressed on disk, is not counted: the disk itself tells in the end.
        needed += min(entry.status.st_size, entry.status.st_blocks * 512) // entry.status.st_nlink + 1024
    free = shutil.disk_usage(store).free
    if needed > free:
        raise UnavailableError(f"the snapshot needs {needed} bytes, and the store has {free} left")


class _Packer(LayerWalk):
    """Writes a layer into a tar file."""

    def __init__(self, file: IO[bytes], owners: IdRange | None) -> None:
        super().__init__()
        self._file = file
        self._owners = owners

    def directory(self, entry: Entry) -> None:
        info = self._info(entry, tarfile.DIRTYPE)
        info.pax_headers = _xattr_headers(entry.descriptor)
        self._write_head(info)
        if is_opaque(entry.descriptor):
            self._write_head(tarfile.TarInfo(f"{entry.path}/{OPAQUE}".lstrip("/")))

    def file(self, entry: Entry, descriptor: int) -> None:
        info = self._info(entry, tarfile.REGTYPE)
        info.pax_headers = _xattr_headers(descriptor)
        size, parts = extents(descriptor)
        stored = sum(length for _, length in parts)
        if stored < size:
            self._write_sparse_head(info, size, parts)
        else:
            info.size = stored
            self._write_head(info, stored)
        for offset, length in parts:
            self._copy(descriptor, offset, length)
        self._file.write(bytes(-stored % tarfile.BLOCKSIZE))

    def other_name(self, entry: Entry, first: str) -> None:
        info = self._info(entry, tarfile.LNKTYPE)
        info.linkname = first
        self._write_head(info)

    def link(self, entry: Entry, target: str) -> None:
        info = self._info(entry, tarfile.SYMTYPE)
        info.linkname = target
        self._write_head(info)

    def pipe(self, entry: Entry) -> None:
        self._write_head(self._info(entry, tarfile.FIFOTYPE))

    def deletion(self, entry: Entry) -> None:
        above = entry.path.removesuffix(entry.name)
        self._write_head(tarfile.TarInfo(f"{above}{WHITEOUT}{entry.name}"))

    def _info(self, entry: Entry, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(entry.path or ".")
        info.type = kind
        info.mode = entry.mode
        info.mtime = entry.status.st_mtime
        if self._owners is not None:
            info.uid, info.gid = map(self._owners.inside, (entry.status.st_uid, entry.status.st_gid))
        return info

    def _write_head(self, info: tarfile.TarInfo, stored: int = 0) -> None:
        self._file.write(self._head(info, stored))

    def _head(self, info: tarfile.TarInfo, stored: int, after: int = 0) -> bytes:
        """Return the header of an entry whose content is so many bytes; `after` bytes lie in between."""
        head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        lacking = -(self._file.tell() + len(head) + after) % _ALIGNMENT
        if stored < _ALIGNED_BYTES or not lacking:
            return head
        # A comment as long as what is lacking, its own record included: "NUMBER comment=TEXT\n" (pax(1)).
        comment = "." * (lacking - len(f"{lacking} comment=\n"))
        info.pax_headers = {**info.pax_headers, "comment": comment}
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def _write_sparse_head(self, info: tarfile.TarInfo, size: int, parts: list[tuple[int, int]]) -> None:
        numbers = [len(parts), *(number for part in parts for number in part)]
        listed = "".join(f"{number}\n" for number in numbers).encode()
        listed += bytes(-len(listed) % tarfile.BLOCKSIZE)
        sparse = {**_SPARSE, "GNU.sparse.realsize": str(size), "path": info.name}
        info.pax_headers = {**info.pax_headers, **sparse}
        stored = sum(length for _, length in parts)
        head = self._head(info, stored, after=len(listed))[: -tarfile.BLOCKSIZE]
        # What is stored is told in the header proper, be it ever so large: a reader would take a pax header
        # of that name for the size of the file.
        plain = tarfile.TarInfo("sparse")
        plain.mode, plain.uid, plain.gid = info.mode, info.uid, info.gid
        plain.size = len(listed) + stored
        self._file.write(head + plain.tobuf(tarfile.GNU_FORMAT) + listed)

    def _copy(self, descriptor: int, offset: int, size: int) -> None:
        if size >= _ALIGNED_BYTES:
            place = self._file.tell()
            self._file.flush()
            copy_blocks(descriptor, self._file.fileno(), offset, size, place)
            self._file.seek(place + size)
            return
        while size:
            data = os.pread(descriptor, min(size, _CHUNK), offset)
            if not data:
                raise TreeChanged("a file became shorter")
            self._file.write(data)
            offset += len(data)
            size -= len(data)


def _xattr_headers(descriptor: int) -> dict[str, str]:
    return {
        XATTR_HEADER + name: value.decode("utf-8", "surrogateescape")
        for name, value in user_xattrs(descriptor).items()
    }

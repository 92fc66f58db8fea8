"""Writable layers as tar files.

A writable layer is overlayfs's upper directory. In a tar file its deletions are written as the OCI image
specification has them (``layer.md``: ``.wh.NAME``, and ``.wh..wh..opq`` for a directory that hides what
is below it); on disk they are what overlayfs has (``Documentation/filesystems/overlayfs.rst``, with
"userxattr"). Holes of files are left out as GNU tar does it (its manual, "PAX Format, Version 1.0").
`extraction` does the reading of them.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Final

from ...errors import InvalidArgumentError, UnavailableError, WrongStateError
from ..linux.id_range import IdRange
from ..linux.tree_walk import Entry, TreeChanged, open_file, remove_tree, walk
from .extraction import OPAQUE, OPAQUE_XATTR, OVERLAY_XATTRS, WHITEOUT, XATTR_HEADER, Extraction, Whiteouts
from .supplied import has_place_in

__all__ = ["MAX_DEPTH", "MAX_PATH_BYTES", "merge_layers", "mountable_over", "pack_layer", "unpack_layer"]

MAX_PATH_BYTES: Final = 3072
"""The longest path in a layer that is packed: of Linux's 4096, the rest is for the store's own."""

MAX_DEPTH: Final = 256
"""Directories below one another in a layer that is packed, as in images: it bounds the time to unpack."""

_CHUNK: Final = 1024 * 1024
_SPARSE: Final = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
# The list of them has to fit into what `bounded_tar` takes for headers.
_MAX_EXTENTS: Final = 100_000
# So much of a file is not worth a list of its holes.
_LEAST_HOLES: Final = 64 * 1024


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
    try:
        _require_room(layer, target.parent)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(layer, descriptor, owners)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
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
        ConflictError: As with `pack_layer`.
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
        packer = _Packer(file, owners)
        for entry in walk(layer, path_bytes=MAX_PATH_BYTES, depth=MAX_DEPTH):
            packer.add(entry)
        file.write(bytes(2 * tarfile.BLOCKSIZE))
        file.flush()
        os.fsync(file.fileno())


def _refused(what: str) -> WrongStateError:
    return WrongStateError(f"the sandbox cannot be saved: it has {what}")


def _require_room(layer: Path, store: Path) -> None:
    needed = 0
    for entry in walk(layer, path_bytes=MAX_PATH_BYTES, depth=MAX_DEPTH):
        # What lies in holes, or is compressed on disk, is not counted: the disk itself tells in the end.
        needed += min(entry.status.st_size, entry.status.st_blocks * 512) // entry.status.st_nlink + 1024
    free = shutil.disk_usage(store).free
    if needed > free:
        raise UnavailableError(f"the snapshot needs {needed} bytes, and the store has {free} left")


class _Packer:
    """Writes what a walk comes to into a tar file."""

    def __init__(self, file: IO[bytes], owners: IdRange | None) -> None:
        self._file = file
        self._owners = owners
        # Of files with several names: the first one, and how many are still to come.
        self._names: dict[tuple[int, int], tuple[str, int]] = {}

    def add(self, entry: Entry) -> None:
        """Write one entry; sockets are left out."""
        mode = entry.status.st_mode
        if stat.S_ISDIR(mode):
            self._add_directory(entry)
        elif stat.S_ISREG(mode):
            self._add_file(entry)
        elif stat.S_ISLNK(mode):
            info = self._info(entry, tarfile.SYMTYPE)
            try:
                info.linkname = os.readlink(entry.name, dir_fd=entry.parent)
            except OSError as error:
                raise TreeChanged(f"{entry.path[:200]!r} was exchanged") from error
            self._write_head(info)
        elif stat.S_ISFIFO(mode):
            self._write_head(self._info(entry, tarfile.FIFOTYPE))
        elif stat.S_ISCHR(mode):
            # The only device that a sandbox's layer can hold: a deletion.
            above = entry.path.removesuffix(entry.name)
            self._write_head(tarfile.TarInfo(f"{above}{WHITEOUT}{entry.name}"))

    def _add_directory(self, entry: Entry) -> None:
        info = self._info(entry, tarfile.DIRTYPE)
        info.pax_headers = _xattr_headers(entry.descriptor)
        self._write_head(info)
        if _xattr(entry.descriptor, OPAQUE_XATTR) == b"y":
            self._write_head(tarfile.TarInfo(f"{entry.path}/{OPAQUE}".lstrip("/")))

    def _add_file(self, entry: Entry) -> None:
        first = self._first_name(entry)
        if first:
            info = self._info(entry, tarfile.LNKTYPE)
            info.linkname = first
            self._write_head(info)
            return
        descriptor, mode_before = open_file(entry)
        try:
            self._write_file(self._info(entry, tarfile.REGTYPE), descriptor)
        finally:
            if mode_before is not None:
                os.fchmod(descriptor, mode_before)
            os.close(descriptor)

    def _first_name(self, entry: Entry) -> str:
        """Return the name under which a file was written before; empty for the first time."""
        if entry.status.st_nlink == 1:
            return ""
        identity = entry.status.st_dev, entry.status.st_ino
        first, left = self._names.pop(identity, ("", entry.status.st_nlink))
        if left > 1:
            self._names[identity] = (first or entry.path, left - 1)
        return first

    def _write_file(self, info: tarfile.TarInfo, descriptor: int) -> None:
        status = os.fstat(descriptor)
        info.pax_headers = _xattr_headers(descriptor)
        extents = [(0, status.st_size)]
        if status.st_size - status.st_blocks * 512 >= _LEAST_HOLES:
            extents = _extents(descriptor, status.st_size)
        stored = sum(size for _, size in extents)
        if stored < status.st_size:
            self._write_sparse_head(info, status.st_size, extents)
        else:
            info.size = stored
            self._write_head(info)
        for offset, size in extents:
            self._copy(descriptor, offset, size)
        self._file.write(bytes(-stored % tarfile.BLOCKSIZE))

    def _info(self, entry: Entry, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(entry.path or ".")
        info.type = kind
        info.mode = entry.mode
        info.mtime = entry.status.st_mtime
        if self._owners is not None:
            info.uid, info.gid = map(self._owners.inside, (entry.status.st_uid, entry.status.st_gid))
        return info

    def _write_head(self, info: tarfile.TarInfo) -> None:
        self._file.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _write_sparse_head(self, info: tarfile.TarInfo, size: int, extents: list[tuple[int, int]]) -> None:
        numbers = [len(extents), *(number for extent in extents for number in extent)]
        listed = "".join(f"{number}\n" for number in numbers).encode()
        listed += bytes(-len(listed) % tarfile.BLOCKSIZE)
        sparse = {**_SPARSE, "GNU.sparse.realsize": str(size), "path": info.name}
        info.pax_headers = {**info.pax_headers, **sparse}
        head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")[: -tarfile.BLOCKSIZE]
        # What is stored is told in the header proper, be it ever so large: a reader would take a pax header
        # of that name for the size of the file.
        plain = tarfile.TarInfo("sparse")
        plain.mode, plain.uid, plain.gid = info.mode, info.uid, info.gid
        plain.size = len(listed) + sum(size for _, size in extents)
        self._file.write(head + plain.tobuf(tarfile.GNU_FORMAT) + listed)

    def _copy(self, descriptor: int, offset: int, size: int) -> None:
        while size:
            data = os.pread(descriptor, min(size, _CHUNK), offset)
            if not data:
                raise TreeChanged("a file became shorter")
            self._file.write(data)
            offset += len(data)
            size -= len(data)


def _extents(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Return offset and size of each part of a file that holds data, and an empty one at its end."""
    extents = list(islice(_data(descriptor, size), _MAX_EXTENTS + 1))
    if len(extents) > _MAX_EXTENTS:
        raise _refused(f"a file of more than {_MAX_EXTENTS} holes")
    return [*extents, (size, 0)]


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


def _xattr_headers(descriptor: int) -> dict[str, str]:
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return {}
    return {
        XATTR_HEADER + name: _xattr(descriptor, name).decode("utf-8", "surrogateescape")
        for name in names
        if name.startswith("user.") and not name.startswith(OVERLAY_XATTRS)
    }

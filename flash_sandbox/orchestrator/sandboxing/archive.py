"""Writable layers as tar files.

A writable layer is overlayfs's upper directory. In a tar file its deletions are written as the OCI image
specification has them (``layer.md``: ``.wh.NAME``, and ``.wh..wh..opq`` for a directory that hides what
is below it); on disk they are what overlayfs has (``Documentation/filesystems/overlayfs.rst``, with
"userxattr"). `extraction` does the reading of them.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ...errors import UnavailableError
from .extraction import (
    OPAQUE,
    OPAQUE_XATTR,
    OVERLAY_XATTRS,
    WHITEOUT,
    XATTR_HEADER,
    Extraction,
    Whiteouts,
    remove_tree,
)

__all__ = ["pack_layer", "remove_tree", "unpack_layer"]


def pack_layer(layer: Path, target: Path) -> None:
    """Write a writable layer, at rest, to a tar file that appears under its name only when it is whole.

    Args:
        layer: The upper directory.
        target: The file to make, with mode 0600.

    Raises:
        UnavailableError: If the disk has not got the room.
    """
    _require_room(layer, target.parent)
    partial = target.with_name(target.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                # One at a time: a directory that denies its owner is open only while the walk is in it.
                for path in itertools.chain((layer,), _walk(layer)):
                    _pack_one(tar, path, path.relative_to(layer))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def unpack_layer(file: IO[bytes], layer: Path, owner: int | None) -> None:
    """Fill an empty upper directory from what `pack_layer` wrote.

    Args:
        file: The tar file.
        layer: The directory.
        owner: User and group that everything is to belong to; None for the caller's.
    """
    extraction = Extraction(layer, owner=owner, whiteouts=Whiteouts.OVERLAY)
    extraction.add(file)
    extraction.finish()


# Packing


def _walk(directory: Path) -> Iterator[Path]:
    """Yield everything below a directory, parents first, in a stable order."""
    with _readable(directory):
        names = sorted(os.listdir(directory))
    for name in names:
        path = directory / name
        yield path
        if stat.S_ISDIR(path.lstat().st_mode):
            with _readable(path):
                yield from _walk(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Lift, for a moment, a mode that denies the owner, who is the caller."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    wanted = 0o700 if path.is_dir() else 0o400
    if mode & wanted == wanted or os.geteuid() == 0:
        yield
        return
    path.chmod(mode | wanted)
    try:
        yield
    finally:
        path.chmod(mode)


def _require_room(layer: Path, store: Path) -> None:
    # A sparse file is written out in full, so that its apparent size counts.
    needed = sum(path.lstat().st_size + 1024 for path in _walk(layer))
    free = shutil.disk_usage(store).free
    if needed > free:
        raise UnavailableError(f"the snapshot needs {needed} bytes, and the store has {free} left")


def _pack_one(tar: tarfile.TarFile, path: Path, name: Path) -> None:
    status = path.lstat()
    if stat.S_ISSOCK(status.st_mode):
        return
    if stat.S_ISCHR(status.st_mode):
        # The only device that a sandbox's layer can hold: a deletion.
        tar.addfile(tarfile.TarInfo(str(name.with_name(WHITEOUT + name.name))))
        return
    info = tar.gettarinfo(path, arcname=str(name))
    # Whoever it is on this host, inside the sandbox it is root.
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if not (info.isreg() or info.isdir()):
        tar.addfile(info)
        return
    with _readable(path):
        info.pax_headers = {**info.pax_headers, **_xattr_headers(path)}
        if info.isreg():
            with path.open("rb") as content:
                tar.addfile(info, content)
            return
        tar.addfile(info)
        if _xattr(path, OPAQUE_XATTR) == b"y":
            tar.addfile(tarfile.TarInfo(str(name / OPAQUE)))


def _xattr(path: Path, name: str) -> bytes:
    with suppress(OSError):
        return os.getxattr(path, name, follow_symlinks=False)
    return b""


def _xattr_headers(path: Path) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {
        XATTR_HEADER + name: _xattr(path, name).decode("utf-8", "surrogateescape")
        for name in names
        if name.startswith("user.") and not name.startswith(OVERLAY_XATTRS)
    }

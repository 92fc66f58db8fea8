"""Root file systems and writable layers as tar files.

A writable layer is overlayfs's upper directory. In a tar file its deletions are written as the OCI image
specification has them (``layer.md``: ``.wh.NAME``, and ``.wh..wh..opq`` for a directory that hides what
is below it); on disk they are what overlayfs has (``Documentation/filesystems/overlayfs.rst``, with
"userxattr"). Reading never follows a link, and nothing is written outside the directory that is filled.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final

from ...errors import InvalidArgumentError, Reason, UnavailableError

__all__ = ["pack_layer", "read_manifest", "remove_tree", "unpack", "unpack_layer"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_OPAQUE_XATTR: Final = "user.overlay.opaque"
_OVERLAY_XATTRS: Final = "user.overlay."
_XATTR_HEADER: Final = "SCHILY.xattr."
_MANIFEST_HEADER: Final = "FLASHSANDBOX."
_BLOCK: Final = 1024 * 1024
# Without set-user-ID and set-group-ID, which would work for others on the host; in a sandbox they never do.
_KEPT_MODES: Final = 0o1777


def pack_layer(layer: Path, target: Path, manifest: dict[str, str]) -> None:
    """Write a writable layer, at rest, to a tar file that appears under its name only when it is whole.

    Args:
        layer: The upper directory.
        target: The file to make, with mode 0600.
        manifest: What to write down about it; `read_manifest` returns it.

    Raises:
        UnavailableError: If the disk has not got the room.
    """
    _require_room(layer, target.parent)
    partial = target.with_name(target.name + ".partial")
    headers = {_MANIFEST_HEADER + name: value for name, value in manifest.items()}
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
                # The layer itself first: tarfile takes headers that no entry follows for damage.
                for path in (layer, *_walk(layer)):
                    _pack_one(tar, path, path.relative_to(layer))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_manifest(file: IO[bytes]) -> dict[str, str]:
    """Return what `pack_layer` wrote down, leaving the file at its start.

    Raises:
        InvalidArgumentError: If it is no snapshot.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            headers = dict(tar.pax_headers)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InvalidArgumentError(f"not a snapshot: {error}", reason=Reason.SNAPSHOT_REFUSED) from error
    finally:
        file.seek(0)
    return {
        name.removeprefix(_MANIFEST_HEADER): value
        for name, value in headers.items()
        if name.startswith(_MANIFEST_HEADER)
    }


def unpack_layer(file: IO[bytes], layer: Path, owner: int | None) -> None:
    """Fill an empty upper directory from what `pack_layer` wrote.

    Args:
        file: The tar file.
        layer: The directory.
        owner: User and group that everything is to belong to; None for the caller's.
    """
    _unpack(file, layer, owner, whiteouts=True)


def unpack(file: IO[bytes], root: Path) -> None:
    """Fill an empty directory from a tar file (also compressed) that holds a root file system.

    Raises:
        InvalidArgumentError: If it is no tar file, or if an entry would lie outside.
    """
    _unpack(file, root, None, whiteouts=False)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all in it, also directories that deny their owner."""
    if not os.path.lexists(directory):
        return
    # Lifted first where needed: overlayfs leaves a work directory of mode 0, and so may a sandbox.
    for path, names, _ in os.walk(directory):
        for name in names:
            child = os.path.join(path, name)
            mode = os.lstat(child).st_mode
            if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                os.chmod(child, 0o700)
    shutil.rmtree(directory)


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
        tar.addfile(tarfile.TarInfo(str(name.with_name(_WHITEOUT + name.name))))
        return
    info = tar.gettarinfo(path, arcname=str(name))
    # Whoever it is on this host, inside the sandbox it is root.
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if not info.issym():
        info.pax_headers = {**info.pax_headers, **_xattr_headers(path)}
    if info.isreg():
        with _readable(path), path.open("rb") as content:
            tar.addfile(info, content)
        return
    tar.addfile(info)
    if info.isdir() and _xattr(path, _OPAQUE_XATTR) == b"y":
        tar.addfile(tarfile.TarInfo(str(name / _OPAQUE)))


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
        _XATTR_HEADER + name: _xattr(path, name).decode("utf-8", "surrogateescape")
        for name in names
        if name.startswith("user.") and not name.startswith(_OVERLAY_XATTRS)
    }


# Unpacking


def _unpack(file: IO[bytes], root: Path, owner: int | None, *, whiteouts: bool) -> None:
    modes: list[tuple[Path, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=file, mode="r:*") as tar:
            for info in tar:
                path = _place(root, info.name)
                if path == root:
                    continue
                if whiteouts and path.name.startswith(_WHITEOUT):
                    _unpack_whiteout(path, owner)
                elif _unpack_one(tar, info, path, root):
                    _take_over(path, info, owner)
                    if info.isdir():
                        modes.append((path, info))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidArgumentError(f"cannot unpack: {error}", reason=Reason.IMAGE_NOT_FOUND) from error
    # Last, because a directory that denies writing could not be filled, and filling it changes its time.
    for path, info in reversed(modes):
        path.chmod(info.mode & _KEPT_MODES)
        os.utime(path, (info.mtime, info.mtime))


def _place(root: Path, name: str) -> Path:
    """Return where an entry belongs, after proof that no link leads there.

    Raises:
        InvalidArgumentError: If the name has ``..`` in it or passes through a link.
    """
    parts = PurePosixPath(name.lstrip("/")).parts
    if ".." in parts or "\0" in name:
        raise _refused(name, "has '..' in it")
    path = root
    for part in parts[:-1]:
        path /= part
        if not path.is_symlink() and path.is_dir():
            continue
        if os.path.lexists(path):
            raise _refused(name, "passes through a link or a file")
        path.mkdir(0o755)
    return path / parts[-1] if parts else root


def _unpack_one(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path, root: Path) -> bool:
    """Make one entry; tell whether there is now something to own."""
    if os.path.lexists(path) and not (info.isdir() and path.is_dir() and not path.is_symlink()):
        # A later entry replaces an earlier one.
        remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if info.isdir():
        path.mkdir(0o700, exist_ok=True)
    elif info.issym():
        path.symlink_to(info.linkname)
    elif info.islnk():
        source = _place(root, info.linkname)
        if source.is_symlink() or not source.is_file():
            raise _refused(info.name, f"is a hard link to {info.linkname!r}, which is no file of it")
        path.hardlink_to(source)
        return False
    elif info.isfifo():
        os.mkfifo(path, 0o600)
    elif info.isreg():
        content = tar.extractfile(info)
        assert content is not None
        with path.open("xb") as target:
            shutil.copyfileobj(content, target, _BLOCK)
    else:
        # Devices: a sandbox has its own /dev.
        return False
    return True


def _take_over(path: Path, info: tarfile.TarInfo, owner: int | None) -> None:
    if owner is not None:
        os.chown(path, owner, owner, follow_symlinks=False)
    if info.issym():
        return
    for name, value in info.pax_headers.items():
        if name.startswith(_XATTR_HEADER + "user."):
            with suppress(OSError):
                os.setxattr(path, name.removeprefix(_XATTR_HEADER), value.encode("utf-8", "surrogateescape"))
    if not info.isdir():
        path.chmod(info.mode & _KEPT_MODES)
        os.utime(path, (info.mtime, info.mtime))


def _unpack_whiteout(path: Path, owner: int | None) -> None:
    if path.name == _OPAQUE:
        os.setxattr(path.parent, _OPAQUE_XATTR, b"y")
        return
    target = path.with_name(path.name.removeprefix(_WHITEOUT))
    # Device 0:0 is overlayfs's mark of a deletion; since Linux 5.8 it needs no privilege.
    os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
    if owner is not None:
        os.chown(target, owner, owner, follow_symlinks=False)


def _refused(name: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"entry {name[:200]!r} {why}", reason=Reason.IMAGE_NOT_FOUND)

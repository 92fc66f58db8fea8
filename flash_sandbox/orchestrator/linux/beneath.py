"""Paths that other people may change while they are used: opened by openat2(2), which checks as it opens.

Run as a program, it mounts a directory where only the program sees it that it then becomes, which can make
what it likes in it: nothing of that is in the directory. For that it is run by its path in a bare
interpreter, and imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

__all__ = ["HOW_BYTES", "is_directory_inside", "mounting", "open_beneath", "open_how", "open_without_links"]

_SYS_OPENAT2: Final = 437
_AT_FDCWD: Final = -100
# linux/openat2.h
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_IN_ROOT: Final = 0x10
# linux/sched.h, linux/mount.h
_CLONE_NEWNS: Final = 0x00020000
_MS_NOSUID_NODEV: Final = 2 | 4
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 1 << 19
# The kernel gives up where something is renamed on the way (openat2(2), EAGAIN).
_TRIES: Final = 64

HOW_BYTES: Final = 24
"""Bytes of what `open_how` returns."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def open_without_links(path: str | os.PathLike[str], flags: int) -> int:
    """Open what lies at a real path, none of whose parts may be a link by now.

    Args:
        path: The path, absolute and without links.
        flags: Flags of open(2); ``O_CLOEXEC`` is added.

    Raises:
        OSError: It is not there, or a link is in the way (``ELOOP``).
    """
    return _open(_AT_FDCWD, os.fspath(path), flags, _NO_SYMLINKS)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open what lies below a directory; a link that leads out of it is refused.

    Args:
        directory: Descriptor of the directory.
        path: The path from there.
        flags: Flags of open(2); ``O_CLOEXEC`` is added.

    Raises:
        OSError: It is not there, or leads out of the directory (``EXDEV``).
    """
    return _open(directory, path, flags, _BENEATH | _NO_MAGICLINKS)


def is_directory_inside(root: str | os.PathLike[str], path: str) -> bool:
    """Tell whether an absolute path is a directory where `root` is the root directory, links included.

    Raises:
        PermissionError: This process may not look.
    """
    try:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(_open(directory, path, os.O_PATH | os.O_DIRECTORY, _IN_ROOT | _NO_MAGICLINKS))
        finally:
            os.close(directory)
    except PermissionError:
        raise
    except OSError:
        return False
    return True


def open_how(flags: int, *, links: bool = False) -> bytes:
    """Return how `open_without_links` opens, as openat2(2) takes it; or how open(2) does, with links."""
    return struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, 0 if links else _NO_SYMLINKS)


def mounting(
    directory: str | os.PathLike[str], target: str | os.PathLike[str], files: Sequence[str] = ()
) -> list[str]:
    """Return the start of a command line whose program finds a directory mounted at `target`.

    Args:
        directory: The real path of the directory, none of whose parts may be a link by then.
        target: A directory; nobody but the program, and what it starts, sees the mount.
        files: Paths in the directory where the program finds a file, and no link on the way to it.
    """
    own = [sys.executable, "-I", "-S", __file__, os.fspath(directory), os.fspath(target)]
    return [*own, str(len(files)), *files]


def _open(directory: int, path: str, flags: int, resolve: int) -> int:
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_TRIES):
        found: int = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), how, len(how))
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), path)


def _mount(kind: str, target: str, flags: int, options: str = "") -> None:
    if _libc.mount(kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _make_directory(path: str, source: int, relative: str) -> None:
    """Make a directory as it is in another one, where there is none."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    owner, group, mode = 0, 0, 0o755
    with suppress(OSError):
        original = _open(source, relative, os.O_PATH | os.O_DIRECTORY, _BENEATH | _NO_SYMLINKS)
        status = os.fstat(original)
        os.close(original)
        owner, group, mode = status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
    os.chown(path, owner, group)
    os.chmod(path, mode)


def _main(directory: str, target: str, count: str, *rest: str) -> None:
    files, command = rest[: int(count)], rest[int(count) :]
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    _mount("none", "/", _MS_REC | _MS_SLAVE)
    # Opened in the namespace that it is mounted in, and mounted by its descriptor.
    source = open_without_links(directory, os.O_PATH | os.O_DIRECTORY)
    _mount("tmpfs", target, _MS_NOSUID_NODEV, "mode=700,size=1m")
    before = os.getcwd()
    os.chdir(target)
    os.mkdir("work")
    _make_directory("upper", source, ".")
    for name in files:
        *parents, _ = parts = [part for part in name.split("/") if part]
        for depth in range(1, len(parents) + 1):
            place = "/".join(parents[:depth])
            _make_directory(f"upper/{place}", source, place)
        os.close(os.open("/".join(("upper", *parts)), os.O_CREAT | os.O_WRONLY, 0o444))
    # Relative, since a path may have a comma or a colon in it.
    _mount("overlay", target, 0, f"lowerdir=/proc/self/fd/{source},upperdir=upper,workdir=work")
    os.chdir(before)
    os.execv(command[0], command)


if __name__ == "__main__":
    _main(*sys.argv[1:])

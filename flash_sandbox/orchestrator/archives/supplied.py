"""Files that a container runtime supplies, whatever the image has: names, hosts, resolvers.

As Docker does, so that ``localhost`` is found in any image. Unpacked images are given them once, where they
lie. A directory of the operator's is not this program's to write to: they are mounted where it lacks them.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["has_place_in", "lacking", "supply", "write_supplied"]

_HOSTS: Final = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_NSSWITCH: Final = """\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
"""
# apt drops to a user of its own, which it cannot where a sandbox has but one.
_APT: Final = 'APT::Sandbox::User "root";\n'
_APT_NAME: Final = "apt/apt.conf.d/99flash-sandbox"

_FILES: Final = {
    "hosts": _HOSTS,
    # Empty: there is no name server without a network.
    "resolv.conf": "",
    "nsswitch.conf": _NSSWITCH,
    _APT_NAME: _APT,
}
# Always true, also where a sandbox is given another name than it was made with.
_LINKS: Final = {"hostname": "/proc/sys/kernel/hostname", "mtab": "/proc/mounts"}
_KEPT: Final = frozenset({"nsswitch.conf"})
"""What an image may have of its own."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def supply(root: Path) -> bool:
    """Put the files into a root file system that is this program's own. Idempotent.

    Several processes may do so at once. What the root file system has in the way, as a link for /etc, stays.

    Args:
        root: The root file system. What is in it is not trusted: no link is followed.

    Returns:
        Whether this process was allowed to.
    """
    allowed = True
    for name, content in {**_FILES, **_LINKS}.items():
        try:
            directory = _open_parent(root, name)
            try:
                _put(directory, os.path.basename(name), content, is_link=name in _LINKS)
            finally:
                os.close(directory)
        except PermissionError:
            allowed = False
        except OSError:
            pass
    return allowed


def lacking(root: Path) -> tuple[str, ...]:
    """Return the names, below /etc, of the files that a directory lacks which is not to be written to."""
    if not os.path.lexists(root / "etc"):
        return tuple(name for name in _FILES if "/" not in name)
    found = []
    for name in _FILES:
        with suppress(OSError):
            directory = _open_parent(root, name, make=False)
            try:
                if not _has(directory, os.path.basename(name)) and _takes(directory, os.path.basename(name)):
                    found.append(name)
            finally:
                os.close(directory)
    return tuple(found)


def has_place_in(layer: Path, name: str) -> bool:
    """Tell whether a file below /etc can be mounted over a layer that a sandbox has written, before it runs.

    Its mount would follow a link while the host is still in view.
    """
    place = layer
    for part in ("etc", *Path(name).parts):
        place /= part
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return True
        except OSError:
            return False
        # A device is how overlayfs says that what is below is gone.
        if stat.S_ISCHR(mode):
            return True
        if stat.S_ISLNK(mode):
            return False
    return stat.S_ISREG(mode)


def write_supplied(directory: Path) -> None:
    """Write the files into a directory of their own, to be mounted where they are lacking."""
    for name, content in _FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o444)


def _open_parent(root: Path, name: str, *, make: bool = True) -> int:
    """Open the directory that a name below /etc is in; only /etc itself is made."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(root / "etc", 0o755)
    directory = os.open(root / "etc", _DIRECTORY)
    for part in Path(name).parent.parts:
        try:
            following = os.open(part, _DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = following
    return directory


def _has(directory: int, name: str) -> bool:
    """Tell whether there is anything but an empty file, as ``docker export`` leaves in place of its own."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(status.st_mode) or status.st_size > 0


def _takes(directory: int, name: str) -> bool:
    """Tell whether there is a file to mount on, or one can be made by this user."""
    return os.access(".", os.W_OK, dir_fd=directory) or os.access(name, os.F_OK, dir_fd=directory)


def _put(directory: int, name: str, content: str, *, is_link: bool) -> None:
    if name in _KEPT and _has(directory, name):
        return
    partial = f".{name}.{os.getpid()}.{threading.get_ident()}"
    if is_link:
        if _link(directory, name) == content:
            return
        os.symlink(content, partial, dir_fd=directory)
    else:
        if _text(directory, name, len(content)) == content:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o644, dir_fd=directory), "w", encoding="ascii") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
    try:
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(partial, dir_fd=directory)
        raise


def _link(directory: int, name: str) -> str | None:
    with suppress(OSError):
        return os.readlink(name, dir_fd=directory)
    return None


def _text(directory: int, name: str, length: int) -> str | None:
    """Return what a file has, up to one byte more than `length`; None where there is no such file."""
    with suppress(OSError, UnicodeDecodeError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.read(descriptor, length + 1).decode("ascii")
        finally:
            os.close(descriptor)
    return None

"""File systems in sparse files without a name, on loop devices that go with their last user (loop(4))."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ...errors import AtCapacityError, InternalServerError, UnsupportedError

__all__ = ["LoopDisk", "LoopDisks", "disk_usage"]

_CONTROL: Final = "/dev/loop-control"
_MAKE: Final = "mkfs.ext4"
# Also where an ordinary PATH does not lead.
_PROGRAMS: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_BLOCK: Final = 4096
_MAKE_OPTIONS: Final = (
    *("-q", "-F", "-b", str(_BLOCK), "-m", "0"),
    # A file for each 8 KiB: trees of packages have small ones.
    *("-I", "256", "-i", "8192"),
    # What was on it is of no use after a crash of the host, so that there is no journal.
    *("-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"),
)
# linux/loop.h
_CTL_GET_FREE: Final = 0x4C82
_CONFIGURE: Final = 0x4C0A
_AUTOCLEAR: Final = 4
_DIRECT_IO: Final = 16
_CONFIG: Final = struct.Struct("=II 52x I 240x")
"""``struct loop_config``: the file, the size of a block, and the flags of its ``struct loop_info64``."""
_TRIES: Final = 64
# linux/fs.h: FS_IOC_SHUTDOWN, and to leave unwritten what is not written.
_SHUTDOWN: Final = 0x8004587D
_WITHOUT_FLUSH: Final = struct.pack("=I", 2)
_KEPT_FREE: Final = 256 * 1024 * 1024
"""Bytes of the host's file system that no disk is promised: the orchestrator's own state is on it."""


class LoopDisk:
    """A file system that nobody else sees, as long as a descriptor is open on it.

    Args:
        size: Its size in bytes.

    Attributes:
        size: Its size in bytes.
        device: Descriptor of its device, until it has been mounted; -1 after that.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.device = -1
        self._image = -1

    @property
    def promised(self) -> int:
        """Bytes that it may still come to take of the host's file system."""
        taken = os.fstat(self._image).st_blocks * 512 if self._image >= 0 else 0
        return max(self.size - taken, 0)

    def make(self, directory: Path) -> None:
        """Make it and attach it to a device. Blocking. It must be closed where this fails, too."""
        with tempfile.TemporaryFile(dir=directory) as image:
            self._image = os.dup(image.fileno())
        os.ftruncate(self._image, self.size)
        made = subprocess.run(
            [_program(), *_MAKE_OPTIONS, f"/proc/self/fd/{self._image}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(self._image,),
            check=False,
        )
        if made.returncode != 0:
            said = made.stderr.decode(errors="replace").strip()
            raise InternalServerError(f"{_MAKE} made no disk of {self.size} bytes: {said}")
        self.device = _attached(self._image)

    def mounted(self) -> None:
        """Say that it has been mounted: its device is no longer needed here."""
        if self.device >= 0:
            os.close(self.device)
            self.device = -1

    def close(self, tree: int = -1) -> None:
        """Give it up, and what is not written yet with it. Blocking.

        Args:
            tree: Descriptor of a directory on it, which is closed; -1 for none.
        """
        self.mounted()
        if tree >= 0:
            with suppress(OSError):
                fcntl.ioctl(tree, _SHUTDOWN, _WITHOUT_FLUSH)
            os.close(tree)
        if self._image >= 0:
            os.close(self._image)
            self._image = -1


class LoopDisks:
    """The disks of one orchestrator, which together are promised no more than there is.

    Args:
        directory: Where their files are, as long as they have names.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._disks: set[LoopDisk] = set()

    @staticmethod
    def obstacle() -> str:
        """Return what this host lacks for them; empty where it lacks nothing."""
        try:
            with _control() as control:
                os.stat(_free(control))
        except OSError as error:
            return f"this host gives no loop devices: {error.filename or _CONTROL}: {error.strerror}"
        if shutil.which(_MAKE, path=_PROGRAMS) is None:
            return f"there is no {_MAKE} (on Debian: apt-get install e2fsprogs)"
        return ""

    def promise(self, size: int) -> LoopDisk:
        """Return a disk that has not been made yet.

        Raises:
            UnsupportedError: This host cannot make any.
            AtCapacityError: The host's file system has no room for one of this size.
        """
        if obstacle := self.obstacle():
            raise UnsupportedError(f"disk_mb cannot be enforced: {obstacle}")
        there = os.statvfs(self._directory)
        room = there.f_bavail * there.f_frsize - sum(disk.promised for disk in self._disks) - _KEPT_FREE
        if size > room:
            left = max(room, 0) >> 20
            raise AtCapacityError(f"there is no room for a disk of {size >> 20} MiB: {left} MiB are left")
        disk = LoopDisk(size)
        self._disks.add(disk)
        return disk

    def make(self, disk: LoopDisk) -> None:
        """Make a disk that was promised. Blocking."""
        disk.make(self._directory)

    def forget(self, disk: LoopDisk) -> None:
        """Promise the room of a disk, which is about to be closed, to others."""
        self._disks.discard(disk)


def disk_usage(tree: int | str) -> tuple[int, int]:
    """Return the bytes that are used on a file system, and those that it has.

    Args:
        tree: Descriptor or path of a directory on it.
    """
    there = os.statvfs(tree)
    return (there.f_blocks - there.f_bfree) * there.f_frsize, there.f_blocks * there.f_frsize


@contextmanager
def _control() -> Iterator[int]:
    descriptor = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _free(control: int) -> str:
    """Return the path of a device that nobody used just now."""
    return f"/dev/loop{fcntl.ioctl(control, _CTL_GET_FREE)}"


def _program() -> str:
    return shutil.which(_MAKE, path=_PROGRAMS) or _MAKE


def _attached(image: int) -> int:
    """Return a descriptor of a loop device that has a file, and is free again once nothing has it open."""
    config = _CONFIG.pack(image, _BLOCK, _AUTOCLEAR | _DIRECT_IO)
    with _control() as control:
        for _ in range(_TRIES):
            device = os.open(_free(control), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                # Somebody else has taken it meanwhile.
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device
    raise InternalServerError("no loop device could be had: others take them as fast as they become free")

"""The disk of a sandbox: a file system of its own for its writable layer, which its start bounds."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from ....errors import InternalServerError, InvalidArgumentError, UnsupportedError
from ...cancellation import completed
from ...linux.limits import MIB
from ...linux.loop_disk import LoopDisk, LoopDisks, disk_usage
from . import bwrap

__all__ = ["Disk", "Disks", "obstacle"]

# A file for each 8 KiB, as on a loop device.
_FILES_A_MIB: Final = 128


class Disk:
    """One disk, on a loop device or in memory.

    Args:
        size: Its size in bytes.
        loop: Where it is; None for one in memory.

    Attributes:
        loop: Where it is; None for one in memory.
        tree: Descriptor of its root directory, once it is mounted: it stays for as long.
    """

    def __init__(self, size: int, loop: LoopDisk | None) -> None:
        self._size = size
        self.loop = loop
        self.tree = -1
        self._place = self._outside = ""

    @property
    def descriptors(self) -> dict[int, int]:
        """What the process that mounts it has to have open, by number."""
        return {} if self.loop is None else {bwrap.DISK_FD: self.loop.device}

    def step(self, place: str, owner: int | None) -> list[str]:
        """Return the step of ``guest/launch.c`` that mounts it.

        Args:
            place: Where.
            owner: Whose the directories of the layer are; None for the user who mounts it.
        """
        self._place, whose = place, "" if owner is None else str(owner)
        if self.loop is not None:
            return ["disk", str(bwrap.DISK_FD), place, "noinit_itable", whose]
        files = self._size // MIB * _FILES_A_MIB
        return ["disk", "", place, f"mode=755,size={self._size},nr_inodes={files}", whose]

    def take_hold(self, pid: int) -> None:
        """Have it stay until it is closed, by way of a process that sees where it was mounted.

        Raises:
            InternalServerError: The process has ended.
        """
        self._outside = f"/proc/{pid}/root{self._place}"
        try:
            self.tree = os.open(self._outside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InternalServerError(f"the sandbox's disk cannot be reached: {error.strerror}") from error
        if self.loop is not None:
            self.loop.mounted()

    def usage(self) -> tuple[int, int]:
        """Return the bytes that are used on it, and those that it has."""
        return disk_usage(self.tree)

    def upper(self, *, here: bool) -> Path:
        """Return the writable layer: by a path of this process, or one of any while the sandbox runs."""
        return Path(f"/proc/self/fd/{self.tree}" if here else self._outside, "upper")

    def show_in(self, layer: Path) -> None:
        """Show its writable layer in a directory, for as long as this process keeps the disk."""
        os.symlink(f"/proc/{os.getpid()}/fd/{self.tree}/upper", layer / "upper")

    def close(self) -> None:
        """Give it up. Blocking."""
        tree, self.tree = self.tree, -1
        if self.loop is not None:
            self.loop.close(tree)
        elif tree >= 0:
            os.close(tree)


class Disks:
    """Makes the disks of sandboxes.

    Args:
        directory: Where the files of those on loop devices are, as long as they have names.
        in_memory: Whether they are in memory, since this user can mount nothing else.
    """

    def __init__(self, directory: Path, *, in_memory: bool) -> None:
        self._loops = None if in_memory else LoopDisks(directory)
        # Of a file system with many files it takes seconds, for which nobody is to wait.
        self._closing = ThreadPoolExecutor(1, "disks")

    async def make(self, disk_mb: int, memory_bytes: int) -> Disk:
        """Return a disk that can be mounted.

        Args:
            disk_mb: Its size in MiB.
            memory_bytes: The memory limit of its sandbox.

        Raises:
            UnsupportedError: This host cannot make any.
            InvalidArgumentError: It would be in memory, and greater than that may be.
            AtCapacityError: The host has no room for it.
        """
        if self._loops is not None:
            loop = self._loops.promise(disk_mb * MIB)
            disk = Disk(disk_mb * MIB, loop)
            try:
                await completed(asyncio.to_thread(self._loops.make, loop))
            except BaseException:
                self.give_up(disk)
                raise
            return disk
        if missing := obstacle(in_memory=True):
            raise UnsupportedError(f"disk_mb cannot be enforced: {missing}")
        if disk_mb * MIB >= memory_bytes:
            raise InvalidArgumentError(
                f"disk_mb must be less than memory_mb, {memory_bytes // MIB}, not {disk_mb}: without root, "
                "what a sandbox writes lies in its memory"
            )
        return Disk(disk_mb * MIB, None)

    def give_up(self, disk: Disk) -> None:
        """Have a disk go, and all that is on it."""
        if self._loops is not None and disk.loop is not None:
            self._loops.forget(disk.loop)
        self._closing.submit(disk.close)

    def close(self) -> None:
        """Wait until all are gone that were given up. Blocking."""
        self._closing.shutdown()


def obstacle(*, in_memory: bool) -> str:
    """Return what this host lacks for disks; empty where it lacks nothing."""
    if not in_memory:
        return LoopDisks.obstacle()
    file = os.memfd_create("probe")
    try:
        # What overlayfs notes down of an ordinary user's files (tmpfs has them since Linux 6.6).
        os.setxattr(file, "user.probe", b"")
    except OSError as error:
        return f"a file system in memory keeps no extended attributes before Linux 6.6: {error.strerror}"
    finally:
        os.close(file)
    return ""

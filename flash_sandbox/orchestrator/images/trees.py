"""Unpacked root file systems, each under the digest of what made it.

Whoever uses one holds a shared lock on its directory; it is removed only by whoever gets the exclusive one.
So one in use is safe from every process, and one whose user was killed is not kept for ever.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..sandboxing.tree_walk import remove_tree
from .locks import is_still

__all__ = ["Lease", "Tree", "Trees"]

_TREE: Final = "tree"
_SIZE: Final = "size"


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked root file system.

    Attributes:
        chain: Digest of what made it.
        size: Bytes of its files.
        last_used: Seconds since the epoch.
        in_use: Whether somebody holds a lease.
    """

    chain: str
    size: int
    last_used: float
    in_use: bool


class Lease:
    """A root file system that stays where it is until `release` is called, or this process ends."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.rootfs: Final = directory / _TREE
        self._directory = directory
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it be evicted. Twice does no more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.utime(self._directory)
            # Unlocked by name: a process that was forked meanwhile would keep it locked otherwise.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


class Trees:
    """The directory of root file systems."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._trash = directory / "trash"

    def open(self) -> None:
        """Make ready, and remove what somebody who was killed was removing."""
        self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._empty_trash()

    def lease(self, chain: str) -> Lease | None:
        """Take one into use; None where it is not there."""
        directory = self._path(chain)
        while True:
            try:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            # Waits for no more than the moment in which somebody renames it.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if is_still(descriptor, directory):
                os.utime(directory)
                return Lease(directory, descriptor)
            os.close(descriptor)

    def make(self, chain: str, fill: Callable[[Path], int]) -> Lease:
        """Make one and take it into use. Only for whoever holds the lock for its name.

        Args:
            chain: Digest of what makes it.
            fill: Fills an empty directory and returns the bytes of its files.
        """
        building = self._directory / f"{_hex(chain)}.partial"
        remove_tree(building)
        building.mkdir(mode=0o755)
        try:
            tree = building / _TREE
            tree.mkdir()
            tree.chmod(0o755)
            (building / _SIZE).write_text(str(fill(tree)))
            # Locked before it has its name, so that nobody evicts it between.
            descriptor = os.open(building, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            building.rename(self._path(chain))
        except BaseException:
            remove_tree(building)
            raise
        return Lease(self._path(chain), descriptor)

    def remove_unfinished(self, chain: str) -> None:
        """Remove what is left of an unpacking. Only for whoever holds the lock for its name."""
        remove_tree(self._directory / f"{_hex(chain)}.partial")

    def unfinished(self) -> list[str]:
        """Return which ones are being made, or were when somebody was killed."""
        return [f"sha256:{path.stem}" for path in self._directory.glob("*.partial")]

    def list(self) -> list[Tree]:
        """Return all that are whole."""
        found = []
        for directory in self._directory.iterdir():
            try:
                if directory.suffix or directory == self._trash:
                    continue
                size = int((directory / _SIZE).read_text())
                last_used = directory.stat().st_mtime
            except (OSError, ValueError):
                continue
            found.append(Tree(f"sha256:{directory.name}", size, last_used, _is_locked(directory)))
        return found

    def remove(self, chain: str) -> bool:
        """Remove one that nobody uses; tell whether it is gone."""
        directory = self._path(chain)
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_still(descriptor, directory):
                directory.rename(self._trash / secrets.token_hex(8))
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        self._empty_trash()
        return True

    def _empty_trash(self) -> None:
        for directory in self._trash.iterdir():
            # What cannot be removed now is for the next time.
            with suppress(OSError):
                remove_tree(directory)

    def _path(self, chain: str) -> Path:
        return self._directory / _hex(chain)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _is_locked(directory: Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

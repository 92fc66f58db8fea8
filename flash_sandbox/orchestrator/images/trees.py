"""Unpacked root file systems, each under the digest of what made it.

Where sandboxes have a range of user IDs, files keep the owners that the image gives them, and the name of
a tree's directory has the range in it. Where a sandbox has one user, its root, all files are root's, and the
name is the digest alone. Such a tree can be used where there is a range, too.

Whoever uses one holds a shared lock on its directory; it is removed only by whoever gets the exclusive one.
So one in use is safe from every process, and one whose user was killed is not kept for ever.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from ..linux.locks import is_still
from ..linux.tree_walk import remove_tree
from ..linux.user_ids import UserIds

__all__ = ["Lease", "Tree", "Trees"]

_TREE: Final = "tree"
_SIZE: Final = "size"
_PARTIAL: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked root file system, or a layer that lies over some.

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
    """The directory of root file systems.

    Args:
        directory: The directory.
        user_ids: Whose files in it can be.
    """

    def __init__(self, directory: Path, user_ids: UserIds) -> None:
        self._directory = directory
        self._trash = directory / "trash"
        self._user_ids = user_ids

    def open(self) -> None:
        """Make ready, and remove what somebody who was killed was removing."""
        self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._empty_trash()

    def lease(self, chain: str) -> Lease | None:
        """Take one into use; None where it is not there."""
        for directory in self._paths(chain):
            lease = _lease(directory)
            if lease is not None:
                return lease
        return None

    def make(self, chain: str, fill: Callable[[Path], int]) -> Lease:
        """Make one and take it into use. Only for whoever holds the lock for its name.

        Args:
            chain: Digest of what it is made of.
            fill: Fills an empty directory, and returns the bytes of its files.
        """
        target = next(self._paths(chain))
        building = _partial(target)
        self._remove(building)
        building.mkdir(mode=0o755)
        try:
            tree = building / _TREE
            tree.mkdir()
            tree.chmod(0o755)
            (building / _SIZE).write_text(str(fill(tree)))
            # Locked before it has its name, so that nobody evicts it between.
            descriptor = os.open(building, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            building.rename(target)
        except BaseException:
            self._remove(building)
            raise
        return Lease(target, descriptor)

    def remove_unfinished(self, chain: str) -> None:
        """Remove what is left of an unpacking. Only for whoever holds the lock for its name."""
        for directory in self._paths(chain):
            self._remove(_partial(directory))

    def unfinished(self) -> list[str]:
        """Return which ones are being made, or were when somebody was killed."""
        return [_chain(path) for path in self._directory.glob(f"*{_PARTIAL}")]

    def list(self) -> list[Tree]:
        """Return all that are whole, and that can be used here."""
        found: dict[str, Tree] = {}
        for directory in self._directory.iterdir():
            chain = _chain(directory)
            try:
                if directory not in self._paths(chain):
                    continue
                size = int((directory / _SIZE).read_text())
                last_used = directory.stat().st_mtime
                other = found.get(chain, Tree(chain, 0, 0.0, False))
                in_use = _is_locked(directory) or other.in_use
            except (OSError, ValueError):
                continue
            found[chain] = Tree(chain, size + other.size, max(last_used, other.last_used), in_use)
        return list(found.values())

    def remove(self, chain: str) -> bool:
        """Remove one that nobody uses; tell whether it is gone."""
        gone = all(self._throw_away(directory) for directory in self._paths(chain))
        self._empty_trash()
        return gone

    def _throw_away(self, directory: Path) -> bool:
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
        return True

    def _empty_trash(self) -> None:
        for directory in self._trash.iterdir():
            # What cannot be removed now is for the next time.
            with suppress(OSError, InternalServerError):
                self._remove(directory)

    def _remove(self, directory: Path) -> None:
        self._user_ids.work.run(remove_tree, directory)

    def _paths(self, chain: str) -> Iterator[Path]:
        """Yield where one may be: first where it is made."""
        name = chain.removeprefix("sha256:")
        if self._user_ids.of_images is not None:
            yield self._directory / f"{name}.{self._user_ids.mark}"
        yield self._directory / name


def _chain(directory: Path) -> str:
    return "sha256:" + directory.name.partition(".")[0]


def _partial(directory: Path) -> Path:
    return directory.with_name(directory.name + _PARTIAL)


def _lease(directory: Path) -> Lease | None:
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


def _is_locked(directory: Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

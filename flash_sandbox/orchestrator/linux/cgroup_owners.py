"""Who owns which cgroups.

Every orchestrator makes its cgroups below one of its own, and keeps that one locked (flock(2)) as long as it
lives. Every process that sees the directory sees the lock, in whatever namespaces it is, and the kernel gives
it up with its owner. A process ID would say nothing: each PID namespace counts for itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import cgroup_files as files
from .locks import is_still

__all__ = ["Held", "end_leftover", "leftovers", "new_owner"]


def new_owner() -> str:
    """Return a name for an owner that no other one has."""
    return secrets.token_hex(12)


class Held:
    """The cgroups that one orchestrator holds."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def take(self, directory: Path) -> None:
        """Make a cgroup, where it is missing, and hold it. Idempotent.

        Raises:
            OSError: It cannot be made.
        """
        descriptor = self._descriptors.get(directory)
        if descriptor is not None:
            if is_still(descriptor, directory):
                return
            # Somebody removed it.
            os.close(self._descriptors.pop(directory))
        files.persistently(lambda: self._take(directory))

    def release(self) -> None:
        """Hold nothing any more."""
        while self._descriptors:
            _, descriptor = self._descriptors.popitem()
            # Unlocked by name: a process that was forked meanwhile would keep it locked otherwise.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _take(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Waits for no longer than somebody takes to remove it, who has taken it for left over.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not is_still(descriptor, directory):
                raise FileNotFoundError(directory)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptors[directory] = descriptor


@contextmanager
def leftovers(families: Iterable[Path]) -> Iterator[list[Path]]:
    """Give the cgroups of owners that are gone, held for the length of the block."""
    found: dict[Path, int] = {}
    try:
        for family in families:
            with suppress(FileNotFoundError):
                found.update(_unheld(family))
        yield list(found)
    finally:
        for descriptor in found.values():
            os.close(descriptor)


def _unheld(family: Path) -> Iterator[tuple[Path, int]]:
    for owner in family.iterdir():
        if not owner.is_dir():
            continue
        with suppress(OSError):
            descriptor = os.open(owner, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
            else:
                yield owner, descriptor


def end_leftover(owner: Path) -> None:
    """End what is in a cgroup that nobody owns any more and remove it, as far as that is done soon."""
    deadline = time.monotonic() + files.PATIENCE_SECONDS
    while not files.remove_tree(owner) and time.monotonic() < deadline:
        pids = files.pids(owner)
        try:
            files.write(owner / "cgroup.kill", "1")
        except OSError:
            # Version 1, or before Linux 5.14. What is in another PID namespace has no number here, but ends
            # with that.
            if pids and not any(pids):
                return
            files.kill(pids)
        time.sleep(0.005)

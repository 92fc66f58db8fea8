"""User and group IDs for sandboxes that root starts: each gets a range, which owns nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import AtCapacityError
from .id_range import IDS, IdRange
from .locks import try_lock

__all__ = ["UserPool", "can_have_ranges", "missing_capabilities", "user_pool"]

# Above the ranges that systemd lists as used by anything (uid-gid.md: containers end at 0x6FFFFFFF), and what
# is no ID: 2**32 - 1.
_FIRST: Final = 0x74000000
_BLOCKS: Final = 544
_SANDBOXES: Final = 64
_BLOCK: Final = _SANDBOXES * IDS
_LOCKS: Final = Path("/run/flash-sandbox/users")
# What root does for its sandboxes: give files away, join namespaces, mount, signal (capabilities(7)).
_NEEDED: Final = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SYS_CHROOT": 18,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
}


def user_pool() -> UserPool | None:
    """Return the IDs for sandboxes, or None where this process cannot become another user."""
    return UserPool() if can_have_ranges() else None


def can_have_ranges() -> bool:
    """Tell whether this process can become any user, and so give each sandbox IDs of its own."""
    return os.geteuid() == 0 and _is_mapped(_FIRST, _BLOCKS * _BLOCK)


def missing_capabilities() -> list[str]:
    """Return the capabilities that this process lacks to run sandboxes as users of their own.

    An ordinary user, whose sandboxes all are that user's, needs none.
    """
    if not can_have_ranges():
        return []
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return [f"CAP_{name}" for name, number in _NEEDED.items() if not effective >> number & 1]


def _is_mapped(first: int, count: int) -> bool:
    """Tell whether this user namespace has these users: root's of one that a user made has fewer."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        begin, _, length = map(int, line.split())
        if begin <= first and first + count <= begin + length:
            return True
    return False


class UserPool:
    """Ranges of IDs, handed out one by one.

    They come in blocks. A block is this orchestrator's as long as it holds the lock of it.
    """

    def __init__(self) -> None:
        self._locks: dict[Path, int] = {}
        self._new_locks: list[int] = []
        self._unused: Iterator[int] = iter(())
        self._returned: list[int] = []

    def close(self) -> None:
        """Give up all blocks. Idempotent."""
        while self._locks:
            lock, descriptor = self._locks.popitem()
            lock.unlink(missing_ok=True)
            os.close(descriptor)

    def new_locks(self) -> list[int]:
        """Return the descriptors that hold locks taken since the last call, for the launcher to hold, too."""
        taken, self._new_locks = self._new_locks, []
        return taken

    def take(self) -> IdRange:
        """Return a range that no sandbox has; the one given back last, if any."""
        if self._returned:
            return IdRange(self._returned.pop())
        base = next(self._unused, None)
        if base is None:
            first = self._take_block()
            self._unused = iter(range(first, first + _BLOCK, IDS))
            base = next(self._unused)
        return IdRange(base)

    def give_back(self, ids: IdRange) -> None:
        """Take back the range of a sandbox that is gone."""
        self._returned.append(ids.base)

    def _take_block(self) -> int:
        """Lock a block and return its first ID.

        Without a directory for locks it is any block: those who do not see one another's locks hardly meet.
        """
        blocks = random.sample(range(_BLOCKS), _BLOCKS)
        with suppress(OSError):
            # Below here for orchestrators with the same /run, whatever else they share.
            _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
            for block in blocks:
                lock = _LOCKS / f"{_FIRST + block * _BLOCK:x}"
                if lock not in self._locks and (descriptor := try_lock(lock)) is not None:
                    self._locks[lock] = descriptor
                    self._new_locks.append(descriptor)
                    break
            else:
                raise AtCapacityError("sandboxes have all user IDs of this host that there are for them")
            return _FIRST + block * _BLOCK
        return _FIRST + blocks[0] * _BLOCK

"""Users for sandboxes that root starts: each gets one of its own, who owns nothing else."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import AtCapacityError
from ..images.locks import try_lock

__all__ = ["UserPool", "missing_capabilities", "user_pool"]

# Above the ranges that systemd lists as used by anything (uid-gid.md: containers end at 0x6FFFFFFF).
_FIRST: Final = 0x70000000
_EACH: Final = 4096
_POOLS: Final = 4096
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
    """Take a range of users for sandboxes, or return None where this process cannot become another user.

    The range is this orchestrator's as long as it holds the lock of it.
    """
    if not _can_be_others():
        return None
    with suppress(OSError):
        # Below here for orchestrators with the same /run, whatever else they share.
        _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_POOLS):
            first = _any_range()
            lock = _LOCKS / f"{first:x}"
            if (descriptor := try_lock(lock)) is not None:
                return UserPool(first, lock, descriptor)
    return UserPool(_any_range())


def _any_range() -> int:
    # By chance: those who do not see one another's locks hardly meet either.
    return _FIRST + secrets.randbelow(_POOLS) * _EACH


def _can_be_others() -> bool:
    return os.geteuid() == 0 and _is_mapped(_FIRST, _POOLS * _EACH)


def missing_capabilities() -> list[str]:
    """Return the capabilities that this process lacks to run sandboxes as users of their own.

    An ordinary user, whose sandboxes all are that user's, needs none.
    """
    if not _can_be_others():
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
    """Numbers of users, handed out one by one.

    Args:
        first: The first of them.
        lock: File whose lock says that they are taken; None where there is none.
        descriptor: Descriptor that holds the lock, for the launcher to hold, too; -1 for none.
    """

    def __init__(self, first: int, lock: Path | None = None, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        self._lock = lock
        self._unused = iter(range(first, first + _EACH))
        self._returned: list[int] = []

    def close(self) -> None:
        """Give up the range. Idempotent."""
        if self._lock is not None and self.descriptor >= 0:
            self._lock.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = -1

    def take(self) -> int:
        """Return a user that no sandbox has; the one given back last, if any."""
        if self._returned:
            return self._returned.pop()
        user = next(self._unused, None)
        if user is None:
            raise AtCapacityError(f"{_EACH} sandboxes run: there are no more users for them")
        return user

    def give_back(self, user: int) -> None:
        """Take back the user of a sandbox that is gone."""
        self._returned.append(user)

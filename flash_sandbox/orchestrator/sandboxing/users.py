"""Users for sandboxes that root starts: each gets one of its own, who owns nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ...errors import AtCapacityError

__all__ = ["UserPool", "missing_capabilities", "user_pool"]

# Above the ranges that systemd lists as used by anything (uid-gid.md: containers end at 0x6FFFFFFF).
_FIRST: Final = 0x70000000
_EACH: Final = 4096
_POOLS: Final = 4096
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
    """Return users for sandboxes, or None where this process cannot become another user."""
    first = _FIRST + os.getpid() % _POOLS * _EACH
    if os.geteuid() != 0 or not _is_mapped(first, _EACH):
        return None
    return UserPool(first)


def missing_capabilities() -> list[str]:
    """Return the capabilities that this process lacks to run sandboxes as users of their own.

    An ordinary user, whose sandboxes all are that user's, needs none.
    """
    if user_pool() is None:
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
    """Numbers of users, handed out one by one; each orchestrator has a range by its process ID."""

    def __init__(self, first: int) -> None:
        self._unused = iter(range(first, first + _EACH))
        self._returned: list[int] = []

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

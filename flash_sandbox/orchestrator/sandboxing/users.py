"""Users for sandboxes that root starts: each gets one of its own, who owns nothing else."""

from __future__ import annotations

import os
from typing import Final

from ...errors import AtCapacityError

__all__ = ["UserPool"]

# Above the ranges that systemd lists as used by anything (uid-gid.md: containers end at 0x6FFFFFFF).
_FIRST: Final = 0x70000000
_EACH: Final = 4096
_POOLS: Final = 4096


class UserPool:
    """Numbers of users, handed out one by one; each orchestrator has a range by its process ID."""

    def __init__(self) -> None:
        first = _FIRST + os.getpid() % _POOLS * _EACH
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

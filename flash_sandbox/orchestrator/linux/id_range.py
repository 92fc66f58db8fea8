"""Whose the files of a sandbox are, inside it and for this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["IDS", "IdRange"]

IDS: Final = 65536
"""User IDs of a sandbox that has a whole range, and group IDs."""

_NOBODY: Final = 65534


@dataclass(frozen=True, slots=True)
class IdRange:
    """The IDs of one sandbox's users and groups, as this process has them.

    Attributes:
        base: That of the sandbox's root. Its user N has the ID `base` + N.
        count: How many there are.
    """

    base: int
    count: int = IDS

    def outside(self, number: int) -> int:
        """Return the ID here of a user or group of the sandbox; that of nobody for one that it lacks."""
        return self.base + (number if 0 <= number < self.count else self._nobody)

    def inside(self, number: int) -> int:
        """Return the ID in the sandbox of a user or group here, likewise."""
        return number - self.base if self.base <= number < self.base + self.count else self._nobody

    @property
    def _nobody(self) -> int:
        return _NOBODY if self.count > _NOBODY else 0

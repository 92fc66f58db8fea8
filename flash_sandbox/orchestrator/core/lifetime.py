"""How long a sandbox lives, and how long it has been idle."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["Lifetime"]

_NOTICE_SECONDS: Final = 60.0
_NOTICE_SHARE: Final = 0.1
_LEAST_NOTICE_SECONDS: Final = 0.1
# How far the expiry that is in the database may lag behind, of the time that each use gives.
_LOOK_SHARE: Final = 0.1


@dataclass(slots=True)
class Lifetime:
    """When a sandbox expires.

    Times are in seconds of Unix time.

    Attributes:
        expires_at: When it expires; 0 for never.
        renewed: Seconds that it has, anew, from each use of it; 0 where use does not change `expires_at`.
        latest: When it expires at the latest, however much it is used.
        used_at: When a call used it last.
        calls: How many calls use it now.
        warned_of: The `expires_at` of which was told that it is near.
        next_look: When to look at it in any case; 0 for never.
    """

    expires_at: float = 0.0
    renewed: float = 0.0
    latest: float = math.inf
    used_at: float = 0.0
    calls: int = 0
    warned_of: float = 0.0
    next_look: float = 0.0
    _notice: float = 0.0

    def use(self) -> None:
        """Note that it is used now."""
        self.used_at = time.time()
        if self.renewed:
            self.expires_at = max(self.expires_at, min(self.used_at + self.renewed, self.latest))

    def expire_at(self, deadline: float, renewed: float = 0.0) -> None:
        """Have it expire at `deadline`, 0 for never; or later, `renewed` seconds after each use of it."""
        self.expires_at, self.renewed = deadline, renewed
        self.look_again()
        notice = min(_NOTICE_SECONDS, _NOTICE_SHARE * (deadline - time.time()))
        self._notice = notice if notice >= _LEAST_NOTICE_SECONDS else 0.0

    def look_again(self) -> None:
        """Set when to look at it next."""
        self.next_look = time.time() + _LOOK_SHARE * self.renewed if self.renewed else 0.0

    @property
    def due_at(self) -> float:
        """When it is to be looked at, warned of or ended; 0 for never."""
        is_warned = not self._notice or self.warned_of == self.expires_at
        return min(
            filter(None, (self.next_look, self.expires_at - (0 if is_warned else self._notice))), default=0.0
        )

    def is_due(self, now: float) -> bool:
        """Tell whether something is to be done about it at `now`."""
        return 0 < self.due_at <= now

    def is_ending(self, now: float) -> bool:
        """Tell whether its end is near at `now`, and nobody was told so."""
        return self.warned_of != self.expires_at and 0 < self.expires_at - self._notice <= now

    def has_expired(self, now: float) -> bool:
        """Tell whether it has expired at `now`."""
        return 0 < self.expires_at <= now

"""How long a sandbox lives, and how long it has been idle."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Lifetime"]

_NOTICE_SECONDS: Final = 60.0
_NOTICE_SHARE: Final = 0.1
_LEAST_NOTICE_SECONDS: Final = 0.1
# How far the expiry that is in the database may lag behind, of the time that each use gives.
_LOOK_SHARE: Final = 0.1
# Of a core: gVisor's kernel needs some of that by itself.
_IDLE_CPU: Final = 0.01
# Two readings at least are within the time.
_IDLE_SHARE: Final = 0.55


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
        noted: The `expires_at` that is in the database.
        next_look: When to look at it in any case; 0 for never.
        idle_timeout: Seconds after which it is idle; 0 for never.
        active_at: When it was not idle last.
    """

    expires_at: float = 0.0
    renewed: float = 0.0
    latest: float = math.inf
    used_at: float = 0.0
    calls: int = 0
    warned_of: float = 0.0
    noted: float = 0.0
    next_look: float = 0.0
    idle_timeout: float = 0.0
    active_at: float = field(default_factory=time.time)
    _notice: float = 0.0
    _measured: tuple[float, float, int] = (0.0, 0.0, 0)

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

    def look_again(self, *, is_running: bool = True) -> None:
        """Set when to look at it next."""
        now = time.time()
        looks = [now + _LOOK_SHARE * self.renewed] if self.renewed else []
        if self.idle_timeout and is_running:
            idle_at = max(self.active_at, self.used_at) + self.idle_timeout
            looks.append(min(now + _IDLE_SHARE * self.idle_timeout, idle_at if idle_at > now else math.inf))
        self.next_look = min(looks, default=0.0)

    def is_idle(self, cpu_seconds: float, heard: int) -> bool:
        """Tell whether it has been idle for its time, by what it has done since it was asked last.

        Args:
            cpu_seconds: CPU time that it has used.
            heard: How many messages its programs have sent.
        """
        now = time.time()
        then, cpu_before, heard_before = self._measured
        self._measured = (now, cpu_seconds, heard)
        # What was done while a call used it was done for that.
        works = heard != heard_before or cpu_seconds - cpu_before > _IDLE_CPU * (now - then)
        if self.calls or (works and self.used_at <= then):
            self.active_at = now
        self.active_at = max(self.active_at, self.used_at)
        return now - self.active_at >= self.idle_timeout

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

"""How many connections there may be at both front doors, for how long, and which of them is served first.

A connection is *unproven* until a front door says that its caller may call. All unproven ones together have a
share of the event loop's time, and of the connections: where there are too many, the oldest one of the
address that has most of them is closed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .connection import Connection
    from .peers import Socket

__all__ = ["Connections"]

_FEWEST: Final = 64
_MOST: Final = 16_384
_SWEEP_SECONDS: Final = 1.0

# Of the time of the event loop, while others are served: what unproven connections may take, how much of it
# they may save up, and how much they may take at a stretch.
_SHARE: Final = 0.25
_SAVED_SECONDS: Final = 0.02
_TURN_SECONDS: Final = 0.001
# Others are being served who have sent something since.
_BUSY_SECONDS: Final = 0.25

_Address = Sequence[Any]


class Connections:
    """The connections of one orchestrator.

    Args:
        trusts: Tells whether a connection may do without a key, from its socket. It is asked once a
            connection, before the first call on it that needs a key.
        most: How many there may be at a time; None for half of the descriptors that this process may open.
            Unproven ones may be half of that.
    """

    def __init__(self, trusts: Callable[[Socket | None], bool], most: int | None = None) -> None:
        self.trusts = trusts
        self._most = _most_connections() if most is None else most
        self._all: set[Connection] = set()
        # By address, the oldest first.
        self._unproven: dict[object, dict[Connection, None]] = {}
        self._unproven_count = 0
        self._turns = _Turns()
        self._sweeper: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection) -> bool:
        """Keep a new connection, in the place of an unproven one where there are too many; tell whether."""
        if self._unproven_count >= self._most // 2 or len(self._all) >= self._most:
            self._evict()
        if len(self._all) >= self._most:
            return False
        self._all.add(connection)
        self._unproven.setdefault(_origin(connection.peer), {})[connection] = None
        self._unproven_count += 1
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
        return True

    def note_proven(self, connection: Connection) -> None:
        """Keep a connection, however many there are, and serve it at once from now on."""
        origin = _origin(connection.peer)
        of_origin = self._unproven.get(origin, {})
        if connection in of_origin:
            del of_origin[connection]
            self._unproven_count -= 1
            if not of_origin:
                del self._unproven[origin]

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self.note_proven(connection)
        self._all.discard(connection)

    def take_turn(self, connection: Connection) -> None:
        """Let an unproven connection hand on a piece of what it has received, at once or in its turn."""
        self._turns.take(connection)

    def note_use(self) -> None:
        """Note that a proven connection is in use."""
        self._turns.busy_until = time.monotonic() + _BUSY_SECONDS

    def close_silent(self) -> None:
        """Close the connections on which nothing has come."""
        for connection in tuple(self._all):
            if connection.is_silent:
                connection.abort()

    def _evict(self) -> None:
        if self._unproven:
            largest = max(self._unproven.values(), key=lambda connections: len(connections))
            next(iter(largest)).abort()

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in tuple(self._all):
            if connection.deadline <= now:
                connection.expire(now)
        self._sweeper = None
        if self._all:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)


class _Turns:
    """Who may hand on what it has received, one after the other, and when.

    Attributes:
        busy_until: Until when (`time.monotonic`) the turns may take but a share of the time.
    """

    def __init__(self) -> None:
        self.busy_until = -math.inf
        self._waiting: deque[Connection] = deque()
        self._seconds = _SAVED_SECONDS
        self._counted = time.monotonic()
        self._is_due = False

    def take(self, connection: Connection) -> None:
        """Let a connection hand on a piece, at once or when its turn comes."""
        is_due_now = not self._is_due and self._left(time.monotonic()) > 0
        if is_due_now and not self._run(connection):
            return
        self._waiting.append(connection)
        self._plan()

    def _left(self, now: float) -> float:
        share = _SHARE if now < self.busy_until else 1.0
        self._seconds = min(self._seconds + (now - self._counted) * share, _SAVED_SECONDS)
        self._counted = now
        return self._seconds

    def _run(self, connection: Connection) -> bool:
        began = time.monotonic()
        has_more = connection.hand_on()
        self._seconds -= time.monotonic() - began
        return has_more

    def _plan(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(max(0.0, -self._seconds / _SHARE), self._turn)

    def _turn(self) -> None:
        self._is_due = False
        now = time.monotonic()
        end = now + _TURN_SECONDS
        while self._waiting and now < end and self._left(now) > 0:
            connection = self._waiting.popleft()
            if self._run(connection):
                self._waiting.append(connection)
            now = time.monotonic()
        if self._waiting:
            self._plan()


def _origin(peer: _Address | None) -> object:
    """Return what connections are counted by: an IPv4 address; of IPv6, the network of 64 bits that one
    has."""
    try:
        address = ipaddress.ip_address(str((peer or ("",))[0]).partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return int(address) >> 64
    return address


def _most_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _MOST
    return min(max(descriptors // 2, _FEWEST), _MOST)

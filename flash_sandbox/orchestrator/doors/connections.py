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
import socket
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .connection import Connection
    from .peers import Socket

__all__ = ["BACKLOG", "Connections", "notice_dead_peers", "origin_of"]

BACKLOG: Final = 1024
"""How many connections the kernel keeps until they are accepted; what is above waits a second and more."""

_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))

_FEWEST: Final = 64
# A protocol and what it keeps of a request that has not come to its end take some 40 KiB.
_MOST_BEGUN: Final = 1000
# How many a second may lose their place to others: else they would drive each other out for ever.
_EVICTIONS_PER_SECOND: Final = 100.0
_EVICTIONS_AT_ONCE: Final = 20.0
# What may wait for its turn.
_MOST_KEPT_BYTES: Final = 8 * 1024 * 1024
_MOST: Final = 16_384
_SWEEP_SECONDS: Final = 1.0

# Of the time of the event loop, while others are served: what unproven connections may take, how much of it
# they may save up, and how much they may take at a stretch.
_SHARE: Final = 0.5
_SAVED_SECONDS: Final = 0.02
_TURN_SECONDS: Final = 0.001
# Others are being served who have sent something since.
_BUSY_SECONDS: Final = 0.25


class Connections:
    """The connections of one orchestrator.

    Args:
        trusts: Tells whether a connection may do without a key, from its socket. It is asked once a
            connection, before the first call on it that needs a key.
        most: How many there may be at a time; None for half of the descriptors that this process may open.
            Unproven ones may be half of that, and a thousand once something has come on them.
        request_seconds: How long a connection may take until its first request, a request until the end of
            its head, and a caller that may not call until it has taken its answer.
        idle_seconds: How long a connection may be idle on which only such was answered as needs no key.
    """

    def __init__(
        self,
        trusts: Callable[[Socket | None], bool],
        most: int | None = None,
        request_seconds: float = 20.0,
        idle_seconds: float = 75.0,
    ) -> None:
        self.trusts = trusts
        self.request_seconds = request_seconds
        self.idle_seconds = idle_seconds
        self._sweep_seconds = min(_SWEEP_SECONDS, request_seconds / 2)
        self._most = _most_connections() if most is None else most
        self._all: set[Connection] = set()
        self._silent = _Unproven(self._most // 2)
        self._begun = _Unproven(min(self._most // 2, _MOST_BEGUN))
        self._turns = _Turns(self._begun)
        self._sweeper: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection) -> bool:
        """Keep a new connection, in the place of an unproven one where there are too many; tell whether."""
        self._silent.make_room()
        if len(self._all) >= self._most and not (self._silent.evict() or self._begun.evict()):
            return False
        self._all.add(connection)
        self._silent.add(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_seconds, self._sweep)
        return True

    def note_proven(self, connection: Connection) -> None:
        """Keep a connection, however many there are, and serve it at once from now on."""
        self._turns.give_back(connection.seconds)
        if self._turns.leave(connection):
            connection.go_on()
        self._remove(connection)

    def note_begun(self, connection: Connection) -> None:
        """Note that something has come on a connection, which takes more memory from now on."""
        self._silent.remove(connection)
        self._begun.add(connection)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._turns.leave(connection)
        self._remove(connection)
        self._all.discard(connection)

    def take_turn(self, connection: Connection) -> None:
        """Let an unproven connection hand on a piece of what it has received, at once or in its turn."""
        self._turns.take(connection)

    def note_use(self) -> None:
        """Note that a proven connection is in use."""
        self._turns.busy_until = time.monotonic() + _BUSY_SECONDS

    def abort_all(self) -> None:
        """Close all at once."""
        for connection in tuple(self._all):
            connection.abort()

    def close_silent(self) -> None:
        """Close the connections on which nothing has come."""
        for connection in tuple(self._all):
            if connection.is_silent:
                connection.abort()

    def _remove(self, connection: Connection) -> None:
        self._silent.remove(connection)
        self._begun.remove(connection)

    def _sweep(self) -> None:
        # Planned first, so that it comes whatever one of them raises.
        self._sweeper = None
        if self._all:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_seconds, self._sweep)
        now = time.monotonic()
        for connection in tuple(self._all):
            if connection.deadline <= now:
                connection.expire(now)


class _Unproven:
    """Unproven connections of a kind, by address, the oldest first.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._by_origin: dict[object, dict[Connection, None]] = {}
        # The addresses by how many each has: there may be as many addresses as connections.
        self._by_size: dict[int, dict[object, None]] = {}
        self._largest = 0
        self._evictions = _EVICTIONS_AT_ONCE
        self._counted = time.monotonic()

    def add(self, connection: Connection) -> None:
        """Add one."""
        of_origin = self._by_origin.setdefault(connection.origin, {})
        of_origin[connection] = None
        self._count += 1
        self._note_size(connection.origin, len(of_origin) - 1, len(of_origin))
        self._largest = max(self._largest, len(of_origin))

    def remove(self, connection: Connection) -> None:
        """Remove one, if it is there."""
        of_origin = self._by_origin.get(connection.origin, {})
        if connection in of_origin:
            del of_origin[connection]
            self._count -= 1
            self._note_size(connection.origin, len(of_origin) + 1, len(of_origin))
            if not of_origin:
                del self._by_origin[connection.origin]
            while self._largest and self._largest not in self._by_size:
                self._largest -= 1

    def _note_size(self, origin: object, before: int, size: int) -> None:
        alike = self._by_size.get(before, {})
        alike.pop(origin, None)
        if not alike:
            self._by_size.pop(before, None)
        if size:
            self._by_size.setdefault(size, {})[origin] = None

    def make_room(self) -> None:
        """Close connections until there is room for one more."""
        while self._count >= self._most and self.evict():
            pass

    def has_room(self, now: float) -> bool:
        """Tell whether there is room for one more; close one for it, but not too often."""
        if self._count < self._most:
            return True
        since, self._counted = now - self._counted, now
        self._evictions = min(self._evictions + since * _EVICTIONS_PER_SECOND, _EVICTIONS_AT_ONCE)
        if self._evictions < 1:
            return False
        self._evictions -= 1
        return self.evict()

    def evict(self) -> bool:
        """Close the oldest one of the address that has most of them; tell whether there was one."""
        if not self._by_origin:
            return False
        origin = next(iter(self._by_size[self._largest]))
        next(iter(self._by_origin[origin])).abort()
        return True


class _Turns:
    """Who may hand on what it has received, one after the other, and when.

    Attributes:
        busy_until: Until when (`time.monotonic`) the turns may take but a share of the time.
    """

    def __init__(self, begun: _Unproven) -> None:
        self.busy_until = -math.inf
        self._begun = begun
        # How much is kept of those that have brought a whole head, of those that have more to hand on, and of
        # those that have brought half of a head.
        self._fresh: dict[Connection, int] = {}
        self._further: dict[Connection, int] = {}
        self._half: dict[Connection, int] = {}
        self._kept_bytes = 0
        self._seconds = _SAVED_SECONDS
        self._counted = time.monotonic()
        self._is_due = False

    def take(self, connection: Connection) -> None:
        """Let a connection hand on a piece, at once or when its turn comes."""
        self.leave(connection)
        queue = self._fresh if connection.is_ready else self._half
        now = time.monotonic()
        if not self._is_due and self._left(now) > 0 and self._has_room(connection, now):
            queue = self._further
            if not self._run(connection):
                return
        self._wait(connection, queue)
        if self._kept_bytes > _MOST_KEPT_BYTES:
            self._drop_largest()
        self._plan()

    def leave(self, connection: Connection) -> bool:
        """Let a connection wait for a turn no longer; tell whether it did."""
        size = sum(queue.pop(connection, 0) for queue in (self._fresh, self._further, self._half))
        self._kept_bytes -= size
        return size > 0

    def give_back(self, seconds: float) -> None:
        """Let others have what a connection has taken that has proven its caller."""
        self._seconds = min(self._seconds + seconds, _SAVED_SECONDS)

    def _left(self, now: float) -> float:
        self._seconds = min(self._seconds + (now - self._counted) * self._share(now), _SAVED_SECONDS)
        self._counted = now
        return self._seconds

    def _share(self, now: float) -> float:
        return _SHARE if now < self.busy_until else 1.0

    def _run(self, connection: Connection) -> bool:
        # Of this thread alone, however busy the machine is.
        began = time.thread_time()
        has_more = connection.hand_on()
        if connection.proven:
            if has_more:
                connection.go_on()
            return False
        seconds = time.thread_time() - began
        self._seconds -= seconds
        connection.seconds += seconds
        return has_more

    def _wait(self, connection: Connection, queue: dict[Connection, int]) -> None:
        queue[connection] = connection.pending_bytes
        self._kept_bytes += connection.pending_bytes

    def _drop_largest(self) -> None:
        """Close those that have sent most, until what is kept of all of them is half of what may be."""
        kept = self._fresh | self._further | self._half
        for connection in sorted(kept, key=kept.__getitem__, reverse=True):
            if self._kept_bytes > _MOST_KEPT_BYTES // 2:
                connection.abort()

    def _plan(self) -> None:
        if not self._is_due:
            self._is_due = True
            wait = max(_TURN_SECONDS, -self._seconds / self._share(time.monotonic()))
            asyncio.get_running_loop().call_later(wait, self._turn)

    def _turn(self) -> None:
        self._is_due = False
        now = time.monotonic()
        end = now + _TURN_SECONDS
        try:
            while now < end and self._left(now) > 0 and (connection := self._next(now)) is not None:
                self.leave(connection)
                if self._run(connection):
                    self._wait(connection, self._further)
                now = time.monotonic()
        finally:
            # Whatever the protocol of one raises, the others have their turns.
            if self._fresh or self._further or self._half:
                self._plan()

    def _next(self, now: float) -> Connection | None:
        # The newest first: its caller has just come, and perhaps with a key.
        for found in (
            next(reversed(self._fresh), None),
            *(next(iter(q), None) for q in (self._further, self._half)),
        ):
            if found is not None and self._has_room(found, now):
                return found
        return None

    def _has_room(self, connection: Connection, now: float) -> bool:
        """Tell whether a connection has a place, or gets one; one that brings a request always does."""
        if connection.is_silent and connection.is_ready:
            self._begun.make_room()
        return not connection.is_silent or self._begun.has_room(now)


@lru_cache(maxsize=1024)
def origin_of(host: str) -> object:
    """Return what connections are counted by: an IPv4 address; of IPv6, the network of 64 bits of one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return int(address) >> 64
    return address


def notice_dead_peers(listening: socket.socket) -> None:
    """Let the kernel find out that a peer is gone, on all connections that `listening` accepts (tcp(7)).

    One that only does not read is left alone, as TCP_USER_TIMEOUT would not.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _most_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return _MOST
    return min(max(descriptors // 2, _FEWEST), _MOST)

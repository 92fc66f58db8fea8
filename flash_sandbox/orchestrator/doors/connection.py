"""One connection of a front door, between its socket and the protocol that answers it, uvicorn's or
grpclib's.

It bounds what a caller can make the orchestrator do and keep before a front door has said that the caller may
call (`Connection.prove`): how long the connection may take, how much of what it sends is handed on at a time,
how much of what it is answered it may leave unread.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Final, Protocol, cast

from .connections import Connections, origin_of
from .write_coalescing import Corked

__all__ = ["Connection", "TooMuchError", "Watch"]

_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 4 * 1024 * 1024
"""How long, and how much of it, what a caller still sends is thrown away, so that it can read why it is
refused."""

_MOST_UNREAD: Final = 1024 * 1024
"""Bytes of answers waiting for a caller to take them, above which nothing more is read from it."""

_PIECE_BYTES: Final = 16 * 1024
_NO_BYTES: Final = b""


class TooMuchError(Exception):
    """A connection has sent more than it may.

    Attributes:
        farewell: What to send before the connection is closed.
    """

    def __init__(self, farewell: bytes) -> None:
        super().__init__()
        self.farewell = farewell


class Watch(Protocol):
    """What reads along with a protocol, so that it is not made to work in vain."""

    @property
    def is_midway(self) -> bool:
        """Whether the head of a request has begun and has not ended."""

    def admit(self, data: bytes, connection: Connection) -> int:
        """Return how many bytes of `data` may be handed on now; raise TooMuchError to close the
        connection."""

    def has_request(self, data: bytes) -> bool:
        """Tell whether `data`, the first of a connection, has the whole head of a request."""

    def farewell(self) -> bytes:
        """Return what to send before a connection is closed that has been idle for too long."""


class Connection(asyncio.Protocol):
    """Stands for the protocol that `make` makes once something has come.

    Args:
        connections: All there are.
        make: Makes the protocol.
        watch: What reads along.

    Attributes:
        deadline: When (`time.monotonic`) it is closed, unless something happens.
        lingers: Whether the caller may still be sending once it has been answered: closing then would take
            the answer from it.
        proven: Whether the caller may call.
        seconds: What has been done for it before that has taken so long.
        sent: Bytes that were written.
    """

    def __init__(
        self,
        connections: Connections,
        make: Callable[[Connection], asyncio.BaseProtocol],
        watch: Watch | None = None,
    ) -> None:
        self.deadline = math.inf
        self.lingers = False
        self.proven = False
        self.seconds = 0.0
        self.sent = 0
        self._connections = connections
        self._make = make
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._inner: asyncio.Protocol | None = None
        self._pending = _NO_BYTES
        self._is_scheduled = False
        self._is_reading = True
        self._is_held = False
        self._is_ended = False
        self._has_eof = False
        self._in_flight = 0
        self._thrown_away = 0
        self._unsent = 0

    @cached_property
    def origin(self) -> object:
        """What connections are counted by."""
        peer = self._transport.get_extra_info("peername")
        return origin_of(str(peer[0]) if peer else "")

    @property
    def pending_bytes(self) -> int:
        """How much has come and has not been handed on."""
        return len(self._pending)

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come yet."""
        return self._inner is None

    @property
    def is_ready(self) -> bool:
        """Whether a whole head of a request has come, if something is to be made of it first."""
        if self._inner is not None:
            return True
        if self._watch is not None:
            return self._watch.has_request(self._pending)
        return b"\n\r\n" in self._pending or b"\n\n" in self._pending

    @cached_property
    def trusted(self) -> bool:
        """Whether this connection may do without a key."""
        return self._connections.trusts(self._transport.get_extra_info("socket"))

    def begin(self) -> None:
        """Note that the head of a request has come."""
        self._in_flight += 1
        self.deadline = math.inf if self.proven else time.monotonic() + self._connections.request_seconds

    def end(self) -> None:
        """Note that a request has been answered."""
        self._in_flight -= 1
        if not self._in_flight:
            self.deadline = math.inf if self.proven else time.monotonic() + self._connections.idle_seconds

    def prove(self) -> None:
        """Note that the caller may call."""
        if not self.proven:
            self.proven = True
            self.deadline = math.inf
            self._connections.note_proven(self)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room."""
        self._transport = cast(asyncio.Transport, transport)
        self._outlet = _Outlet(self, self._transport)
        self.deadline = time.monotonic() + self._connections.request_seconds
        if not self._connections.admit(self):
            self._is_ended = True
            transport.abort()  # type: ignore[attr-defined]
            return

    def data_received(self, data: bytes) -> None:
        """Hand on what has come, at once or in its turn."""
        if self._is_ended:
            self._throw_away(len(data))
            return
        self._pending = self._pending + data if self._pending else data
        if self.proven and self._is_scheduled:
            return
        # An unproven one anew, where it waits already: what it has brought may be a whole head by now.
        if not self.proven or self.hand_on():
            self._schedule()

    def eof_received(self) -> bool | None:
        """Tell that the caller sends no more, once what it has sent is handed on."""
        if self._inner is None or self._is_ended:
            return None
        self._has_eof = self.proven and bool(self._pending)
        return self._has_eof or self._inner.eof_received()

    def pause_writing(self) -> None:
        """Make answers wait."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Let answers go on."""
        if self._inner is not None:
            self._inner.resume_writing()
        self._resume_handing_on()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._is_ended = True
        self._pending = _NO_BYTES
        self._connections.forget(self)
        self._drop(error)
        # A cycle, which would be found only some time after a flood.
        del self._outlet

    def go_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand on what comes to another protocol from here on."""
        self._inner = cast(asyncio.Protocol, protocol)

    # What the protocol does to its transport.

    def hold(self, is_held: bool) -> None:
        """Hand on nothing for now, or go on."""
        self._is_held = is_held
        self._resume_handing_on()

    def close(self) -> None:
        """Close once everything has been sent."""
        if self._is_ended:
            return
        self._is_ended = True
        self._pending = _NO_BYTES
        now = time.monotonic()
        if self.lingers and not self._transport.is_closing():
            self._resume()
            self._outlet.finish()
            self.deadline = now + _LINGER_SECONDS
        else:
            self._outlet.close_now()
            self.deadline = now + self._connections.request_seconds
        self._unsent = self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once."""
        self._is_ended = True
        self._pending = _NO_BYTES
        self._connections.forget(self)
        self._transport.abort()

    @property
    def is_ended(self) -> bool:
        """Whether it is being closed."""
        return self._is_ended

    # What `Connections` calls.

    def hand_on(self) -> bool:
        """Hand on a piece of what has come; return whether to do so again, soon."""
        # What the protocol does meanwhile schedules nothing.
        self._is_scheduled = True
        if self._can_hand_on():
            try:
                size = self._piece()
            except TooMuchError as error:
                self._refuse(error.farewell)
                return False
            data, self._pending = self._pending[:size], self._pending[size:]
            if self.proven:
                self._connections.note_use()
            try:
                self._deliver(data)
            except Exception:
                # As of any protocol that raises: nothing more is handed on to it.
                self.abort()
                raise
        self._is_scheduled = self._can_hand_on()
        self._set_reading()
        if self._has_eof and not self._pending:
            self._hand_on_eof()
        return self._is_scheduled

    def go_on(self) -> None:
        """Hand on all that has come, a piece in each turn of the event loop."""

        def step() -> None:
            if self.hand_on():
                self.go_on()

        self._loop.call_soon(step)

    def expire(self, now: float) -> None:
        """Close, since the deadline has passed."""
        if self._is_ended:
            unsent = self._transport.get_write_buffer_size()
            if self.lingers or unsent >= self._unsent:
                self.abort()
            else:
                # It is being read, slowly.
                self._unsent = unsent
                self.deadline = now + self._connections.request_seconds
        elif self._in_flight or self._watch is None:
            self.abort()
        else:
            self._refuse(self._watch.farewell())

    def _hand_on_eof(self) -> None:
        self._has_eof = False
        if self._inner is not None and not self._inner.eof_received():
            self.close()

    def _can_hand_on(self) -> bool:
        return bool(self._pending) and not (self._is_ended or self._is_held or self._has_unread())

    def _piece(self) -> int:
        if self._watch is not None:
            return self._watch.admit(self._pending, self)
        return len(self._pending) if self.proven else min(len(self._pending), _PIECE_BYTES)

    def _deliver(self, data: bytes) -> None:
        if self._inner is None:
            if not self.proven:
                self._connections.note_begun(self)
            self._inner = cast(asyncio.Protocol, self._make(self))
            self._inner.connection_made(cast(asyncio.Transport, self._outlet))
        if self._watch is None and not self._in_flight:
            self._limit()
        self._inner.data_received(data)
        if self._watch is not None and self._watch.is_midway:
            self._limit()
        elif self._watch is not None and self.proven and not self._is_ended:
            self.deadline = math.inf

    def _limit(self) -> None:
        """Give the head that has begun until the deadline, unless that is there already."""
        self.deadline = min(self.deadline, time.monotonic() + self._connections.request_seconds)

    def _has_unread(self) -> bool:
        return self._transport.get_write_buffer_size() > _MOST_UNREAD

    def _resume_handing_on(self) -> None:
        self._set_reading()
        if self._can_hand_on() and not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        if self.proven:
            self.go_on()
        else:
            self._connections.take_turn(self)

    def _set_reading(self) -> None:
        if self._is_ended or self._transport.is_closing():
            return
        wanted = not (self._pending or self._is_held or self._has_unread())
        if wanted and not self._is_reading:
            self._resume()
        elif self._is_reading and not wanted:
            self._is_reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def _refuse(self, farewell: bytes) -> None:
        self._outlet.write(farewell)
        self.lingers = True
        self.close()
        self._drop(None)

    def _drop(self, error: Exception | None) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connection_lost(error)

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > _LINGER_BYTES:
            self.abort()


class _Outlet(Corked):
    """The transport that the protocol sees."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.sent += len(data)
        if not self._connection.is_ended:
            super().write(data)

    def is_closing(self) -> bool:
        return self._connection.is_ended or bool(self._transport.is_closing())

    def pause_reading(self) -> None:
        self._connection.hold(True)

    def resume_reading(self) -> None:
        self._connection.hold(False)

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        self._connection.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._connection.go_over(protocol)

    def close_now(self) -> None:
        """Close the transport, once it has sent everything."""
        super().close()

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        if self._transport.can_write_eof():
            self.write_eof()
        else:
            self._send()

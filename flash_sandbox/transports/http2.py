"""HTTP/2 over a blocking socket, one call at a time.

A call that waits for its own answer needs neither an event loop nor another thread. As many connections
are made as there are calls at a time.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from grpclib.exceptions import StreamTerminatedError

from ..address import Address
from .http2_protocol import Headers, OneCallProtocol
from .keepalive import keep_alive
from .retry import Limit
from .signal_handlers import raised_by_handler

__all__ = ["PING_PATIENCE_SECONDS", "PING_SECONDS", "Connection"]

PING_SECONDS: Final = 300.0
"""Of silence, after which a server is asked whether it is there.

Servers in Go end a connection whose client pings more than once in five minutes, so TCP's own keepalive is
what notices a dead link within a minute.
"""

PING_PATIENCE_SECONDS: Final = 20.0

# More would be asked of the system, page by page, for each read.
_READ_BYTES: Final = 64 * 1024


class Connection:
    """One HTTP/2 connection, which carries one call at a time.

    Args:
        address: Where the server listens.
        context: TLS settings; None for no TLS.
        limit: How long connecting may take.

    Attributes:
        limit: How long the next step may take.
        sent: Whether any of the request may have reached the server.

    Raises:
        OSError: There is no connection.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None, limit: Limit) -> None:
        self.limit = limit
        self.sent = False
        self._socket = _connect(address, context, limit)
        self._protocol = OneCallProtocol()

    @property
    def idle(self) -> bool:
        """Tell whether the last call is over at both ends, so that another one can be made."""
        return self._protocol.idle

    @property
    def headers(self) -> dict[str, str] | None:
        """Head of the answer to the current call, once it has come."""
        return self._protocol.headers

    @property
    def trailers(self) -> dict[str, str] | None:
        """What followed the answer, where anything did."""
        return self._protocol.trailers

    def still_open(self) -> bool:
        """Take note of what came meanwhile, and tell whether the server takes another call."""
        try:
            self._receive_what_is_there()
        except (OSError, StreamTerminatedError):
            self._protocol.leaving = True
        return not self._protocol.leaving

    def request(self, headers: Headers) -> None:
        """Begin a call. Its headers go with the first data."""
        self.sent = False
        self._protocol.begin(headers)

    def send(self, data: bytes, *, end: bool) -> None:
        """Send a part of the request, as fast as the server takes it, or none of it once it has answered.

        Raises:
            StreamTerminatedError: The server has ended the call.
            OSError: The connection broke.
        """
        view = memoryview(data)
        while not self._protocol.ended:
            room = self._protocol.room
            if room >= len(view):
                self._protocol.send(view, end=end)
                self._flush()
                return
            if room:
                self._protocol.send(view[:room], end=False)
                view = view[room:]
            self._flush()
            self._receive()

    def is_answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        self._receive_what_is_there()
        return self._protocol.headers is not None

    def receive_head(self) -> dict[str, str]:
        """Return the head of the answer once it has come."""
        while self._protocol.headers is None:
            self._receive()
        return self._protocol.headers

    def receive(self, size: int) -> bytes | None:
        """Return the next `size` bytes of the answer, or None at its end.

        Raises:
            EOFError: It ends before.
            StreamTerminatedError: The server has broken the call off.
            OSError: The connection broke.
        """
        received = self._protocol.received
        while len(received) < size:
            if self._protocol.ended:
                if received:
                    raise EOFError
                return None
            self._receive()
        data = bytes(memoryview(received)[:size])
        del received[:size]
        return data

    def close(self) -> None:
        """End the connection, and with it the call."""
        self._socket.close()

    def abort(self) -> None:
        """End the connection under a call that another thread is waiting for."""
        # It may have ended by itself.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _receive_what_is_there(self) -> None:
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            while True:
                self._socket.settimeout(0.0)
                self._feed(self._socket.recv(_READ_BYTES))

    def _receive(self) -> None:
        data = self._read_within(PING_SECONDS)
        if data is None:
            self._protocol.ping()
            self._flush()
            data = self._read_within(PING_PATIENCE_SECONDS)
        if data is None:
            raise StreamTerminatedError("the server does not answer a ping")
        self._feed(data)

    def _read_within(self, seconds: float) -> bytes | None:
        """Return what comes, or None where nothing does within `seconds`."""
        left = self.limit.remaining()
        self._socket.settimeout(seconds if left is None else min(left, seconds))
        try:
            return self._socket.recv(_READ_BYTES)
        except TimeoutError as error:
            if not _has_passed(error):
                raise
            if left is not None and left <= seconds:
                raise self.limit.passed() from error
            return None

    def _feed(self, data: bytes) -> None:
        if not data:
            raise StreamTerminatedError("Connection lost")
        self._protocol.feed(data)
        self._flush()

    def _flush(self) -> None:
        data = self._protocol.outgoing
        if not data:
            return
        self._socket.settimeout(self.limit.remaining())
        self.sent = True
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            if _has_passed(error):
                raise self.limit.passed() from error
            raise
        data.clear()


def _connect(address: Address, context: ssl.SSLContext | None, limit: Limit) -> socket.socket:
    if address.unix_path is not None:
        connection = socket.socket(socket.AF_UNIX)
    else:
        connection = _connect_tcp(address.host, address.port, limit)
    try:
        connection.settimeout(limit.remaining())
        if address.unix_path is not None:
            connection.connect(address.unix_path)
        if context is not None:
            # Without HTTP/2 in the handshake servers talk HTTP/1.
            context.set_alpn_protocols(["h2"])
            secured = context.wrap_socket(connection, server_hostname=address.host)
            connection = secured
            if secured.selected_alpn_protocol() != "h2":
                raise ConnectionError("the server does not speak HTTP/2 (ALPN)")
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError) and _has_passed(error):
            raise limit.passed() from error
        raise
    return connection


def _connect_tcp(host: str, port: int, limit: Limit) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), limit.remaining())
    except TimeoutError as error:
        if _has_passed(error):
            raise limit.passed() from error
        raise
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(connection)
    return connection


def _has_passed(error: TimeoutError) -> bool:
    """Tell whether a socket's own time-out has passed.

    With a number it is the system's error: the peer is gone. A signal handler may raise one, too.
    """
    return error.errno is None and not raised_by_handler(error)

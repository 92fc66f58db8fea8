"""HTTP/2 over a blocking socket, one call at a time.

A call that waits for its own answer needs neither an event loop nor another thread. As many connections
are made as there are calls at a time.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, Final

from grpclib.exceptions import StreamTerminatedError
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from ..address import Address
from .addresses import first_connected
from .http2_connection import (
    NOT_HTTP2,
    ClientConnection,
    Pings,
    RefusedError,
)
from .keepalive import keep_alive
from .retry import Limit
from .signal_handlers import raised_by_handler

__all__ = ["Connection", "Headers"]

Headers = tuple[tuple[bytes, bytes], ...]

# More would be asked of the system, page by page, for each read; of a long answer it is worth that.
_READ_BYTES: Final = 64 * 1024
_LONG_READ_BYTES: Final = 128 * 1024


class Connection:
    """One HTTP/2 connection, which carries one call at a time.

    Args:
        address: Where the server listens.
        context: TLS settings; None for no TLS.
        limit: How long connecting may take.

    Attributes:
        limit: How long the next step may take.
        sent: Whether any of the request may have reached the server.
        headers: Head of the answer to the current call, once it has come.
        trailers: What followed the answer, where anything did.

    Raises:
        OSError: There is no connection.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None, limit: Limit) -> None:
        self.limit = limit
        self.sent = False
        self._socket = _connect(address, context, limit)
        self._h2 = ClientConnection()
        self._stream = 0
        self._clear()

    def _clear(self) -> None:
        self.headers: dict[str, str] | None = None
        self.trailers: dict[str, str] | None = None
        self._received = bytearray()
        self._is_long = False
        self._ended = False
        self._end_sent = False

    @property
    def idle(self) -> bool:
        """Tell whether the last call is over at both ends, so that another one can be made."""
        return not self._h2.leaving and self._ended and self._end_sent

    def still_open(self) -> bool:
        """Take note of what came meanwhile, and tell whether the server takes another call."""
        try:
            self._receive_what_is_there()
        except BaseException as error:
            self._h2.leaving = True
            if not isinstance(error, OSError | StreamTerminatedError) or raised_by_handler(error):
                raise
        return not self._h2.leaving

    def request(self, headers: Headers) -> None:
        """Begin a call. Its headers go with the first data."""
        self.sent = False
        self._clear()
        self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._stream, headers)

    def send(self, data: bytes, *, end: bool) -> None:
        """Send a part of the request, as fast as the server takes it, or none of it once it has answered.

        Raises:
            StreamTerminatedError: The server has ended the call.
            OSError: The connection broke.
        """
        view = memoryview(data)
        while not self._ended:
            room = self._h2.local_flow_control_window(self._stream)
            part = view[: max(0, min(room, self._h2.max_outbound_frame_size))]
            view = view[len(part) :]
            if part or (end and not view):
                self._end_sent = end and not view
                self._h2.send_data(self._stream, part, end_stream=self._end_sent)
            if not view:
                self._flush()
                return
            if room <= len(part):
                self._flush()
                self._receive()

    def is_answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        self._receive_what_is_there()
        return self.headers is not None

    def receive_head(self) -> dict[str, str]:
        """Return the head of the answer once it has come."""
        while self.headers is None:
            self._receive()
        return self.headers

    def receive(self, size: int) -> bytes | None:
        """Return the next `size` bytes of the answer, or None at its end.

        Raises:
            EOFError: It ends before.
            StreamTerminatedError: The server has broken the call off.
            OSError: The connection broke.
        """
        received = self._received
        while len(received) < size:
            if self._ended:
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
                self.limit.remaining()
                self._socket.settimeout(0.0)
                self._feed(self._socket.recv(_READ_BYTES))

    def _receive(self) -> None:
        data = self._read_within(Pings.seconds)
        if data is None:
            self._h2.ping(b"are you?")
            self._flush()
            data = self._read_within(Pings.patience)
        if data is None:
            raise StreamTerminatedError("the server does not answer a ping")
        self._feed(data)

    def _read_within(self, seconds: float) -> bytes | None:
        """Return what comes, or None where nothing does within `seconds`."""
        left = self.limit.remaining()
        self._socket.settimeout(seconds if left is None else min(left, seconds))
        try:
            data = self._socket.recv(_LONG_READ_BYTES if self._is_long else _READ_BYTES)
        except TimeoutError as error:
            if not _has_passed(error):
                raise
            if left is not None and left <= seconds:
                raise self.limit.passed() from error
            return None
        self._is_long = len(data) >= _READ_BYTES
        return data

    def _feed(self, data: bytes) -> None:
        if not data:
            raise StreamTerminatedError("Connection lost")
        try:
            events = self._h2.receive_data(data)
        except (ProtocolError, ValueError) as error:
            self._h2.leaving = True
            raise StreamTerminatedError(NOT_HTTP2) from error
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            # Calls up to the last one that it names are still answered.
            if (event.last_stream_id or 0) < self._stream and not self._ended:
                raise RefusedError(f"the server is leaving, error code {event.error_code}")
        elif getattr(event, "stream_id", 0) != self._stream:
            return
        elif isinstance(event, ResponseReceived):
            self.headers = _pairs(event)
        elif isinstance(event, TrailersReceived):
            self.trailers = _pairs(event)
        elif isinstance(event, DataReceived):
            self._received += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, self._stream)
        elif isinstance(event, StreamEnded):
            self._ended = True
        elif isinstance(event, StreamReset) and not self._ended:
            # After the answer it says no more than that the rest of the request is not needed.
            self._h2.leaving = True
            kind = RefusedError if event.error_code == ErrorCodes.REFUSED_STREAM else StreamTerminatedError
            raise kind(f"the server has reset the stream, error code {event.error_code}")

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if not data:
            return
        self._socket.settimeout(self.limit.remaining())
        self.sent = True
        try:
            self._socket.sendall(data)
        except BaseException as error:
            # Nobody knows how much of it has gone.
            self._h2.leaving = True
            if isinstance(error, TimeoutError) and _has_passed(error):
                raise self.limit.passed() from error
            raise


def _pairs(event: Any) -> dict[str, str]:
    return dict(event.headers)


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
        connection = first_connected(
            host, port, lambda each: socket.create_connection((each, port), limit.remaining())
        )
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

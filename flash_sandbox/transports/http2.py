"""HTTP/2 over a blocking socket, one call at a time: h2 speaks the protocol, this moves its bytes.

A call that waits for its own answer needs neither an event loop nor another thread. As many connections
are made as there are calls at a time.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, Final, Protocol

from grpclib.exceptions import StreamTerminatedError
from h2.config import H2Configuration
from h2.connection import H2Connection
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
from h2.exceptions import ProtocolError as H2ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from ..address import Address
from .keepalive import keep_alive
from .quiet_frames import describe_frames_briefly

__all__ = [
    "CONNECTION_WINDOW_BYTES",
    "FRAME_BYTES",
    "NOT_HTTP2",
    "PING_PATIENCE_SECONDS",
    "PING_SECONDS",
    "STREAM_WINDOW_BYTES",
    "Connection",
    "Limit",
    "RefusedError",
    "is_server_preface",
    "was_refused",
]

Headers = list[tuple[bytes, bytes]]

STREAM_WINDOW_BYTES: Final = 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 2**31 - 1
"""A stream that nobody reads holds up itself alone: no number of them fills what the connection may carry."""

FRAME_BYTES: Final = 64 * 1024
"""Of one frame: with the usual 16 KiB both ends are busier with frames than with what is in them."""

PING_SECONDS: Final = 300.0
"""Of silence, after which a server is asked whether it is there.

Servers in Go end a connection whose client pings more than once in five minutes, so TCP's own keepalive is
what notices a dead link within a minute.
"""

PING_PATIENCE_SECONDS: Final = 20.0

NOT_HTTP2: Final = "Protocol error"
"""Why a stream was ended whose server broke the protocol, in grpclib's words."""

_READ_BYTES: Final = 256 * 1024
_LOST: Final = "Connection lost"


class RefusedError(StreamTerminatedError):
    """The server has ended a call that it says it has not begun (RFC 9113, 6.8 and 8.7)."""


def was_refused(error: StreamTerminatedError) -> bool:
    """Tell whether the server says that it has not begun the request, here or in grpclib's words."""
    text = str(error)
    return isinstance(error, RefusedError) or (text.endswith("error_code: 7") and "reset" in text)


class Limit(Protocol):
    """How long a step may take."""

    def remaining(self) -> float | None:
        """Return the seconds that are left, or None for as long as it takes; raise where none are."""
        ...

    def passed(self) -> Exception:
        """Return the error that says that none are left."""
        ...


class _Protocol(H2Connection):
    """h2's connection, which goes on with the calls that a server which is leaving still answers."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Any], list[Event]]:
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


def is_server_preface(head: bytes) -> bool:
    """Tell whether a connection's first nine bytes are those of HTTP/2.

    The first frame of a server is SETTINGS, type 4 on stream 0 (RFC 9113, section 3.4). h2 would wait for the
    rest of a huge frame where they are something else.
    """
    return head[3:9] == b"\x04\0\0\0\0\0"


class Connection:
    """One HTTP/2 connection, which carries one call at a time.

    Args:
        address: Where the server listens.
        context: TLS settings; None for no TLS.
        limit: How long connecting may take.

    Attributes:
        limit: How long the next step may take.
        headers: Head of the answer to the current call, once it has come.
        trailers: What followed the answer; empty where it ended without.
        ended: Whether the answer is complete.
        sent: Whether any of the request may have reached the server.

    Raises:
        OSError: There is no connection.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None, limit: Limit) -> None:
        self.limit = limit
        self._socket = _connect(address, context, limit)
        self._h2 = _Protocol(
            H2Configuration(
                client_side=True,
                header_encoding="ascii",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        describe_frames_briefly(self._h2)
        self._head: bytes | None = b""
        # Whether the server takes no other call.
        self._leaving = False
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65535)
        self._h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
            }
        )
        self._begin(0)

    def _begin(self, stream_id: int) -> None:
        self._id = stream_id
        self._received = bytearray()
        self._end_sent = self.ended = self.sent = False
        self.headers: dict[str, str] | None = None
        self.trailers: dict[str, str] | None = None

    @property
    def idle(self) -> bool:
        """Tell whether the last call is over at both ends, so that another one can be made."""
        return not self._leaving and (self._id == 0 or (self.ended and self._end_sent))

    def still_open(self) -> bool:
        """Take note of what came meanwhile, and tell whether the server takes another call."""
        try:
            self._receive_what_is_there()
        except (OSError, StreamTerminatedError, ValueError):
            self._leaving = True
        return not self._leaving

    def request(self, headers: Headers) -> None:
        """Begin a call. Its headers go with the first data."""
        self._begin(self._h2.get_next_available_stream_id())
        self._h2.send_headers(self._id, headers)

    def send(self, data: bytes, *, end: bool) -> None:
        """Send a part of the request, as fast as the server takes it, or none of it once it has answered.

        Raises:
            StreamTerminatedError: The server has ended the call.
            OSError: The connection broke.
        """
        view = memoryview(data)
        while not self.ended:
            room = min(self._h2.local_flow_control_window(self._id), self._h2.max_outbound_frame_size)
            if room >= len(view):
                self._h2.send_data(self._id, bytes(view), end_stream=end)
                self._end_sent = end
                self._flush()
                return
            if room > 0:
                self._h2.send_data(self._id, bytes(view[:room]))
                view = view[room:]
            if room <= 0:
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
        while len(self._received) < size:
            if self.ended:
                if self._received:
                    raise EOFError
                return None
            self._receive()
        data = bytes(memoryview(self._received)[:size])
        del self._received[:size]
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
            self._h2.ping(b"are you?")
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
            # With a number it is the system's: the peer is gone.
            if error.errno is not None:
                raise
            if left is not None and left <= seconds:
                raise self.limit.passed() from error
            return None

    def _feed(self, data: bytes) -> None:
        if not data:
            raise StreamTerminatedError(_LOST)
        if self._head is not None:
            self._head += data
            if len(self._head) < 9:
                return
            data, self._head = self._head, None
            if not is_server_preface(data):
                raise StreamTerminatedError(NOT_HTTP2)
        try:
            events = self._h2.receive_data(data)
        except H2ProtocolError as error:
            raise StreamTerminatedError(NOT_HTTP2) from error
        for event in events:
            self._process(event)
        self._flush()

    def _process(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._leaving = True
            if event.last_stream_id is not None and event.last_stream_id < self._id and not self.ended:
                raise RefusedError("the server is leaving")
        elif getattr(event, "stream_id", None) != self._id:
            # Of the connection, or of a call that is over.
            return
        elif isinstance(event, DataReceived):
            self._received += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, self._id)
        elif isinstance(event, ResponseReceived):
            self.headers = dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, TrailersReceived):
            self.trailers = dict(event.headers)  # type: ignore[arg-type]
        elif isinstance(event, StreamEnded):
            self.ended = True
        elif isinstance(event, StreamReset) and not self.ended:
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            kind = RefusedError if refused else StreamTerminatedError
            raise kind(f"the server has reset the stream: {event.error_code!r}")

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if not data:
            return
        self._socket.settimeout(self.limit.remaining())
        self.sent = True
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            if error.errno is None:
                raise self.limit.passed() from error
            raise


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
        if isinstance(error, TimeoutError) and error.errno is None:
            raise limit.passed() from error
        raise
    return connection


def _connect_tcp(host: str, port: int, limit: Limit) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), limit.remaining())
    except TimeoutError as error:
        if error.errno is None:
            raise limit.passed() from error
        raise
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(connection)
    return connection

"""An HTTP/2 client that sends what it is told, also where no client would."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h2.events
import h2.exceptions
from h2.config import H2Configuration
from h2.connection import H2Connection

__all__ = ["Outcome", "Peer", "framed", "headers_of"]

Headers = list[tuple[str, str]]


def headers_of(path: str, *more: tuple[str, str]) -> Headers:
    """Return the headers of a call."""
    usual = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
    usual |= {"te": "trailers", "content-type": "application/grpc+proto"}
    return list((usual | dict(more)).items())


def framed(message: bytes) -> bytes:
    """Return a message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@dataclass
class Outcome:
    """How a call ended.

    Attributes:
        headers: Headers and trailers, by name.
        body: What was answered.
        answered: Whether the answer came to its end.
        reset: Whether the server broke off the stream or the connection.
    """

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    answered: bool = False
    reset: bool = False

    @property
    def status(self) -> int | None:
        """Number of the gRPC status, where there is one."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None


class Peer:
    """One connection.

    Args:
        address: ``HOST:PORT`` of the server.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        config = H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
        )
        self._h2 = H2Connection(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, headers: Headers, chunks: Iterable[bytes]) -> Outcome:
        """Make a call with these headers and frames of data, and return how it ended."""
        stream = self.begin(headers)
        outcome = Outcome()
        try:
            for chunk in chunks:
                self.send(stream, chunk, outcome)
            self._h2.end_stream(stream)
            self.flush()
        except (h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError, ConnectionError):
            # The server has answered before it has read everything.
            pass
        return self.wait(stream, outcome)

    def wait(self, stream: int, outcome: Outcome | None = None) -> Outcome:
        """Wait until a call has ended, and return how."""
        outcome = outcome or Outcome()
        while not outcome.answered and not outcome.reset:
            self._receive(stream, outcome)
        return outcome

    def end(self, stream: int) -> None:
        """Say that no more data of a call will come."""
        self._h2.end_stream(stream)
        self.flush()

    def send(self, stream: int, data: bytes, outcome: Outcome | None = None) -> None:
        """Send data, as far as the server wants it."""
        outcome = outcome or Outcome()
        while data and not outcome.answered and not outcome.reset:
            size = min(
                len(data), self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size
            )
            if not size:
                self._receive(stream, outcome)
                continue
            self._h2.send_data(stream, data[:size])
            self.flush()
            data = data[size:]

    def begin(self, headers: Headers) -> int:
        """Begin a call and return the number of its stream."""
        if not self._h2.streams:
            self._h2.initiate_connection()
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, headers)
        self.flush()
        return stream

    def reset(self, stream: int) -> None:
        """Give a call up."""
        self._h2.reset_stream(stream)
        self.flush()

    def write(self, data: bytes) -> None:
        """Send bytes that need not be HTTP/2."""
        self._socket.sendall(data)

    def until_closed(self) -> bytes:
        """Say that nothing more will come, and return what the server sends until it closes."""
        received = b""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while data := self._socket.recv(65536):
                received += data
        except ConnectionError:
            pass
        return received

    def flush(self) -> None:
        """Send what is due."""
        self._socket.sendall(self._h2.data_to_send())

    def _receive(self, stream: int, outcome: Outcome) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            outcome.reset = True
            return
        for event in self._h2.receive_data(data):
            self._note(event, stream, outcome)
        self.flush()

    def _note(self, event: h2.events.Event, stream: int, outcome: Outcome) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            outcome.reset = True
        elif getattr(event, "stream_id", None) != stream:
            return
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            outcome.headers.update(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            outcome.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamEnded):
            outcome.answered = True
        elif isinstance(event, h2.events.StreamReset):
            outcome.reset = not outcome.answered

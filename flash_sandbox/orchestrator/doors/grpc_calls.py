"""One gRPC call as it comes in: its headers, its messages, and how it ends (gRPC over HTTP/2)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_bin_value, encode_grpc_message
from grpclib.protocol import Stream
from h2.connection import H2Connection
from h2.exceptions import StreamClosedError
from hpack import NeverIndexedHeaderTuple

from ...codecs import MAX_REQUEST_BYTES
from ...codecs.grpc import SERVER_CODEC, ErrorDetailsCodec
from ...codecs.wire import MalformedMessageError, load_message
from ...errors import InvalidArgumentError, PayloadTooLargeError, UnsupportedError
from .connection import Connection

__all__ = ["Answer", "IncomingCall"]

Answer = Callable[[], Coroutine[Any, Any, None]]
"""Answers a call."""

_CONTENT_TYPES: Final = ("application/grpc+proto", "application/grpc")
# Length-prefixed message: a flag and the length.
_PREFIX: Final = struct.Struct(">?I")

_Headers = list[tuple[str, str]]


class IncomingCall:
    """A call.

    Args:
        stream: Its stream of HTTP/2.
        h2: The state of the connection.
        headers: Its headers.
        connection: The connection.
    """

    def __init__(self, stream: Stream, h2: H2Connection, headers: _Headers, connection: Connection) -> None:
        # There is no binary header in this protocol.
        self.headers = {name: value for name, value in headers if not name.endswith("-bin")}
        self.connection = connection
        self.malformed = _malformed(self.headers)
        self._stream = stream
        self._h2 = h2
        self._begun = False

    @property
    def path(self) -> str:
        """The method that is called."""
        return self.headers.get(":path", "")

    async def receive(self, message_type: type[Any], *, may_end: bool = False) -> Any:
        """Read the next message of a call; None for the end, where that may be.

        A message that is too large is refused before it comes.

        Raises:
            InvalidArgumentError: It is malformed.
            PayloadTooLargeError: It is too large.
            UnsupportedError: It is compressed.
        """
        try:
            prefix = await self._stream.recv_data(_PREFIX.size)
            if not prefix and may_end:
                return None
            if not prefix:
                raise InvalidArgumentError("the call has no message")
            compressed, size = _PREFIX.unpack(prefix)
            if compressed:
                raise UnsupportedError("compressed messages are not taken; send grpc-encoding: identity")
            if size > MAX_REQUEST_BYTES:
                raise PayloadTooLargeError(f"a request may have {MAX_REQUEST_BYTES} bytes at most")
            data = await self._stream.recv_data(size)
            if len(data) < size:
                raise InvalidArgumentError("the message is cut short")
            return load_message(message_type, data)
        except AssertionError:
            # This is how grpclib tells that the stream ended before the bytes came.
            raise InvalidArgumentError("the message is cut short") from None
        except MalformedMessageError as error:
            raise InvalidArgumentError(f"malformed message: {error}") from error

    async def send(self, message: Any, metadata: Mapping[str, str]) -> None:
        """Send a message; before the first one, `metadata`."""
        if not self._begun:
            await self._stream.send_headers([*_head("200"), *_unindexed(metadata)])
            self._begun = True
        data = SERVER_CODEC.encode(message, type(message))
        await self._stream.send_data(_PREFIX.pack(False, len(data)) + data)

    async def succeed(self, metadata: Mapping[str, str]) -> None:
        """End the call with OK."""
        head = [] if self._begun else [*_head("200"), *_unindexed(metadata)]
        await self._stream.send_headers([*head, ("grpc-status", "0")], end_stream=True)

    async def fail(self, failure: GRPCError, metadata: Mapping[str, str]) -> None:
        """End the call with another status, once the connection takes more."""
        await self._stream.connection.write_ready.wait()
        self.refuse(failure, metadata)

    def refuse(self, failure: GRPCError, metadata: Mapping[str, str]) -> None:
        """End the call with another status, at once."""
        if self._stream.id not in self._h2.streams:
            raise StreamClosedError(self._stream.id or 0)
        details = ErrorDetailsCodec().encode(failure.status, failure.message, failure.details)
        headers = [] if self._begun else _head(self.malformed[0] if self.malformed else "200")
        headers += [
            ("grpc-status", str(failure.status.value)),
            ("grpc-message", encode_grpc_message(failure.message or "")),
            ("grpc-status-details-bin", encode_bin_value(details).decode("ascii")),
            *_unindexed(metadata),
        ]
        self._h2.send_headers(self._stream.id, headers, end_stream=True)
        if self._stream.closable:
            # Nothing more is read of it.
            self._h2.reset_stream(self._stream.id)
        self._stream.connection.flush()


def _head(status: str) -> _Headers:
    return [(":status", status), ("content-type", _CONTENT_TYPES[0])]


def _unindexed(metadata: Mapping[str, str]) -> Iterable[Any]:
    """Return headers that no other call will have again, so that neither end keeps them in its table."""
    return (NeverIndexedHeaderTuple(*pair) for pair in metadata.items())


def _malformed(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Tell what makes a request none of gRPC: an HTTP status and the cause (gRPC over HTTP/2, Requests)."""
    if headers.get(":method") != "POST":
        return "405", "gRPC takes POST only"
    if headers.get("content-type") not in _CONTENT_TYPES:
        return "415", f"the content-type must be {' or '.join(_CONTENT_TYPES)}"
    if headers.get("te") != "trailers":
        return "400", "the header te: trailers is missing"
    return None

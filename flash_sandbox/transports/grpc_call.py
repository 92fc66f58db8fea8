"""One gRPC call over a blocking HTTP/2 connection (the gRPC document "gRPC over HTTP2")."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from betterproto2 import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import USER_AGENT, decode_bin_value, decode_grpc_message, encode_timeout

from ..codecs import MAX_ANSWER_BYTES
from ..codecs.grpc import CLIENT_CODEC, ErrorDetailsCodec
from ..errors import ProtocolError
from .http2 import Connection, Headers

__all__ = ["GRPCCall", "request_headers", "time_limit", "wire_seconds"]

_CONTENT_TYPES: Final = ("application/grpc", "application/grpc+proto")
_DETAILS: Final = ErrorDetailsCodec()
_PREFIX: Final = struct.Struct(">?I")


def request_headers(scheme: str, authority: str, path: str, metadata: list[tuple[str, str]]) -> Headers:
    """Return the headers of a call of the method at `path`."""
    pairs = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc+proto"),
        ("user-agent", USER_AGENT),
        *metadata,
    ]
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in pairs)


def wire_seconds(seconds: float) -> float:
    """Return how long a call may take so that the server is never told too short a time.

    grpc-timeout has whole seconds above ten, and drops what is less than a unit.
    """
    return float(math.ceil(seconds)) if seconds > 10 else seconds


def time_limit(seconds: float) -> tuple[bytes, bytes]:
    """Return the header that tells the server how long a call may take."""
    return b"grpc-timeout", encode_timeout(wire_seconds(seconds)).encode("ascii")


class GRPCCall:
    """One call on a connection that carries nothing else meanwhile.

    Args:
        connection: The connection.
        headers: Headers of the request.
        answer: Generated class of what is answered.
    """

    def __init__(self, connection: Connection, headers: Headers, answer: type[Message]) -> None:
        self.connection = connection
        self._answer = answer
        self._head_read = False
        connection.request(headers)

    @property
    def sent(self) -> bool:
        """Tell whether any of the request may have reached the server."""
        return self.connection.sent

    @property
    def told(self) -> Mapping[str, str] | None:
        """Return what came with the answer besides its messages."""
        return self.connection.trailers or self.connection.headers

    def send(self, message: Message, *, end: bool = False) -> None:
        """Send a message, the last one where `end` is true."""
        data = CLIENT_CODEC.encode(message, type(message))
        self.connection.send(_PREFIX.pack(False, len(data)) + data, end=end)

    def end(self) -> None:
        """Say that there is no other message."""
        self.connection.send(b"", end=True)

    def receive(self) -> Any:
        """Return the next message of the answer, or None once the server says that all went well.

        Raises:
            GRPCError: The server says that it did not.
            ProtocolError: It is no answer of gRPC, or one that is too large.
        """
        if not self._head_read:
            self._check_head(self.connection.receive_head())
            self._head_read = True
        try:
            prefix = self.connection.receive(_PREFIX.size)
            if prefix is None:
                self._check_end()
                return None
            compressed, size = _PREFIX.unpack(prefix)
            if compressed:
                raise ProtocolError("the answer is compressed, which was not asked for")
            if size > MAX_ANSWER_BYTES:
                raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            data = self.connection.receive(size) if size else b""
        except EOFError as error:
            raise ProtocolError("the answer is cut short") from error
        if data is None:
            raise ProtocolError("the answer is cut short")
        return CLIENT_CODEC.decode(data, self._answer)

    def receive_only(self) -> Any:
        """Return the only message of the answer, once the server says that all went well."""
        answer = self.receive()
        if answer is None:
            raise ProtocolError("the answer has no message")
        while self.receive() is not None:
            # As grpclib has it, what is too much is not looked at.
            pass
        return answer

    def _check_head(self, headers: Mapping[str, str]) -> None:
        # The texts are grpclib's, by which `decode_error` tells foreign answers.
        status = headers.get(":status")
        if status != "200":
            raise GRPCError(Status.UNKNOWN, f"Received :status = {status!r}")
        kind = headers.get("content-type")
        if kind is None:
            raise GRPCError(Status.UNKNOWN, "Missing content-type header")
        if kind not in _CONTENT_TYPES:
            raise GRPCError(Status.UNKNOWN, f"Invalid content-type: {kind!r}")
        if "grpc-status" in headers:
            _check_status(headers)

    def _check_end(self) -> None:
        trailers = self.connection.trailers
        if trailers is not None or "grpc-status" not in (self.connection.headers or {}):
            _check_status(trailers or {})


def _check_status(headers: Mapping[str, str]) -> None:
    told = headers.get("grpc-status")
    if told is None:
        raise GRPCError(Status.UNKNOWN, "Missing grpc-status header")
    try:
        status = Status(int(told))
    except ValueError:
        raise GRPCError(Status.UNKNOWN, f"Invalid grpc-status: {told!r}") from None
    if status is Status.OK:
        return
    text = headers.get("grpc-message")
    message = None if text is None else decode_grpc_message(text)
    packed = headers.get("grpc-status-details-bin")
    details = None
    if packed is not None:
        details = _DETAILS.decode(status, message, decode_bin_value(packed.encode("ascii")))
    raise GRPCError(status, message, details)

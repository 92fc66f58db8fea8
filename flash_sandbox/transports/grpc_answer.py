"""The answer to a gRPC call over a blocking HTTP/2 connection (the gRPC document "gRPC over HTTP2")."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_bin_value, decode_grpc_message

from ..codecs import MAX_ANSWER_BYTES
from ..codecs.grpc import ErrorDetailsCodec
from ..errors import ProtocolError
from .call import Call
from .http2 import Connection

__all__ = ["PREFIX", "Answer"]

PREFIX: Final = struct.Struct(">?I")
"""What goes before each message: whether it is compressed, and how long it is."""

_CONTENT_TYPES: Final = ("application/grpc", "application/grpc+proto")
_DETAILS: Final = ErrorDetailsCodec()


class Answer:
    """The messages of one answer.

    Args:
        connection: Where the call was made.
        call: The call, whose limit bounds each step.
    """

    def __init__(self, connection: Connection, call: Call[Any, Any]) -> None:
        self._connection = connection
        self._call = call
        self._head_read = False

    def receive(self) -> bytes | None:
        """Return the next message, or None once the server says that all went well.

        Raises:
            GRPCError: The server says that it did not.
            ProtocolError: It is no answer of gRPC, or one that is too large.
        """
        self._connection.limit = self._call.limit
        if not self._head_read:
            _check_head(self._connection.receive_head())
            self._head_read = True
        try:
            prefix = self._connection.receive(PREFIX.size)
            if prefix is None:
                self._check_end()
                return None
            compressed, size = PREFIX.unpack(prefix)
            if compressed:
                raise ProtocolError("the answer is compressed, which was not asked for")
            if size > MAX_ANSWER_BYTES:
                raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            data = self._connection.receive(size) if size else b""
        except EOFError as error:
            raise ProtocolError("the answer is cut short") from error
        if data is None:
            raise ProtocolError("the answer is cut short")
        return data

    def only(self, parse: Callable[[bytes], Any]) -> Any:
        """Return the only message, once the server says that all went well."""
        data = self.receive()
        if data is None:
            raise ProtocolError("the answer has no message")
        message = parse(data)
        while self.receive() is not None:
            # Ignore further messages, as grpclib does.
            pass
        return message

    def _check_end(self) -> None:
        trailers = self._connection.trailers
        if trailers is not None or "grpc-status" not in (self._connection.headers or {}):
            _check_status(trailers or {})


def _check_head(headers: Mapping[str, str]) -> None:
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

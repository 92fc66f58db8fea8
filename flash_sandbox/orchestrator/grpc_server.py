"""A grpclib server that closes for good, takes many streams and answers every call in the same way.

grpclib's own `Server.close` keeps connections, on which it goes on serving calls; it takes 100 streams a
connection; and what it refuses itself (an unknown method, a malformed deadline) it answers without details.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from grpclib.const import Cardinality
from grpclib.const import Handler as Method
from grpclib.metadata import encode_bin_value, encode_grpc_message
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server
from h2.events import (
    AlternativeServiceAvailable,
    InformationalResponseReceived,
    UnknownFrameReceived,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from ..codecs.grpc import SERVER_CODEC, ErrorDetailsCodec, encode_error
from ..errors import InvalidArgumentError
from ..transports.quiet_frames import describe_frames_briefly
from .corked import Corked

if TYPE_CHECKING:
    from grpclib._typing import IServable
    from grpclib.protocol import Stream

__all__ = ["DEADLINE_KEY", "MAX_STREAMS", "GRPCServer"]

MAX_STREAMS: Final = 1000
"""How many calls one connection may have open at a time; HTTP/2's usual 100 would let the 101st wait."""

DEADLINE_KEY: Final = "x-grpc-timeout"
"""Under this name a handler finds the ``grpc-timeout`` of its call, as it was sent."""

_CONTENT_TYPES: Final = ("application/grpc", "application/grpc+proto")
_log = logging.getLogger(__name__)
_Headers = list[tuple[str, str]]


class GRPCServer(Server):
    """Serves from `listen` until `shut_down`.

    Args:
        service: What has the methods.
        unknown: Answers a call of a method that `service` does not have.
    """

    def __init__(
        self,
        service: IServable,
        unknown: Callable[[Any], Any],
    ) -> None:
        super().__init__([service], codec=SERVER_CODEC, status_details_codec=ErrorDetailsCodec())
        self._mapping = _Methods(self._mapping, unknown)
        self._connections: set[_Protocol] = set()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which is bound."""
        await self.start(sock=sock)

    def stop_accepting(self) -> None:
        """Accept no more connections. Those that are open are still answered."""
        if self._server is not None:
            self._server.close()

    async def shut_down(self) -> None:
        """Close every connection and wait until the handlers have ended."""
        if self._server is None:
            return
        self.close()
        for connection in tuple(self._connections):
            connection.processor.close("server shutdown")
        await self.wait_closed()

    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        handler = _Handler(self._mapping, self._codec, self._status_details_codec, self.__dispatch__)
        self._handlers.add(handler)
        return _Protocol(handler, self._config, self._h2_config, self._connections)


class _Methods(dict[str, Method]):
    """The methods by path; any other path is answered by one that refuses it."""

    def __init__(self, methods: dict[str, Method], unknown: Callable[[Any], Any]) -> None:
        super().__init__(methods)
        self._unknown = Method(unknown, Cardinality.UNARY_UNARY, bytes, bytes)

    def get(self, path: str, default: object = None) -> Method:
        return super().get(path, self._unknown)


class _Handler(Handler):
    def accept(self, stream: Stream, headers: _Headers, release_stream: Callable[[], Any]) -> None:
        # grpclib answers a malformed deadline as UNKNOWN, and a malformed binary header not at all. The
        # deadline is kept by `calls`, with details; of binary headers there are none in this protocol.
        kept = [
            (DEADLINE_KEY if name == "grpc-timeout" else name, value)
            for name, value in headers
            if not name.endswith("-bin")
        ]
        malformed = _malformed(dict(kept))
        if malformed is None:
            super().accept(stream, kept, release_stream)
        else:
            self.__gc_step__()
            self._tasks[stream] = self.loop.create_task(_refuse(stream, release_stream, *malformed))

    def cancel(self, stream: Stream) -> None:
        # A stream that was reset twice is not among the tasks any more.
        if stream in self._tasks:
            super().cancel(stream)


class _Protocol(H2Protocol):
    def __init__(self, handler: Handler, config: Any, h2_config: Any, connections: set[_Protocol]) -> None:
        super().__init__(handler, config, h2_config)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, Corked(transport)))
        self._connections.add(self)
        # Frames of unknown types are ignored (RFC 9113, 5.5); grpclib raises.
        for event in (UnknownFrameReceived, AlternativeServiceAvailable, InformationalResponseReceived):
            self.processor.processors[event] = _ignore
        h2 = self.connection._connection
        describe_frames_briefly(h2)
        h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS})
        self.connection.flush()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception:
            # Whatever a peer sends ends its own connection, not more.
            _log.debug("malformed HTTP/2", exc_info=True)
            self.processor.close("malformed HTTP/2")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)


def _malformed(headers: dict[str, str]) -> tuple[int, str] | None:
    """Tell what makes a request none of gRPC: an HTTP status and the cause (gRPC over HTTP/2, Requests)."""
    if headers.get(":method") != "POST":
        return 405, "gRPC takes POST only"
    if headers.get("content-type") not in _CONTENT_TYPES:
        return 415, f"the content-type must be {' or '.join(_CONTENT_TYPES)}"
    if headers.get("te") != "trailers":
        return 400, "the header te: trailers is missing"
    return None


async def _refuse(stream: Stream, release_stream: Callable[[], Any], status_code: int, detail: str) -> None:
    """Answer what is no request of gRPC; grpclib would answer UNKNOWN, without details."""
    failure = encode_error(InvalidArgumentError(detail, request_id=secrets.token_hex(8)))
    details = ErrorDetailsCodec().encode(failure.status, failure.message, failure.details)
    headers = [
        (":status", str(status_code)),
        ("content-type", _CONTENT_TYPES[0]),
        ("grpc-status", str(failure.status.value)),
        ("grpc-message", encode_grpc_message(detail)),
        ("grpc-status-details-bin", encode_bin_value(details).decode("ascii")),
    ]
    try:
        await stream.send_headers(headers, end_stream=True)
        if stream.closable:
            stream.reset_nowait()
    except H2Error:
        # The caller has gone.
        return
    finally:
        release_stream()


def _ignore(event: object) -> None:
    pass

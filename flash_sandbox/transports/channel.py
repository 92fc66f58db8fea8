"""A grpclib channel that notices dead links, keeps a path prefix and limits what it takes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final, cast

import grpclib.client
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.metadata import Deadline
from grpclib.protocol import EventsProcessor, H2Protocol
from h2.events import StreamEnded
from h2.settings import SettingCodes
from multidict import MultiDict

from ..address import Address
from ..codecs import MAX_ANSWER_BYTES
from ..codecs.grpc import CLIENT_CODEC, ErrorDetailsCodec
from ..errors import ProtocolError
from .grpc_call import wire_seconds
from .http2 import PING_PATIENCE_SECONDS, PING_SECONDS
from .http2_protocol import (
    CONNECTION_WINDOW_BYTES,
    FRAME_BYTES,
    NOT_HTTP2,
    STREAM_WINDOW_BYTES,
    is_server_preface,
)
from .keepalive import keep_alive
from .quiet_frames import describe_frames_briefly

__all__ = ["Channel", "Stream", "WireDeadline"]

_CONFIGURATION: Final = Configuration(
    _keepalive_time=PING_SECONDS,
    _keepalive_timeout=PING_PATIENCE_SECONDS,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=PING_SECONDS - 10,
    http2_stream_window_size=STREAM_WINDOW_BYTES,
    http2_connection_window_size=CONNECTION_WINDOW_BYTES,
)

# How long a server may take to answer the end of TLS before its connection is cut.
_FAREWELL_SECONDS: Final = 1.0


class WireDeadline(Deadline):
    """A deadline that the server is never told too short."""

    def time_remaining(self) -> float:
        """Return the seconds that are left, rounded up where only whole ones are sent."""
        return wire_seconds(super().time_remaining())


class Stream(grpclib.client.Stream[Any, Any]):
    """One call, whose answer may not be larger than `MAX_ANSWER_BYTES`."""

    @property
    def sent(self) -> bool:
        """Tell whether any of the request may have reached the server."""
        return self._send_request_done

    @property
    def told(self) -> Mapping[str, Any] | None:
        """Return what came with the answer besides its messages."""
        metadata: Mapping[str, Any] | None = self.trailing_metadata or self.initial_metadata
        return metadata

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return bool(self._stream.headers_received.is_set())

    async def recv_message(self) -> Any:
        """Return the next message of the answer, or None where there is none."""
        if not self._recv_initial_metadata_done:
            await self.recv_initial_metadata()
        with self._wrapper:
            head = await self._stream.recv_data(5)
            if not head:
                return None
            if head[0]:
                raise ProtocolError("the answer is compressed, which was not asked for")
            size = int.from_bytes(head[1:], "big")
            if size > MAX_ANSWER_BYTES:
                raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            try:
                data = await self._stream.recv_data(size)
            except AssertionError as error:
                raise ProtocolError("the answer is cut short") from error
            return self._codec.decode(data, self._recv_type)


class _Processor(EventsProcessor):
    """Tells every stream why it has ended, where grpclib would wait for trailers or forget the reason."""

    _reason = ""

    def process_stream_ended(self, event: StreamEnded) -> None:
        super().process_stream_ended(event)
        stream = self.streams.get(event.stream_id)
        if stream is not None and stream.trailers is None and "grpc-status" not in dict(stream.headers or ()):
            # No trailers will come any more: the answer has no status.
            stream.trailers = []
            stream.trailers_received.set()

    def close(self, reason: str = "Connection closed") -> None:
        self._reason = self._reason or reason
        super().close(self._reason)


class _Protocol(H2Protocol):
    """Refuses at once what does not begin as HTTP/2 does; h2 would wait for the rest of a huge frame."""

    agreed = True
    """Whether the server has agreed to HTTP/2, where TLS lets it say so."""

    _head: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport = cast(asyncio.Transport, transport)
        self._lost = asyncio.Event()
        self.processor = _Processor(self.handler, self.connection)
        h2 = self.connection._connection
        describe_frames_briefly(h2)
        h2.update_settings({SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES})
        self.connection.flush()
        tls = transport.get_extra_info("ssl_object")
        self.agreed = tls is None or tls.selected_alpn_protocol() == "h2"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if len(self._head) < 9:
                return
            data = self._head
            self._head = None
            if not is_server_preface(data):
                self.processor.close(NOT_HTTP2)
                return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._lost.set()

    async def until_lost(self) -> None:
        """Return once the socket of a connection that is being closed is, too."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._lost.wait()
        except TimeoutError:
            self._transport.abort()
            await self._lost.wait()


class Channel(grpclib.client.Channel):
    """One HTTP/2 connection, made when the first call needs it and made again after it was lost.

    Args:
        address: Where the orchestrator listens.
        context: TLS settings; None for no TLS.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        if context is not None:
            # grpclib asks no context of another maker for HTTP/2, without which servers talk HTTP/1.
            context.set_alpn_protocols(["h2"])
        unix = address.unix_path is not None
        super().__init__(
            host=None if unix else address.host,
            port=None if unix else address.port,
            path=address.unix_path,
            codec=CLIENT_CODEC,
            status_details_codec=ErrorDetailsCodec(),
            ssl=context,
            config=_CONFIGURATION,
        )
        self._prefix = address.prefix

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(grpclib.client.Handler(), self._config, self._h2_config)

    @property
    def _connected(self) -> bool:
        # A connection that is being closed takes no more requests, though grpclib would still use it.
        return super()._connected and not cast(H2Protocol, self._protocol).connection.is_closing()

    async def _create_connection(self) -> H2Protocol:
        protocol = await super()._create_connection()
        if isinstance(protocol, _Protocol) and not protocol.agreed:
            protocol.processor.close(NOT_HTTP2)
            raise ConnectionError("the server does not speak HTTP/2 (ALPN)")
        if protocol.connection.is_closing():
            # It was lost before this task was told that it had been made; grpclib would use it all the same.
            raise ConnectionError("the connection was closed as soon as it was made")
        return protocol

    def __del__(self) -> None:
        # The transport tells of a client that was not closed, and closes the channel in its own thread.
        pass

    async def connect(self) -> None:
        """Make the connection where there is none."""
        await self.__connect__()

    async def disconnect(self) -> None:
        """End the connection, and return once its socket is closed."""
        protocol = self._protocol
        self.close()
        if isinstance(protocol, _Protocol):
            await protocol.until_lost()

    def call(
        self,
        path: str,
        classes: tuple[type[Any], type[Any]],
        deadline: Deadline | None,
        metadata: list[tuple[str, str]],
        cardinality: Cardinality = Cardinality.UNARY_UNARY,
    ) -> Stream:
        """Return a new call of the method at `path`."""
        return Stream(
            self,
            self._prefix + path,
            cast(Any, MultiDict(metadata)),
            cardinality,
            *classes,
            codec=self._codec,
            status_details_codec=self._status_details_codec,
            dispatch=self.__dispatch__,
            deadline=deadline,
        )

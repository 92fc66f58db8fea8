"""A grpclib channel that notices dead links, leaves a server that takes no more calls, keeps a path prefix
and limits what it takes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import grpclib.client
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.metadata import Deadline
from grpclib.protocol import AbstractHandler, EventsProcessor, H2Protocol
from grpclib.protocol import Connection as H2Sender
from grpclib.protocol import Stream as H2Stream
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamEnded
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame
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
    RefusedError,
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

_REFUSED: Final = "the server has said that it takes no more calls on this connection"

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

    async def _maybe_finish(self) -> None:
        # grpclib forgets an answer that has come whole where the connection has ended since.
        if _is_whole(self._stream) and not self._recv_trailing_metadata_done:
            if not self._recv_initial_metadata_done:
                await self.recv_initial_metadata()
            await self.recv_trailing_metadata()
        await super()._maybe_finish()

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


def _is_whole(stream: H2Stream) -> bool:
    """Tell whether an answer has come to its end, with its status."""
    return stream.trailers is not None or "grpc-status" in dict(stream.headers or ())


class _Processor(EventsProcessor):
    """Tells every stream why it has ended, where grpclib would wait for trailers or forget the reason.

    Attributes:
        leaving: Whether the server takes no more calls on this connection, and goes on with those it has.
    """

    leaving = False
    _reason = ""

    def __init__(self, handler: AbstractHandler, connection: H2Sender) -> None:
        super().__init__(handler, connection)
        self._refused: set[int] = set()

    def register(self, stream: H2Stream) -> Callable[[], None]:
        release = super().register(stream)

        def release_and_leave() -> None:
            release()
            self._leave()

        return release_and_leave

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        for number, stream in self.streams.items():
            if number > (event.last_stream_id or 0) and stream.wrapper is not None:
                stream.wrapper.cancel(RefusedError(_REFUSED))
                self._refused.add(number)
        if event.error_code:
            super().process_connection_terminated(event)
            return
        self.leaving = True
        # Those that wait for a stream's turn get none here.
        self.connection.stream_close_waiter.set()
        self._leave()

    def _leave(self) -> None:
        if self.leaving and not self.streams:
            self.close()

    def process_stream_ended(self, event: StreamEnded) -> None:
        super().process_stream_ended(event)
        stream = self.streams.get(event.stream_id)
        if stream is not None and not _is_whole(stream):
            # No trailers will come any more: the answer has no status.
            stream.trailers = []
            stream.trailers_received.set()

    def close(self, reason: str = "Connection closed") -> None:
        self._reason = self._reason or reason
        streams = self.streams
        # A call whose answer has come whole, or that was refused, has only not been told yet.
        self.streams = {
            number: stream
            for number, stream in streams.items()
            if not (number in self._refused or _is_whole(stream))
        }
        super().close(self._reason)
        self.streams = streams


class _Protocol(H2Protocol):
    """Refuses at once what does not begin as HTTP/2 does; h2 would wait for the rest of a huge frame."""

    agreed = True
    """Whether the server has agreed to HTTP/2, where TLS lets it say so."""

    processor: _Processor
    _head: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport = cast(asyncio.Transport, transport)
        self._lost = asyncio.Event()
        self.processor = _Processor(self.handler, self.connection)
        acknowledge = self.connection.ack

        def acknowledge_while_open(stream_id: int, size: int) -> None:
            if not self.connection.is_closing():
                acknowledge(stream_id, size)

        self.connection.ack = acknowledge_while_open  # type: ignore[method-assign]
        h2 = self.connection._connection
        describe_frames_briefly(h2)
        self._let_calls_end(h2)
        h2.update_settings({SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES})
        self.connection.flush()
        tls = transport.get_extra_info("ssl_object")
        self.agreed = tls is None or tls.selected_alpn_protocol() == "h2"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            keep_alive(sock)

    def _let_calls_end(self, h2: H2Connection) -> None:
        """Go on after a GOAWAY that is no error (RFC 9113, section 6.8), where h2 ends all calls at once."""
        goaway, stream_id = h2._receive_goaway_frame, h2.get_next_available_stream_id

        def receive_goaway(frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
            if frame.error_code:
                return goaway(frame)
            event = ConnectionTerminated()
            event.error_code, event.last_stream_id = ErrorCodes.NO_ERROR, frame.last_stream_id
            return [], [event]

        def next_stream_id() -> int:
            if self.processor.leaving:
                raise RefusedError(_REFUSED)
            return stream_id()

        h2._frame_dispatch_table[GoAwayFrame] = receive_goaway
        h2.get_next_available_stream_id = next_stream_id  # type: ignore[method-assign]

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
        self._left: list[_Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(grpclib.client.Handler(), self._config, self._h2_config)

    @property
    def _connected(self) -> bool:
        # A connection that is being closed takes no more requests, though grpclib would still use it.
        protocol = cast(_Protocol, self._protocol)
        return super()._connected and not (protocol.processor.leaving or protocol.connection.is_closing())

    async def _create_connection(self) -> H2Protocol:
        if self._protocol is not None:
            # Calls may go on there.
            self._left.append(cast(_Protocol, self._protocol))
        self._left = [each for each in self._left if not each.connection.is_closing()]
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
        protocols = [*self._left, cast(_Protocol | None, self._protocol)]
        self.close()
        for protocol in protocols:
            if protocol is not None:
                await protocol.until_lost()

    def close(self) -> None:
        """End the connections, with the calls that go on."""
        for protocol in self._left:
            protocol.processor.close()
        super().close()

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

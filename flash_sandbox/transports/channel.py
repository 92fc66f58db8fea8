"""A grpclib channel that notices dead links, leaves a server that takes no more calls, keeps a path prefix
and limits what it takes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar, cast

import grpclib.client
from flash_sandbox_grpc import SandboxServiceStub
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import Connection as H2Sender
from grpclib.protocol import EventsProcessor, H2Protocol
from grpclib.protocol import Stream as H2Stream
from grpclib.utils import Wrapper
from h2.events import ConnectionTerminated, StreamEnded
from h2.exceptions import NoSuchStreamError
from multidict import MultiDict

from ..address import Address
from ..codecs import MAX_ANSWER_BYTES
from ..codecs.grpc import CLIENT_CODEC, ErrorDetailsCodec
from ..errors import ProtocolError
from .grpc_call import wire_seconds
from .http2_connection import (
    H2_CONFIGURATION,
    NOT_HTTP2,
    PING_PATIENCE_SECONDS,
    PING_SECONDS,
    ClientConnection,
    RefusedError,
)
from .keepalive import keep_alive
from .retry import Limit
from .waiting import within
from .workarounds import KEEPALIVE_FIELDS

__all__ = ["Channel", "Stream", "StubCall", "WireDeadline"]

_KEEPALIVE: Final[dict[str, Any]] = {
    KEEPALIVE_FIELDS["time"]: PING_SECONDS,
    KEEPALIVE_FIELDS["timeout"]: PING_PATIENCE_SECONDS,
    KEEPALIVE_FIELDS["max_pings"]: 0,
    KEEPALIVE_FIELDS["interval"]: PING_SECONDS - 10,
}
_CONFIGURATION: Final = Configuration(**_KEEPALIVE).__for_client__()

_DETAILS_CODEC: Final = ErrorDetailsCodec()

_REFUSED: Final = "the server has said that it takes no more calls on this connection"

T = TypeVar("T")

# How long a server may take to answer the end of TLS before its connection is cut.
_FAREWELL_SECONDS: Final = 1.0


class WireDeadline(Deadline):
    """A deadline that the server is never told too short."""

    def time_remaining(self) -> float:
        """Return the seconds that are left, rounded up where only whole ones are sent."""
        return wire_seconds(super().time_remaining())


class _Half(H2Stream):
    """The HTTP/2 stream of one call, whose answer may not be larger than `MAX_ANSWER_BYTES`."""

    async def recv_data(self, size: int) -> bytes:
        """Return the next `size` bytes of the answer, or nothing at its end."""
        if size > MAX_ANSWER_BYTES:
            raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        try:
            return await super().recv_data(size)
        except AssertionError as error:
            raise ProtocolError("the answer is cut short") from error


class Stream(grpclib.client.Stream[Any, Any]):
    """One call.

    Attributes:
        sent: Whether any of the request may have reached the server.
        half: The HTTP/2 stream, once there is one.
        limit: How long each of its steps may take; None for as long as it takes.
    """

    sent = False
    limit: Limit | None = None
    half: _Half | None = None
    concluded = False

    @property
    def told(self) -> Mapping[str, Any] | None:
        """Return what came with the answer besides its messages."""
        metadata: Mapping[str, Any] | None = self.trailing_metadata or self.initial_metadata
        return metadata

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return self.half is not None and self.half.headers_received.is_set()

    async def send_request(self, *, end: bool = False) -> None:
        """Send the headers."""
        token = _BEGINNING.set(self)
        try:
            await super().send_request(end=end)
        finally:
            _BEGINNING.reset(token)
        self.sent = True

    async def send_message(self, message: Any, *, end: bool = False) -> None:
        """Send a message, the last one where `end` is true."""
        await self._step(partial(super().send_message, message, end=end))

    async def end(self) -> None:
        """Say that there is no other message, unless the server has answered already."""
        if not self.answered:
            await self._step(super().end)

    async def recv_message(self) -> Any:
        """Return the next message of the answer, or None where there is none."""
        try:
            return await self._step(super().recv_message)
        except NotImplementedError as error:
            raise ProtocolError("the answer is compressed, which was not asked for") from error

    async def _step(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await (work() if self.limit is None else within(self.limit, work))
        except NoSuchStreamError as error:
            # The server has ended the call before all was sent. grpclib tells its answer then.
            raise StreamTerminatedError(str(error)) from error

    async def recv_trailing_metadata(self) -> None:
        """Take the status and the metadata at the end of the answer."""
        self.concluded = True
        await super().recv_trailing_metadata()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        # grpclib forgets an answer that has come whole where the connection has ended since.
        if exc_val is None and self.half is not None and _is_whole(self.half) and not self.concluded:
            try:
                await self._take_the_end()
            except BaseException as error:
                await super().__aexit__(type(error), error, error.__traceback__)
                raise
        await super().__aexit__(exc_type, exc_val, exc_tb)

    async def _take_the_end(self) -> None:
        if self.initial_metadata is None:
            await self.recv_initial_metadata()
        await self.recv_trailing_metadata()


_BEGINNING: ContextVar[Stream] = ContextVar("beginning")
"""The call whose HTTP/2 stream is made."""


def _is_whole(stream: H2Stream) -> bool:
    """Tell whether an answer has come to its end, with its status."""
    return stream.trailers is not None or "grpc-status" in dict(stream.headers or ())


class _Sender(H2Sender):
    """Makes the streams of one connection.

    Attributes:
        h2: The state of the connection.
    """

    def __init__(self, h2: ClientConnection, transport: asyncio.Transport) -> None:
        super().__init__(h2, transport, config=_CONFIGURATION)
        self.h2 = h2
        self.transport = transport

    def create_stream(self, *, stream_id: int | None = None, wrapper: Wrapper | None = None) -> H2Stream:
        """Return a new HTTP/2 stream for the call that begins."""
        half = _Half(self, self.h2, self.transport, stream_id=stream_id, wrapper=wrapper)
        _BEGINNING.get().half = half
        return half

    def ack(self, stream_id: int, size: int) -> None:
        """Let the server send as much more."""
        if not self.is_closing():
            super().ack(stream_id, size)


class _Processor(EventsProcessor):
    """Tells every stream why it has ended, where grpclib would wait for trailers or forget the reason."""

    connection: _Sender

    def __init__(self, handler: grpclib.client.Handler, connection: _Sender) -> None:
        super().__init__(handler, connection)
        self._reason = ""
        self._refused: set[int] = set()

    @property
    def leaving(self) -> bool:
        """Tell whether the server takes no more calls on this connection, and goes on with those it has."""
        return self.connection.h2.leaving

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
    """One connection.

    Attributes:
        agreed: Whether the server has agreed to HTTP/2, where TLS lets it say so.
    """

    agreed = True
    processor: _Processor
    handler: grpclib.client.Handler

    def __init__(self) -> None:
        super().__init__(grpclib.client.Handler(), _CONFIGURATION, H2_CONFIGURATION)

    @property
    def usable(self) -> bool:
        """Tell whether it takes another call."""
        return not (self.handler.connection_lost or self.processor.leaving or self.connection.is_closing())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2."""
        self._transport = cast(asyncio.Transport, transport)
        self._lost = asyncio.Event()
        sender = _Sender(ClientConnection(), self._transport)
        self.connection = sender
        self.processor = _Processor(self.handler, sender)
        sender.flush()
        sender.initialize()
        tls = transport.get_extra_info("ssl_object")
        self.agreed = tls is None or tls.selected_alpn_protocol() == "h2"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            keep_alive(sock)

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
            status_details_codec=_DETAILS_CODEC,
            ssl=context,
        )
        self._address = address
        self._context = context
        self._connecting = asyncio.Lock()
        self._current: _Protocol | None = None
        self._left: list[_Protocol] = []

    async def __connect__(self) -> H2Protocol:
        if self._current is None or not self._current.usable:
            async with self._connecting:
                if self._current is None or not self._current.usable:
                    self._current = await self._new_connection()
        return self._current

    async def _new_connection(self) -> _Protocol:
        if self._current is not None:
            # Calls may go on there.
            self._left.append(self._current)
        self._left = [each for each in self._left if not each.connection.is_closing()]
        address, loop = self._address, asyncio.get_running_loop()
        name = None if self._context is None else address.host
        if address.unix_path is not None:
            _, protocol = await loop.create_unix_connection(
                _Protocol, address.unix_path, ssl=self._context, server_hostname=name
            )
        else:
            _, protocol = await loop.create_connection(
                _Protocol, address.host, address.port, ssl=self._context, server_hostname=name
            )
        if not protocol.agreed:
            protocol.processor.close(NOT_HTTP2)
            raise ConnectionError("the server does not speak HTTP/2 (ALPN)")
        if protocol.connection.is_closing():
            # It was lost before this task was told that it had been made.
            raise ConnectionError("the connection was closed as soon as it was made")
        return protocol

    async def connect(self) -> None:
        """Make the connection where there is none."""
        await self.__connect__()

    async def disconnect(self) -> None:
        """End the connection, and return once its socket is closed."""
        protocols = self._protocols()
        self.close()
        for protocol in protocols:
            await protocol.until_lost()

    def _protocols(self) -> list[_Protocol]:
        return self._left if self._current is None else [*self._left, self._current]

    def close(self) -> None:
        """End the connections, with the calls that go on."""
        for protocol in self._protocols():
            protocol.processor.close()
        self._current, self._left = None, []

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> Stream:
        """Return a new call of the method at `name`."""
        if timeout is not None:
            limit = WireDeadline.from_timeout(timeout)
            deadline = limit if deadline is None else min(limit, deadline)
        return Stream(
            self,
            self._address.prefix + name,
            cast(Any, MultiDict(metadata or ())),
            cardinality,
            request_type,
            reply_type,
            codec=CLIENT_CODEC,
            status_details_codec=_DETAILS_CODEC,
            dispatch=self.__dispatch__,
            deadline=deadline,
        )


class StubCall:
    """One call by the generated stub: the channel that the stub gets.

    Args:
        channel: Where the call is made.
        limit: How long each of its steps may take; None for as long as it takes.

    Attributes:
        stub: Makes the call.
        stream: The call, once the stub has begun it.
    """

    stream: Stream | None = None

    def __init__(self, channel: Channel, limit: Limit | None = None) -> None:
        self._channel = channel
        self._limit = limit
        self.stub = SandboxServiceStub(cast(Any, self))

    def request(self, *arguments: Any, **options: Any) -> Stream:
        """Begin the call."""
        self.stream = self._channel.request(*arguments, **options)
        self.stream.limit = self._limit
        return self.stream

    @property
    def sent(self) -> bool:
        """Tell whether any of the request may have reached the server."""
        return self.stream is not None and self.stream.sent

    @property
    def told(self) -> Mapping[str, Any] | None:
        """Return what came with the answer besides its messages."""
        return None if self.stream is None else self.stream.told

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return self.stream is not None and self.stream.answered

    @property
    def concluded(self) -> bool:
        """Tell whether the server has said how the call ended."""
        return self.stream is not None and self.stream.trailing_metadata is not None

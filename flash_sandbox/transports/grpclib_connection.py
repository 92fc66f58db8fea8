"""One HTTP/2 connection on grpclib: it leaves a server that takes no more calls, and says why calls ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import grpclib.client
from grpclib.config import Configuration
from grpclib.protocol import Connection, EventsProcessor, H2Protocol
from grpclib.protocol import Stream as H2Stream
from grpclib.utils import Wrapper
from h2.events import ConnectionTerminated, StreamEnded

from .grpclib_stream import BEGINNING, Half, is_whole
from .http2_connection import (
    H2_CONFIGURATION,
    ClientConnection,
    Pings,
    RefusedError,
)
from .keepalive import keep_alive
from .workarounds import KEEPALIVE_FIELDS

__all__ = ["Protocol"]

_REFUSED: Final = "the server has said that it takes no more calls on this connection"

# How long a server may take to answer the end of TLS before its connection is cut.
_FAREWELL_SECONDS: Final = 1.0


class _Sender(Connection):
    """Makes the streams of one connection.

    Attributes:
        h2: The state of the connection.
    """

    def __init__(
        self, h2: ClientConnection, transport: asyncio.Transport, configuration: Configuration
    ) -> None:
        super().__init__(h2, transport, config=configuration)
        self.h2 = h2
        self.transport = transport

    def create_stream(self, *, stream_id: int | None = None, wrapper: Wrapper | None = None) -> H2Stream:
        """Return a new HTTP/2 stream for the call that begins."""
        half = Half(self, self.h2, self.transport, stream_id=stream_id, wrapper=wrapper)
        BEGINNING.get().half = half
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
        if stream is not None and not is_whole(stream):
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
            if not (number in self._refused or is_whole(stream))
        }
        super().close(self._reason)
        self.streams = streams


class Protocol(H2Protocol):
    """One connection.

    Attributes:
        agreed: Whether the server has agreed to HTTP/2, where TLS lets it say so.
    """

    agreed = True
    processor: _Processor
    handler: grpclib.client.Handler

    def __init__(self) -> None:
        self._configuration = _configuration()
        super().__init__(grpclib.client.Handler(), self._configuration, H2_CONFIGURATION)

    @property
    def usable(self) -> bool:
        """Tell whether it takes another call."""
        return not (self.handler.connection_lost or self.processor.leaving or self.connection.is_closing())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2."""
        self._transport = cast(asyncio.Transport, transport)
        self._lost = asyncio.Event()
        sender = _Sender(ClientConnection(), self._transport, self._configuration)
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
        """End the calls on it."""
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


def _configuration() -> Configuration:
    settings: dict[str, Any] = {
        KEEPALIVE_FIELDS["time"]: Pings.seconds,
        KEEPALIVE_FIELDS["timeout"]: Pings.patience,
        KEEPALIVE_FIELDS["max_pings"]: 0,
        KEEPALIVE_FIELDS["interval"]: Pings.seconds / 2,
    }
    return Configuration(**settings)

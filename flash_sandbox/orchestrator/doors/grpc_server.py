"""The HTTP/2 side of the gRPC front door: grpclib's protocol, with calls of our own.

grpclib's own `Server` keeps connections when it closes, begins a task before anybody has looked at a call,
and answers what it refuses itself (an unknown method, a malformed deadline) without details.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, EventsProcessor, H2Protocol, Stream
from grpclib.protocol import Connection as H2Streams
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from ...transports.http2_connection import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, HeaderEncoder
from ...transports.workarounds import BriefFrames
from .connection import Connection
from .connections import BACKLOG, Connections
from .grpc_calls import Answer, IncomingCall
from .http2_frames import FrameWatch

__all__ = ["MAX_STREAMS", "GRPCServer"]

MAX_STREAMS: Final = 1000
"""How many calls one connection may have open at a time; HTTP/2's usual 100 would let the 101st wait."""

_CLOSE_SECONDS: Final = 1.0
# Less than a client takes: whoever has shown no key may send one, too.
_FRAME_BYTES: Final = 64 * 1024
_CONFIGURATION: Final = Configuration()
_H2_CONFIGURATION: Final = H2Configuration(
    client_side=False,
    header_encoding="ascii",
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)
_log = logging.getLogger(__name__)
_Headers = list[tuple[str, str]]


class Service(Protocol):
    """What answers calls."""

    def accept(self, incoming: IncomingCall) -> Answer | None:
        """Return what answers a call; None where it has been refused."""


class GRPCServer:
    """Serves from `listen` until `shut_down`.

    Args:
        service: What answers calls.
        connections: All connections, shared with the other front door.
    """

    def __init__(self, service: Service, connections: Connections) -> None:
        self._service = service
        self._connections = connections
        self._protocols: set[_Protocol] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which is bound."""

        def protocol(connection: Connection) -> asyncio.Protocol:
            return _Protocol(_Handler(self._service, connection, self._tasks), self._protocols)

        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._connections, protocol, FrameWatch()), sock=sock, backlog=BACKLOG
        )

    def stop_accepting(self) -> None:
        """Accept no more connections. Those that are open are still answered."""
        if self._server is not None:
            self._server.close()

    async def shut_down(self) -> None:
        """Close every connection and wait until the handlers have ended."""
        if self._server is None:
            return
        self._server.close()
        for protocol in tuple(self._protocols):
            protocol.processor.close("server shutdown")
        self._connections.close_silent()
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._server.wait_closed()
        # Those whose callers do not take what they were sent.
        self._connections.abort_all()


class _Handler(AbstractHandler):
    """The calls of one connection."""

    def __init__(self, service: Service, connection: Connection, tasks: set[asyncio.Task[None]]) -> None:
        self._service = service
        self._connection = connection
        self._all_tasks = tasks
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self.h2: H2Connection | None = None

    def accept(self, stream: Stream, headers: _Headers, release_stream: Callable[[], None]) -> None:
        """Begin a call, unless it is refused."""
        assert self.h2 is not None
        answer = self._service.accept(IncomingCall(stream, self.h2, headers, self._connection))
        if answer is None:
            release_stream()
            return

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.pop(stream, None)
            self._all_tasks.discard(task)
            release_stream()

        task = self._tasks[stream] = self._loop.create_task(_run(answer))
        self._all_tasks.add(task)
        task.add_done_callback(end)

    def cancel(self, stream: Stream) -> None:
        """Cancel a call that its caller has given up, once or twice."""
        if stream in self._tasks:
            self._tasks[stream].cancel()

    def close(self) -> None:
        """Cancel every call."""
        for task in self._tasks.values():
            task.cancel()


class _Protocol(H2Protocol):
    def __init__(self, handler: _Handler, protocols: set[_Protocol]) -> None:
        super().__init__(handler, _CONFIGURATION, _H2_CONFIGURATION)
        self._own_handler = handler
        self._protocols = protocols

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocols.add(self)
        h2 = self._own_handler.h2 = H2Connection(_H2_CONFIGURATION)
        h2.encoder = HeaderEncoder()
        h2.incoming_buffer = BriefFrames(server=True)
        h2.initiate_connection()
        h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - h2.local_settings.initial_window_size)
        h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: _FRAME_BYTES,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            }
        )
        # As a client does.
        h2.max_inbound_frame_size = _FRAME_BYTES
        self.connection = H2Streams(h2, transport, config=self.config)  # type: ignore[arg-type]
        self.connection.flush()
        self.processor = _Events(self.handler, self.connection)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception:
            # Whatever a peer sends ends its own connection, not more.
            _log.debug("malformed HTTP/2", exc_info=True)
            self.processor.close("malformed HTTP/2")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._protocols.discard(self)
        super().connection_lost(exc)


class _Events(EventsProcessor):
    def process(self, event: Event) -> None:
        # Frames of unknown types are ignored (RFC 9113, 5.5); grpclib raises.
        with suppress(NotImplementedError):
            super().process(event)

    def process_data_received(self, event: DataReceived) -> None:
        # An empty frame of data would be taken for the end.
        if event.flow_controlled_length:
            super().process_data_received(event)


async def _run(answer: Answer) -> None:
    try:
        await answer()
    except H2Error:
        # The caller has gone.
        _log.debug("a call was not answered to its end", exc_info=True)

"""Serves an ASGI application over HTTP/1.1 in the running event loop, with uvicorn's protocol."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ...codecs.http import encode_error
from ...errors import InvalidArgumentError
from .connection import Connection
from .connections import BACKLOG, Connections
from .upgrades import Upgrade, UpgradeHandler

__all__ = ["HTTPServer"]

# Longer than clients and proxies keep an idle connection, so that none is closed under a request.
_KEEP_ALIVE_SECONDS: Final = 75
# Of a head: the longest path of a file, escaped, and as much again.
_HEAD_BYTES: Final = 32 * 1024
_CLOSE_SECONDS: Final = 1.0


class HTTPServer:
    """Serves from `start` until `close`.

    Args:
        app: The application. It finds its `Connection` in the scope, as ``state["connection"]``.
        connections: All connections, shared with the other front door.
        upgrades: Says who goes on where a request asks for WebSockets.
    """

    def __init__(self, app: ASGIApp, connections: Connections, upgrades: UpgradeHandler) -> None:
        self._connections = connections
        self._upgrades = upgrades
        self._config = uvicorn.Config(
            app,
            http=_Protocol,
            ws=Upgrade,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            proxy_headers=False,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which is bound."""
        self._config.load()

        def protocol(connection: Connection) -> asyncio.Protocol:
            return _Protocol(
                self._config, self._state, {"connection": connection, "upgrades": self._upgrades}
            )

        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._connections, protocol), sock=sock, backlog=BACKLOG
        )

    def stop_accepting(self) -> None:
        """Accept no more connections. Those that are open are still answered."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Close every connection once what it is sending has been sent."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._state.connections)
        for connection in connections:
            connection.shutdown()
        self._connections.close_silent()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._server.wait_closed()
                while self._state.tasks:
                    await asyncio.wait(tuple(self._state.tasks))
        except TimeoutError:
            pass
        for connection in list(self._state.connections):
            transport: Any = connection.transport
            transport.abort()


class _Protocol(H11Protocol):
    """uvicorn's protocol; what is not HTTP is answered with the same body as any other failure."""

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # The answer to the request before is under way: there is no place for another one.
            self.transport.close()
            return
        error = InvalidArgumentError("what was sent is no HTTP/1.1 request", request_id=secrets.token_hex(8))
        status, body = encode_error(error)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-request-id", error.request_id),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    # A stream of bytes that fails is left without its end, since nothing else could tell its client.
    return "without completing response" not in record.getMessage()


# One line for each malformed request, or upgrade that is ignored (RFC 9110, 7.8), would let a client fill it.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)

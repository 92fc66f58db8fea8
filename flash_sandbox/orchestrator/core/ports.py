"""The service core's operations on the TCP ports that programs in a sandbox listen on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from ...codecs.records import BROKEN, NOTHING, record
from ...errors import AtCapacityError, PortClosedError
from ...models import (
    ConnectPortChunk,
    ConnectPortRequest,
    DisconnectPortRequest,
    DisconnectPortResult,
    SendToPortRequest,
    SendToPortResult,
)
from ..guest.ports import PortConnection, connected
from .base import ServiceCore

__all__ = ["PortOperations"]

_QUIET_SECONDS: Final = 15.0
"""After so long a quiet connection says that nothing has happened: proxies cut what is quiet for a minute."""

MOST_CONNECTIONS: Final = 1000
"""Connections to the ports of one sandbox: each may hold as many bytes as its window."""


class PortOperations(ServiceCore):
    """Use the ports of sandboxes; a part of `SandboxService`."""

    async def connect_port(self, request: ConnectPortRequest) -> AsyncGenerator[ConnectPortChunk]:
        """Connect to a port and yield what comes, as records. Leaving the iterator ends the connection."""
        with await self._running(request.id) as sandbox:
            if len(sandbox.connections) >= MOST_CONNECTIONS:
                raise AtCapacityError(f"sandbox {sandbox.id} has {MOST_CONNECTIONS} connections to its ports")
            async with connected(sandbox.guest.channel, request.port) as connection:
                sandbox.connections[connection.id] = connection
                try:
                    yield ConnectPortChunk(record(connection.id.encode()))
                    while piece := await _received(connection):
                        yield ConnectPortChunk(piece)
                        if piece is BROKEN:
                            return
                finally:
                    del sandbox.connections[connection.id]

    async def send_to_port(
        self, request: SendToPortRequest, chunks: AsyncIterator[bytes]
    ) -> SendToPortResult:
        """Send bytes over a connection, as fast as the program reads them."""
        connection = self.registry.get(request.id).connections.get(request.connection_id)
        if connection is None:
            raise PortClosedError(f"there is no connection {request.connection_id}, or it has ended")
        async for chunk in chunks:
            await connection.send(chunk)
        if request.end:
            await connection.send(b"", end=True)
        return SendToPortResult()

    async def disconnect_port(self, request: DisconnectPortRequest) -> DisconnectPortResult:
        """End a connection, if it is still there."""
        connection = self.registry.get(request.id).connections.get(request.connection_id)
        if connection is not None:
            connection.close()
        return DisconnectPortResult()


async def _received(connection: PortConnection) -> bytes:
    """Return the next record of a connection; no bytes at its end."""
    try:
        async with asyncio.timeout(_QUIET_SECONDS):
            data = await connection.receive()
    except TimeoutError:
        return NOTHING
    except PortClosedError:
        return BROKEN
    return record(data) if data else b""

"""The service core's operations on the TCP ports that programs in a sandbox listen on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ...codecs.records import BROKEN, END, NOTHING, record
from ...errors import AtCapacityError, PortClosedError, SandboxFileNotFoundError
from ...models import (
    ConnectPortChunk,
    ConnectPortRequest,
    DisconnectPortRequest,
    DisconnectPortResult,
    GetPortUrlRequest,
    GetPortUrlResult,
    ListPortsRequest,
    ListPortsResult,
    SendToPortRequest,
    SendToPortResult,
)
from ..guest import files
from ..guest.ports import PortConnection, connected
from .base import ServiceCore
from .listening import TABLES, listening
from .port_links import PortLinks, PortName
from .sandboxes import Sandbox

__all__ = ["PortOperations"]

_QUIET_SECONDS: Final = 15.0
"""After so long a quiet connection says that nothing has happened: proxies cut what is quiet for a minute."""

DEFAULT_TTL_SECONDS: Final = 3600.0
"""For how long a URL of a port is good, unless the caller says otherwise."""

MOST_CONNECTIONS: Final = 1000
"""Connections to the ports of one sandbox: each may hold as many bytes as its window."""


class PortOperations(ServiceCore):
    """Use the ports of sandboxes; a part of `SandboxService`.

    Attributes:
        links: Makes and reads the URLs of ports.
    """

    links: PortLinks

    @asynccontextmanager
    async def port_of(self, sandbox_id: str, port: int) -> AsyncIterator[PortConnection]:
        """Connect to a port for the length of the block, after which the connection has ended.

        Raises:
            PortClosedError: Nothing listens there.
            AtCapacityError: The sandbox has too many connections.
        """
        with await self._running(sandbox_id) as sandbox:
            if len(sandbox.connections) >= MOST_CONNECTIONS:
                raise AtCapacityError(f"sandbox {sandbox.id} has {MOST_CONNECTIONS} connections to its ports")
            async with connected(sandbox.guest.channel, port) as connection:
                sandbox.connections[connection.id] = connection
                try:
                    yield connection
                finally:
                    del sandbox.connections[connection.id]

    async def list_ports(self, request: ListPortsRequest) -> ListPortsResult:
        """Return the ports that programs listen on, and tell of those that have come and gone since.

        Nobody looks at other times: the kernel tells of no change, and looking all the time would take more
        than most sandboxes do.
        """
        with await self._running(request.id) as sandbox:
            tables = [await _table(sandbox, path) for path in TABLES]
            ports = listening(*tables)
            numbers = {each.port for each in ports}
            for port in sorted(numbers - sandbox.listening):
                sandbox.tell("port_opened", str(port))
            for port in sorted(sandbox.listening - numbers):
                sandbox.tell("port_closed", str(port))
            sandbox.listening = numbers
        return ListPortsResult(ports)

    async def get_port_url(self, request: GetPortUrlRequest) -> GetPortUrlResult:
        """Return a URL by which whoever has it reaches a port."""
        sandbox = self.registry.get(request.id)
        ttl = request.ttl_seconds or DEFAULT_TTL_SECONDS
        return GetPortUrlResult(self.links.url(PortName(sandbox.id, request.port), ttl))

    async def connect_port(self, request: ConnectPortRequest) -> AsyncGenerator[ConnectPortChunk]:
        """Connect to a port and yield what comes, as records. Leaving the iterator ends the connection."""
        async with self.port_of(request.id, request.port) as connection:
            yield ConnectPortChunk(record(connection.id.encode()))
            async for each in _records(connection):
                yield ConnectPortChunk(each)

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


async def _table(sandbox: Sandbox, path: str) -> bytes:
    """Return a table of the kernel; nothing where there is none, as without IPv6."""
    try:
        return await files.read_file(sandbox.guest.channel, path)
    except SandboxFileNotFoundError:
        return b""


async def _records(connection: PortConnection) -> AsyncGenerator[bytes]:
    """Yield what a program sends, its end, and whether it broke off, until both sides have ended."""
    has_ended = False
    while True:
        try:
            async with asyncio.timeout(_QUIET_SECONDS):
                if has_ended:
                    await connection.ended()
                    return
                data = await connection.receive()
        except TimeoutError:
            yield NOTHING
        except PortClosedError:
            yield BROKEN
            return
        else:
            has_ended = not data
            yield record(data) if data else END

"""HTTP/1.1 to the ports of sandboxes, WebSockets included, through their guest agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import httpcore

from ...errors import PortClosedError
from ..cancellation import alongside
from ..core.service import SandboxService
from ..guest.ports import PortConnection
from .call import Call
from .http_exchange import Client
from .port_access import Admission, PortAccess, Target

__all__ = ["PortProxy", "Upgraded"]

_Pairs = list[tuple[bytes, bytes]]

_PIECE: Final = 64 * 1024


class PortProxy:
    """Passes requests on.

    Args:
        service: The service core.
        access: Says who may, and what of the headers goes through.
    """

    def __init__(self, service: SandboxService, access: PortAccess) -> None:
        self._service = service
        self._access = access

    async def respond(
        self, target: Target, admission: Admission, method: str, client: Client, call: Call
    ) -> None:
        """Answer a request with what the program in the sandbox answers.

        Raises:
            PortClosedError: Nothing listens, or what answers does not speak HTTP.
            SandboxError: The sandbox cannot be used.
        """
        call.sandbox = target.name.sandbox_id
        if not target.path or admission.cookie:
            await _begin(client, 307 if not admission.cookie else 303, _moved(target, admission))
            await client.reply.end()
            return
        pairs: _Pairs = client.scope["headers"]
        body = await _body(client, dict(pairs))
        async with self._service.port_of(target.name.sandbox_id, target.name.port) as connection:
            headers = list(self._access.to_send(target, admission, pairs))
            response = await _ask(connection, target, admission, method, headers, body)
            answered = self._access.to_answer(target, list(response.headers))
            await _begin(client, response.status, answered)
            try:
                async for chunk in response.aiter_stream():
                    await client.reply.send(chunk)
            except (httpcore.ProtocolError, httpcore.NetworkError) as error:
                raise PortClosedError(f"the answer of port {target.name.port} broke off") from error
            finally:
                await response.aclose()
            await client.reply.end()

    async def upgrade(
        self, target: Target, admission: Admission, method: str, headers: _Pairs, upgraded: Upgraded
    ) -> int:
        """Ask for another protocol and, where the program agrees, carry that until both sides have ended.

        Returns:
            The status that was answered.

        Raises:
            PortClosedError: Nothing listens, or what answers does not speak HTTP.
            SandboxError: The sandbox cannot be used.
        """
        async with self._service.port_of(target.name.sandbox_id, target.name.port) as connection:
            wanted = dict(headers).get(b"upgrade", b"")
            changed = [(b"connection", b"Upgrade"), (b"upgrade", wanted)]
            sent = [*self._access.to_send(target, admission, headers), *changed]
            response = await _ask(connection, target, admission, method, sent, b"")
            answered = self._access.to_answer(target, list(response.headers))
            if response.status != 101:
                await upgraded.begin(response.status, [*answered, (b"connection", b"close")])
                with suppress(httpcore.ProtocolError, httpcore.NetworkError):
                    async for chunk in response.aiter_stream():
                        await upgraded.send(chunk)
                return response.status
            await upgraded.begin(101, [*answered, *changed])
            stream = response.extensions["network_stream"]
            async with alongside(_send_all(upgraded, connection)):
                with suppress(httpcore.ReadError, PortClosedError):
                    while data := await stream.read(_PIECE):
                        await upgraded.send(data)
                    upgraded.end()
                    await connection.ended()
            return 101


class Upgraded:
    """The caller's end of a connection that leaves HTTP.

    Args:
        reader: What the caller sends.
        writer: What it is sent.

    Attributes:
        has_begun: Whether it has been answered.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.has_begun = False
        self._reader = reader
        self._writer = writer

    async def begin(self, status: int, headers: _Pairs) -> None:
        """Send the head of the answer."""
        self.has_begun = True
        lines = [b"HTTP/1.1 %d " % status, *(name + b": " + value for name, value in headers), b"", b""]
        await self.send(b"\r\n".join(lines))

    async def send(self, data: bytes) -> None:
        """Send bytes, as fast as the caller reads them."""
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Close this side. The caller may still send."""
        self._writer.write_eof()

    async def receive(self) -> bytes:
        """Return what comes next; nothing at the end."""
        return await self._reader.read(_PIECE)


class _PortStream(httpcore.AsyncNetworkStream):
    """A connection to a port, as httpcore takes it."""

    def __init__(self, connection: PortConnection) -> None:
        self._connection = connection
        self._left = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = self._left or await self._connection.receive()
        except PortClosedError as error:
            raise httpcore.ReadError(error.detail) from error
        self._left = data[max_bytes:]
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._connection.send(buffer)
        except PortClosedError as error:
            raise httpcore.WriteError(error.detail) from error

    async def aclose(self) -> None:
        """Do nothing: the connection ends with its block."""


async def _ask(
    connection: PortConnection,
    target: Target,
    admission: Admission,
    method: str,
    headers: _Pairs,
    body: bytes | AsyncIterator[bytes],
) -> httpcore.Response:
    """Send a request over a connection, and return the answer once its body begins."""
    path = _with_query(target.path or b"/", admission)
    origin = httpcore.Origin(b"http", b"localhost", target.name.port)
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=target.name.port, target=path)
    request = httpcore.Request(method, url, headers=headers, content=body)
    try:
        return await httpcore.AsyncHTTP11Connection(origin, _PortStream(connection)).handle_async_request(
            request
        )
    except (httpcore.ProtocolError, httpcore.NetworkError) as error:
        raise PortClosedError(f"port {target.name.port} gave no answer of HTTP/1.1: {error}") from error


async def _begin(client: Client, status: int, headers: _Pairs) -> None:
    """Send the head of an answer that is not the orchestrator's own."""
    client.reply.is_binary = True
    await client.reply.pass_on({"type": "http.response.start", "status": status, "headers": headers})


async def _body(client: Client, headers: dict[bytes, bytes]) -> bytes | AsyncIterator[bytes]:
    """Return the body of a request, and have the client watched once it has been read."""

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in client.chunks():
            yield chunk
        client.watch()

    if b"content-length" in headers or b"transfer-encoding" in headers:
        return chunks()
    return b"".join([chunk async for chunk in chunks()])


async def _send_all(upgraded: Upgraded, connection: PortConnection) -> None:
    """Send what the caller sends, and its end. That it has gone is seen once it is sent something."""
    try:
        while data := await upgraded.receive():
            await connection.send(data)
        await connection.send(b"", end=True)
    except (PortClosedError, ConnectionError):
        connection.close()


def _with_query(path: bytes, admission: Admission) -> bytes:
    return path + b"?" + admission.query if admission.query else path


def _moved(target: Target, admission: Admission) -> _Pairs:
    """Return the head that sends a browser to where it is to be: with a slash, without its link."""
    # Two slashes would begin another host's name.
    where = b"/" + target.path.lstrip(b"/") if target.path else b"%d/" % target.name.port
    headers: _Pairs = [
        (b"location", _with_query(where, admission)),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
    ]
    return [*headers, (b"set-cookie", admission.cookie)] if admission.cookie else headers

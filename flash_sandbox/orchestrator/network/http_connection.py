"""HTTP/1.1 from a program of a sandbox to servers outside: each request is judged, and sent on by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

import h11

from .judge import Refused, Target
from .one_connection import OF_ONE_CONNECTION, named_by_connection
from .streams import IDLE_SECONDS, Headers, Lost, Outer, RequestWay, Stream, relay

__all__ = ["Connected", "HttpConnection"]

_HEAD_BYTES: Final = 64 * 1024
_HEAD_SECONDS: Final = 30.0
_LINGER_SECONDS: Final = 2.0
_PORT: Final = 80
_SWITCHED: Final = 101

_Event: TypeAlias = (
    h11.Request
    | h11.InformationalResponse
    | h11.Response
    | h11.Data
    | h11.EndOfMessage
    | h11.ConnectionClosed
)


@dataclass(frozen=True, slots=True)
class Connected:
    """What CONNECT has made.

    Attributes:
        target: The host.
        outer: The connection to it.
        rest: What the program has sent already.
    """

    target: Target
    outer: Outer
    rest: bytes


class _Failed(Exception):
    """A request that is answered here.

    Args:
        status: Status of the answer.
        why: What it says.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class HttpConnection:
    """A program's connection that carries requests.

    Args:
        inner: The program's end.
        way: Where requests go out.
        first: What the program has sent already.
        fixed: The only host that requests may be for; None for a proxy, which each request tells.
        outer: A connection to that host, for the first request.
        default_port: The port that requests mean where they name none.
    """

    def __init__(
        self,
        inner: Stream,
        way: RequestWay,
        first: bytes,
        fixed: Target | None = None,
        outer: Outer | None = None,
        default_port: int = _PORT,
    ) -> None:
        self._inner = inner
        self._way = way
        self._fixed = fixed
        self._outer = outer
        self._default_port = default_port
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        if first:
            self._client.receive_data(first)

    async def serve(self) -> Connected | None:
        """Serve requests until the connection ends; return what the program is connected to by CONNECT."""
        try:
            return await self._serve()
        except Refused as refused:
            self._way.refuse(refused)
            await self._answer(403, f"flash-sandbox: {refused}")
        except _Failed as failed:
            await self._answer(failed.status, f"flash-sandbox: {failed}")
        except h11.ProtocolError as error:
            await self._answer(error.error_status_hint, f"flash-sandbox: {error}")
        finally:
            if self._outer is not None:
                self._outer.close()
        return None

    async def _serve(self) -> Connected | None:
        while True:
            async with asyncio.timeout(_HEAD_SECONDS if self._client.trailing_data[0] else IDLE_SECONDS):
                request = await _next(self._client, self._inner)
            if not isinstance(request, h11.Request):
                return None
            if request.method == b"CONNECT" and self._fixed is None:
                return await self._connect(request)
            target, path = _target_of(request, self._fixed, self._default_port)
            outer = await self._reach(target)
            try:
                if not await self._forward(request, target, path, outer):
                    return None
            finally:
                outer.close()
            self._client.start_next_cycle()

    async def _connect(self, request: h11.Request) -> Connected:
        target = Target.split(_text(request.target))
        outer = await self._reach(target)
        await _next(self._client, self._inner)
        answer = self._client.send(
            h11.Response(status_code=200, headers=[], reason=b"Connection established")
        )
        await self._inner.write(answer or b"")
        return Connected(target, outer, self._client.trailing_data[0])

    async def _reach(self, target: Target) -> Outer:
        outer, self._outer = self._outer, None
        if outer is not None:
            return outer
        try:
            return await self._way.connect(target)
        except OSError as error:
            raise _Failed(502, f"{target} cannot be reached: {error.strerror or error}") from error

    async def _forward(self, request: h11.Request, target: Target, path: bytes, outer: Outer) -> bool:
        """Send a request on, and its answer back; tell whether the connection can carry another one."""
        server = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        path, headers = self._way.filled_in(target, path, _sent_on(request))
        head = server.send(h11.Request(method=request.method, target=path, headers=headers))
        await outer.write(head or b"")
        body = asyncio.create_task(self._send_body(server, outer))
        answer = asyncio.create_task(self._send_answer(server, outer, body))
        try:
            await asyncio.wait({body, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() and body.exception() is not None:
                body.result()
            switched = await answer
        finally:
            for task in (body, answer):
                task.cancel()
            await asyncio.wait({body, answer})
        if switched:
            await outer.write(self._client.trailing_data[0])
            await self._inner.write(server.trailing_data[0])
            await relay(self._inner, outer)
            return False
        return self._client.our_state is h11.DONE and self._client.their_state is h11.DONE

    async def _send_body(self, server: h11.Connection, outer: Outer) -> None:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                event = await _next(self._client, self._inner)
                if isinstance(event, h11.ConnectionClosed):
                    raise Lost
                sent = event if isinstance(event, h11.Data) else h11.EndOfMessage(headers=_headers(event))
                # The server may have answered, and not want the rest.
                with suppress(Lost):
                    await outer.write(server.send(sent) or b"")
            if isinstance(event, h11.EndOfMessage):
                return

    async def _send_answer(self, server: h11.Connection, outer: Outer, body: asyncio.Task[None]) -> bool:
        """Send the answer back; tell whether the connection is not HTTP's any more."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    event = await _next(server, outer)
            except (h11.RemoteProtocolError, Lost, TimeoutError) as error:
                raise _Failed(502, f"the server's answer cannot be read: {error}") from error
            if isinstance(event, h11.ConnectionClosed):
                raise _Failed(502, "the server has closed the connection")
            switched = isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHED
            if switched:
                await body
            sent = self._client.send(_sent_back(event))
            await self._inner.write(sent or b"")
            if switched or isinstance(event, h11.EndOfMessage):
                return switched

    async def _answer(self, status: int, why: str) -> None:
        """Answer a request here, and end the connection once the program had time to read that."""
        if self._client.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = f"{why}\n".encode(errors="replace")
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            head.append((b"content-length", str(len(text)).encode()))
            with suppress(h11.LocalProtocolError):
                for event in (h11.Response(status_code=status, headers=head), h11.Data(data=text)):
                    await self._inner.write(self._client.send(event) or b"")
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._inner.end()
                while await self._inner.read():
                    pass


async def _next(connection: h11.Connection, stream: Stream) -> _Event:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.read())
        elif isinstance(event, _Event):
            return event
        else:
            raise Lost


def _target_of(request: h11.Request, fixed: Target | None, default_port: int) -> tuple[Target, bytes]:
    """Return the host and the path that a request is for.

    Raises:
        Refused: It names one host here and another one there.
    """
    asked = request.target
    if asked[:7].lower() == b"http://":
        rest = asked[7:]
        end = min((at for mark in b"/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
        target, path = Target.split(_text(rest[:end]), _PORT), rest[end:].partition(b"#")[0]
        if not path.startswith(b"/"):
            path = b"/" + path
    elif fixed is not None and (asked.startswith(b"/") or asked == b"*"):
        target, path = fixed, asked
    else:
        raise _Failed(400, "this is a proxy: a request is for http://HOST/..., or CONNECT HOST:PORT")
    hosts = [value for name, value in request.headers if name == b"host"]
    for named in (target, *(Target.split(_text(host), default_port) for host in hosts)):
        if named != (fixed or target):
            raise Refused(named, f"the request is for another host than {fixed or target}")
    return target, path


def _sent_on(request: h11.Request) -> Headers:
    """Return the headers of a request for a connection of its own."""
    kept = _kept(request)
    # No other protocol: what HTTP/2 asks for on the same connection would not be judged.
    upgrade = [
        value for name, value in request.headers if name == b"upgrade" and value.lower() == b"websocket"
    ]
    if upgrade:
        return [*kept, (b"connection", b"upgrade"), *((b"upgrade", value) for value in upgrade)]
    return [*kept, (b"connection", b"close")]


def _sent_back(event: _Event) -> h11.Event:
    """Return what is sent to the program of what a server has sent."""
    if isinstance(event, h11.Response):
        return h11.Response(status_code=event.status_code, headers=_kept(event), reason=event.reason)
    if isinstance(event, h11.EndOfMessage):
        return h11.EndOfMessage(headers=_headers(event))
    return event


def _kept(message: h11.Request | h11.Response) -> Headers:
    """Return the headers that are not about one connection, as they were written."""
    dropped = (OF_ONE_CONNECTION | named_by_connection(message.headers)) - {b"host"}
    return [(name, value) for name, value in message.headers.raw_items() if name.lower() not in dropped]


def _headers(event: _Event) -> Headers:
    return list(event.headers) if isinstance(event, h11.EndOfMessage) else []


def _text(data: bytes) -> str:
    return data.decode("latin-1")

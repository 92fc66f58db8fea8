"""The httpx transport of our own clients: httpcore's connections, each with one request at a time.

httpcore's own pool looks at every connection when a request begins and when it ends, and asks the kernel
whether each idle one is still there: with 64 requests at a time that is most of what a call costs. Only a
proxy, which may have many addresses behind it, has that pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpcore
import httpx

from ...address import Address
from ..http_network import AsyncNetwork
from ..http_timing import EXTENSION, Timeouts, Timing
from ..keepalive import SOCKET_OPTIONS
from ..limits import MOST_IDLE
from ..proxies import async_proxy_pool
from ..tls import default_context

__all__ = ["AsyncPool"]

# Less than the five seconds after which some servers close an idle connection.
_KEEPALIVE_SECONDS: Final = 4.0
# httpx and httpcore call the same failures by the same names.
_FAILURES: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


class AsyncPool(httpx.AsyncBaseTransport):
    """The connections of a client.

    Args:
        address: Where the orchestrator listens.
        proxy: URL of the proxy to go through; None for none.

    Raises:
        InvalidArgumentError: The URL is malformed, or httpcore lacks a package for its scheme.
    """

    def __init__(self, address: Address, proxy: str | None = None) -> None:
        self._network = AsyncNetwork()
        self._settings = _settings(address) | self._network.settings
        scheme = b"https" if address.tls else b"http"
        self._origin = httpcore.Origin(scheme, address.host.encode("ascii"), address.port)
        self._proxy = None if proxy is None else async_proxy_pool(proxy, self._settings)
        self._idle: list[httpcore.AsyncHTTPConnection] = []
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer once its body begins; failures are httpx's."""
        timing: Timing = request.extensions[EXTENSION]
        timeouts = self._network.timeouts(timing)
        connection = self._proxy or await self._take(timeouts["pool"])
        try:
            response = await connection.handle_async_request(_to_send(request, timeouts))
        except BaseException as failure:
            await self.release(connection, sound=False)
            if isinstance(failure, _FAILURES):
                raise _as_httpx(failure) from failure
            raise
        if timing.bounds != "answer" and 200 <= response.status < 300:
            # Looked up once more when the body is read. An error has no more time than the call.
            timeouts["read"] = self._network.patience
        body = _AsyncBody(response, self, connection)
        return httpx.Response(
            response.status, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def _take(self, seconds: float | None) -> httpcore.AsyncHTTPConnection:
        """Take a connection that no other call uses; it is connected when it is used first."""
        await self._network.enter(seconds)
        while True:
            with self._network.lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = httpcore.AsyncHTTPConnection(self._origin, **self._settings)
            elif connection.has_expired():
                await connection.aclose()
                continue
            with self._network.lock:
                self._busy.add(connection)
            return connection

    async def release(self, connection: object, *, sound: bool) -> None:
        """Keep a sound connection for the next call, or close it. Twice does no more."""
        stale = None
        with self._network.lock:
            if not isinstance(connection, httpcore.AsyncHTTPConnection) or connection not in self._busy:
                return
            self._busy.remove(connection)
            kept = sound and connection.is_idle() and not self._closed and len(self._idle) < MOST_IDLE
            if kept:
                self._idle.append(connection)
                if len(self._idle) > 1 and self._idle[0].has_expired():
                    stale = self._idle.pop(0)
        self._network.leave()
        if not kept:
            await connection.aclose()
        if stale is not None:
            await stale.aclose()

    def forget(self, connection: object) -> None:
        """Give up a connection whose answer nobody has any more; nothing where it was released."""
        with self._network.lock:
            if connection not in self._busy:
                return
            self._busy.discard(connection)
        self._network.leave()
        self._network.drop(connection)

    async def aclose(self) -> None:
        """Release the connections, those that are in use, too."""
        with self._network.lock:
            self._closed = True
            connections = [*self._idle, *self._busy]
            self._idle.clear()
        self._network.abort()
        for connection in connections:
            await connection.aclose()
        if self._proxy is not None:
            await self._proxy.aclose()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response, pool: AsyncPool, connection: object) -> None:
        self._response = response
        self._pool = pool
        self._connection = connection
        self._is_closed = False

    def __del__(self) -> None:
        # An interrupt may come between the beginning of the answer and the moment when httpx sees to its end.
        # Once it has been given back, another call may have the connection.
        if not self._is_closed:
            self._pool.forget(self._connection)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except _FAILURES as failure:
            raise _as_httpx(failure) from failure

    async def aclose(self) -> None:
        sound, self._is_closed = False, True
        try:
            await self._response.aclose()
            sound = True
        finally:
            await self._pool.release(self._connection, sound=sound)


def _settings(address: Address) -> dict[str, Any]:
    """Return how a connection is made."""
    settings: dict[str, Any] = {"keepalive_expiry": _KEEPALIVE_SECONDS}
    if address.unix_path is not None:
        return settings | {"uds": address.unix_path}
    context = default_context() if address.tls else None
    return settings | {"socket_options": SOCKET_OPTIONS, "ssl_context": context}


def _to_send(request: httpx.Request, timeouts: Timeouts) -> httpcore.Request:
    parts = request.url
    url = httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    content: Any = request.stream
    extensions = {"timeout": timeouts}
    return httpcore.Request(
        request.method, url, headers=request.headers.raw, content=content, extensions=extensions
    )


def _as_httpx(failure: Exception) -> Exception:
    translated: Exception = getattr(httpx, type(failure).__name__)(str(failure))
    return translated

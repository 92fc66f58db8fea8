"""The httpx transports of our own clients: httpcore's connections, each with one request at a time.

httpcore's own pool looks at every connection when a request begins and when it ends, and asks the kernel
whether each idle one is still there: with 64 requests at a time that is most of what a call costs. Only a
proxy, which may have many addresses behind it, has that pool.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import httpcore
import httpx

from ..address import Address
from .deadline_backend import DeadlineBackend, EachStep
from .http_timing import EXTENSION, Timeouts, Timing
from .keepalive import SOCKET_OPTIONS
from .limits import MOST_CONNECTIONS, MOST_IDLE
from .proxies import async_proxy_pool, proxy_pool
from .retry import Patience
from .tls import default_context

__all__ = ["AsyncPool", "Pool"]

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


def _settings(address: Address) -> dict[str, Any]:
    """Return how a connection is made."""
    settings: dict[str, Any] = {"keepalive_expiry": _KEEPALIVE_SECONDS}
    if address.unix_path is not None:
        return settings | {"uds": address.unix_path}
    context = default_context() if address.tls else None
    return settings | {"socket_options": SOCKET_OPTIONS, "ssl_context": context}


def _origin(address: Address) -> httpcore.Origin:
    scheme = b"https" if address.tls else b"http"
    return httpcore.Origin(scheme, address.host.encode("ascii"), address.port)


def _to_send(request: httpx.Request, timeouts: Timeouts) -> httpcore.Request:
    url = httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )
    assert isinstance(request.stream, Iterable | AsyncIterable)
    return httpcore.Request(
        request.method,
        url,
        headers=request.headers.raw,
        content=request.stream,
        extensions={"timeout": timeouts},
    )


def _as_httpx(failure: Exception) -> Exception:
    translated: Exception = getattr(httpx, type(failure).__name__)(str(failure))
    return translated


class Pool(httpx.BaseTransport):
    """The connections of a synchronous client; the deadline of a call bounds it as a whole.

    Args:
        address: Where the orchestrator listens.
        proxy: URL of the proxy to go through; None for none.

    Raises:
        InvalidArgumentError: The URL is malformed, or httpcore lacks a package for its scheme.
    """

    def __init__(self, address: Address, proxy: str | None = None) -> None:
        self._backend = DeadlineBackend()
        self._settings = _settings(address) | {"network_backend": self._backend}
        self._origin = _origin(address)
        self._proxy = None if proxy is None else proxy_pool(proxy, self._settings)
        self._idle: list[httpcore.HTTPConnection] = []
        self._busy: set[httpcore.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer once its body begins; failures are httpx's."""
        timing: Timing = request.extensions[EXTENSION]
        timeouts = timing.first_steps()
        seconds = timeouts["pool"]
        # `DeadlineBackend` takes a number for a moment rather than a duration.
        timeouts["connect"] = _moment(timeouts["connect"])
        patience = EachStep(Patience.seconds)
        step = patience if timing.bounds == "connection" else timeouts["connect"]
        timeouts["read"] = timeouts["write"] = step
        connection = self._proxy or self._take(seconds)
        try:
            response = connection.handle_request(_to_send(request, timeouts))
        except BaseException as failure:
            self._release(connection)
            if isinstance(failure, _FAILURES):
                raise _as_httpx(failure) from failure
            raise
        if timing.bounds != "answer":
            # Looked up once more when the body is read.
            timeouts["read"] = patience
        body = _Body(response, lambda: self._release(connection))
        return httpx.Response(
            response.status, headers=response.headers, stream=body, extensions=response.extensions
        )

    def _take(self, seconds: float | None) -> httpcore.HTTPConnection:
        """Take a connection that no other call uses; it is connected when it is used first."""
        if not self._room.acquire(timeout=seconds):
            raise httpx.PoolTimeout("every connection is in use")
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = httpcore.HTTPConnection(self._origin, **self._settings)
            elif connection.has_expired():
                connection.close()
                continue
            with self._lock:
                self._busy.add(connection)
            return connection

    def _release(self, connection: object) -> None:
        """Keep a connection for the next call, or close it. Twice does no more."""
        stale = None
        with self._lock:
            if not isinstance(connection, httpcore.HTTPConnection) or connection not in self._busy:
                return
            self._busy.remove(connection)
            kept = connection.is_idle() and not self._closed and len(self._idle) < MOST_IDLE
            if kept:
                self._idle.append(connection)
                if len(self._idle) > 1 and self._idle[0].has_expired():
                    stale = self._idle.pop(0)
        self._room.release()
        if not kept:
            connection.close()
        if stale is not None:
            stale.close()

    def close(self) -> None:
        """Release the connections, those that are in use, too."""
        with self._lock:
            self._closed = True
            connections = [*self._idle, *self._busy]
            self._idle.clear()
        self._backend.abort()
        for connection in connections:
            connection.close()
        if self._proxy is not None:
            self._proxy.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response, release: Callable[[], None]) -> None:
        self._response = response
        self._release = release

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_stream()
        except _FAILURES as failure:
            raise _as_httpx(failure) from failure

    def close(self) -> None:
        try:
            self._response.close()
        finally:
            self._release()


class AsyncPool(httpx.AsyncBaseTransport):
    """The connections of an asynchronous client, in one event loop; the caller bounds a call as a whole.

    Args:
        address: Where the orchestrator listens.
        proxy: URL of the proxy to go through; None for none.

    Raises:
        InvalidArgumentError: The URL is malformed, or httpcore lacks a package for its scheme.
    """

    def __init__(self, address: Address, proxy: str | None = None) -> None:
        self._settings = _settings(address)
        self._origin = _origin(address)
        self._proxy = None if proxy is None else async_proxy_pool(proxy, self._settings)
        self._idle: list[httpcore.AsyncHTTPConnection] = []
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer once its body begins; failures are httpx's."""
        timing: Timing = request.extensions[EXTENSION]
        timeouts = timing.first_steps()
        connection = self._proxy or await self._take(timeouts["pool"])
        try:
            response = await connection.handle_async_request(_to_send(request, timeouts))
        except BaseException as failure:
            await self._release(connection)
            if isinstance(failure, _FAILURES):
                raise _as_httpx(failure) from failure
            raise
        if timing.bounds != "answer":
            # Looked up once more when the body is read.
            timeouts["read"] = Patience.seconds
        body = _AsyncBody(response, lambda: self._release(connection))
        return httpx.Response(
            response.status, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def _take(self, seconds: float | None) -> httpcore.AsyncHTTPConnection:
        """Take a connection that no other call uses; it is connected when it is used first."""
        if self._room.locked() and seconds is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self._room.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("every connection is in use") from error
        else:
            await self._room.acquire()
        while True:
            connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = httpcore.AsyncHTTPConnection(self._origin, **self._settings)
            elif connection.has_expired():
                await connection.aclose()
                continue
            self._busy.add(connection)
            return connection

    async def _release(self, connection: object) -> None:
        """Keep a connection for the next call, or close it. Twice does no more."""
        if not isinstance(connection, httpcore.AsyncHTTPConnection) or connection not in self._busy:
            return
        self._busy.remove(connection)
        self._room.release()
        if not connection.is_idle() or self._closed or len(self._idle) >= MOST_IDLE:
            await connection.aclose()
            return
        self._idle.append(connection)
        if len(self._idle) > 1 and self._idle[0].has_expired():
            await self._idle.pop(0).aclose()

    async def aclose(self) -> None:
        """Release the connections, those that are in use, too."""
        self._closed = True
        connections = [*self._idle, *self._busy]
        self._idle.clear()
        for connection in connections:
            await connection.aclose()
        if self._proxy is not None:
            await self._proxy.aclose()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response, release: Callable[[], Awaitable[None]]) -> None:
        self._response = response
        self._release = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except _FAILURES as failure:
            raise _as_httpx(failure) from failure

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            await self._release()


def _moment(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds

"""Connections of our own for HTTP: httpcore's, each of which carries one request at a time.

httpcore's own pool looks at every connection when a request begins and when it ends, and asks the kernel
whether each idle one is still there: with 64 requests at a time that is most of what a call costs.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

import httpcore

from ..address import Address
from ..codecs.http import HTTPCall
from .deadline_backend import DeadlineBackend, EachStep
from .http_exchange import AsyncOpenAnswer, Headers, OpenAnswer, Timeouts
from .keepalive import SOCKET_OPTIONS
from .limits import MOST_CONNECTIONS, MOST_IDLE
from .retry import Deadline, Patience
from .tls import default_context

__all__ = ["AsyncPool", "Pool"]

# Less than the five seconds after which some servers close an idle connection.
_KEEPALIVE_SECONDS: Final = 4.0


class _Requests:
    """Makes httpcore's requests to one address, and says how it is connected to."""

    def __init__(self, address: Address) -> None:
        self._scheme = b"https" if address.tls else b"http"
        self._host = address.host.encode("ascii")
        self._port = address.port
        self._prefix = f"{address.prefix}/"
        default_port = 443 if address.tls else 80
        authority = address.authority
        if address.port == default_port:
            authority = authority.removesuffix(f":{default_port}")
        self._host_header = (b"host", authority.encode("ascii"))
        self.settings: dict[str, Any] = {
            "origin": httpcore.Origin(self._scheme, self._host, address.port),
            "keepalive_expiry": _KEEPALIVE_SECONDS,
        }
        if address.unix_path is not None:
            self.settings["uds"] = address.unix_path
        else:
            self.settings |= {"socket_options": SOCKET_OPTIONS, "ssl_context": _tls_context(address)}

    def make(
        self,
        call: HTTPCall,
        headers: Headers,
        timeouts: Timeouts | None,
        content: Iterator[bytes] | AsyncIterator[bytes] | None,
    ) -> httpcore.Request:
        url = httpcore.URL(
            scheme=self._scheme,
            host=self._host,
            port=self._port,
            target=(self._prefix + call.path).encode("ascii"),
        )
        pairs = [self._host_header, *((name.encode(), value.encode()) for name, value in headers)]
        if content is not None:
            pairs.append((b"transfer-encoding", b"chunked"))
        elif call.body is not None:
            pairs.append((b"content-length", str(len(call.body)).encode()))
        extensions = {} if timeouts is None else {"timeout": timeouts}
        body = call.body if content is None else content
        return httpcore.Request(call.method, url, headers=pairs, content=body, extensions=extensions)


class Pool:
    """The connections of a synchronous client.

    Args:
        address: Where the orchestrator listens.
    """

    def __init__(self, address: Address) -> None:
        self._requests = _Requests(address)
        self._backend = DeadlineBackend()
        self._idle: list[httpcore.HTTPConnection] = []
        self._busy: set[httpcore.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    def open(
        self,
        call: HTTPCall,
        headers: Headers,
        deadline: Deadline,
        content: Iterator[bytes] | None = None,
        *,
        endless: bool = False,
    ) -> OpenAnswer:
        """Send a request and return the answer once its body begins."""
        remaining = deadline.remaining()
        # `DeadlineBackend` takes a number for a moment rather than a duration.
        at = None if remaining is None else time.monotonic() + remaining
        patience = EachStep(Patience.seconds)
        sending = at if content is None else patience
        timeouts: Timeouts = {"pool": at, "connect": at, "read": sending, "write": sending}
        request = self._requests.make(call, headers, timeouts, content)
        connection = self._take(remaining)
        try:
            response = connection.handle_request(request)
        except BaseException:
            self._release(connection)
            raise
        if endless:
            # Looked up once more when the body is read.
            timeouts["read"] = patience

        def close() -> None:
            try:
                response.close()
            finally:
                self._release(connection)

        return OpenAnswer(response.status, _Headers(response.headers), response.iter_stream(), close)

    def _take(self, seconds: float | None) -> httpcore.HTTPConnection:
        """Take a connection that no other call uses; it is connected when it is used first."""
        if not self._room.acquire(timeout=seconds):
            raise httpcore.PoolTimeout
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = httpcore.HTTPConnection(network_backend=self._backend, **self._requests.settings)
            elif connection.has_expired():
                connection.close()
                continue
            with self._lock:
                self._busy.add(connection)
            return connection

    def _release(self, connection: httpcore.HTTPConnection) -> None:
        """Keep a connection for the next call, or close it. Twice does no more."""
        stale = None
        with self._lock:
            if connection not in self._busy:
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


class AsyncPool:
    """The connections of an asynchronous client, in one event loop.

    Args:
        address: Where the orchestrator listens.
    """

    def __init__(self, address: Address) -> None:
        self._requests = _Requests(address)
        self._idle: list[httpcore.AsyncHTTPConnection] = []
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    async def open(
        self,
        call: HTTPCall,
        headers: Headers,
        content: AsyncIterator[bytes] | None = None,
        timeouts: Timeouts | None = None,
    ) -> AsyncOpenAnswer:
        """Send a request and return the answer once its body begins."""
        request = self._requests.make(call, headers, timeouts, content)
        connection = await self._take(None if timeouts is None else timeouts["pool"])
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._release(connection)
            raise

        async def close() -> None:
            try:
                await response.aclose()
            finally:
                await self._release(connection)

        return AsyncOpenAnswer(response.status, _Headers(response.headers), response.aiter_stream(), close)

    async def _take(self, seconds: float | None) -> httpcore.AsyncHTTPConnection:
        """Take a connection that no other call uses; it is connected when it is used first."""
        if self._room.locked() and seconds is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self._room.acquire()
            except TimeoutError as error:
                raise httpcore.PoolTimeout from error
        else:
            await self._room.acquire()
        while True:
            connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = httpcore.AsyncHTTPConnection(**self._requests.settings)
            elif connection.has_expired():
                await connection.aclose()
                continue
            self._busy.add(connection)
            return connection

    async def _release(self, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep a connection for the next call, or close it. Twice does no more."""
        if connection not in self._busy:
            return
        self._busy.remove(connection)
        self._room.release()
        if not connection.is_idle() or self._closed or len(self._idle) >= MOST_IDLE:
            await connection.aclose()
            return
        self._idle.append(connection)
        if len(self._idle) > 1 and self._idle[0].has_expired():
            await self._idle.pop(0).aclose()

    async def close(self) -> None:
        """Release the connections, those that are in use, too."""
        self._closed = True
        connections = [*self._idle, *self._busy]
        self._idle.clear()
        for connection in connections:
            await connection.aclose()


def _tls_context(address: Address) -> ssl.SSLContext | None:
    return default_context() if address.tls else None


class _Headers(dict[str, str]):
    """Headers as httpcore has them, by name in lower case."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs)

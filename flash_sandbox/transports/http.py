"""Operations over HTTP, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import httpcore
import httpx

from ..address import Address
from ..codecs.http import HTTPCall, decode_error, decode_result, encode_request
from ..errors import (
    ClientClosedError,
    InvalidArgumentError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
)
from ..operations import Operation
from ..tracing import TransportName
from .aio.chunks import AsyncChunks
from .call import Call
from .http_exchange import Answer, AsyncExchange, AsyncSession, Exchange, Session, Timeouts
from .http_pool import AsyncPool, Pool
from .pieces import Pieces
from .proxies import client_through, proxy_for, without_password
from .retry import Deadline, Limit, lost_answer
from .sync.chunks import Chunks
from .waiting import running_loop, within

__all__ = ["AsyncHTTPWire", "HTTPWire"]

Req = TypeVar("Req")
Res = TypeVar("Res")

_BINARY: Final = ("content-type", "application/octet-stream")
_TIMEOUTS: Final = (httpx.TimeoutException, httpcore.TimeoutException)
_NOT_CONNECTED: Final = (httpx.ConnectTimeout, httpcore.ConnectTimeout)
_NOT_BEGUN: Final = (*_NOT_CONNECTED, httpx.PoolTimeout, httpcore.PoolTimeout)
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    httpcore.ConnectError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
_NOT_HTTP: Final = (httpx.RemoteProtocolError, httpcore.RemoteProtocolError)
_LOST: Final = (httpx.NetworkError, httpcore.NetworkError, OSError)
# What both say where the server closed the connection rather than broke the protocol.
_CUT_OFF: Final = ("Server disconnected", "peer closed connection")
# All that they raise, a ValueError for what cannot be sent, a RuntimeError for a closed client.
_FAILURES: Final = (
    SandboxError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    *_TIMEOUTS,
    *_NEVER_SENT,
    *_NOT_HTTP,
    *_LOST,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
    RuntimeError,
    ValueError,
)


class _HTTPBase:
    """What both halves share: everything but the waiting."""

    name: ClassVar[TransportName] = "http"

    def __init__(self, address: Address, api_key: str | None, session: object) -> None:
        self.address = address
        # A session has proxies of its own.
        self._proxy = proxy_for(address) if session is None else None
        self._closed = False
        self._headers = [("accept", "application/json")]
        if api_key is not None:
            self._headers.append(("authorization", f"Bearer {api_key}"))

    def _headers_for(self, encoded: HTTPCall, call: Call[Any, Any]) -> list[tuple[str, str]]:
        headers = [*self._headers, *call.headers]
        if encoded.body is not None:
            headers.append(("content-type", "application/json"))
        return headers

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClientClosedError("the client was closed")

    def translate(self, call: Call[Any, Any], failure: Exception) -> SandboxError | None:
        """Return the error that `failure` of an attempt means; None if it is no failure of the wire."""
        if not isinstance(failure, _FAILURES):
            return None
        limit = call.deadline if isinstance(failure, _NOT_BEGUN) else call.limit
        error = self._translated(call.operation, failure, limit)
        self._name_proxy(error)
        return error

    def _name_proxy(self, error: SandboxError) -> None:
        """Say in an error which proxy the call went through, unless an orchestrator has answered it."""
        if self._proxy is not None and not error.request_id and not isinstance(error, ClientClosedError):
            error.detail += (
                f" (through the proxy {without_password(self._proxy)}, which the environment names)"
            )
            error.args = (error.detail,)

    def _translated(self, operation: Operation[Any, Any], error: Exception, limit: Limit) -> SandboxError:
        if isinstance(error, SandboxError):
            return error
        if self._closed:
            return ClientClosedError("the client was closed during the call")
        text = str(error) or type(error).__name__
        dead_link = _found_dead_by_tcp(error)
        if isinstance(error, _TIMEOUTS) and not dead_link:
            return limit.passed()
        if isinstance(error, (*_NEVER_SENT, *_NOT_CONNECTED)):
            return SandboxConnectionError(f"cannot connect to {self.address}: {text}")
        if isinstance(error, _NOT_HTTP) and not text.startswith(_CUT_OFF):
            return ProtocolError(f"the answer is not HTTP: {text}")
        if dead_link or isinstance(error, (*_LOST, *_NOT_HTTP)):
            return lost_answer(operation, f"the connection to {self.address} was lost: {text}")
        if isinstance(error, RuntimeError) and "closed" in text:
            return ClientClosedError(f"the session was closed: {text}")
        return ProtocolError(f"unexpected answer: {text}")


def _with_deadline(headers: list[tuple[str, str]], deadline: Deadline) -> list[tuple[str, str]]:
    remaining = deadline.remaining()
    if remaining is None:
        return headers
    return [*headers, ("x-request-timeout-ms", str(math.ceil(remaining * 1000)))]


def _is_success(status_code: int) -> bool:
    # Older orchestrators answer with any 2xx.
    return 200 <= status_code < 300


def _conclude(operation: Operation[Req, Res], answer: Answer) -> Res:
    if _is_success(answer.status_code):
        return decode_result(operation, answer.body)
    raise decode_error(operation.name, answer.status_code, answer.headers, answer.body)


def _found_dead_by_tcp(error: BaseException | None) -> bool:
    """Tell whether the system gave the connection up, which httpx and httpcore call a time-out, too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
            return True
        error = error.__cause__ or error.__context__
    return False


class HTTPWire(_HTTPBase):
    """Perform operations over HTTP.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: An httpx.Client or requests.Session to use; it is not closed. None to make connections.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        super().__init__(address, api_key, session)
        self._owned = session is None
        self._used = False
        self._exchange = self._new_exchange() if session is None else _session_exchange(session, address)
        self._process = os.getpid()
        self._inherited: list[Exchange] = []

    def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        self._refuse_if_closed()
        deadline = call.deadline
        encoded = encode_request(call.operation, call.request)
        headers = _with_deadline(self._headers_for(encoded, call), deadline)
        opened = self._exchange_here().open(encoded, headers, deadline)
        return _conclude(call.operation, opened.collect(deadline))

    def stream(self, call: Call[Any, Res]) -> Generator[Res, None, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        self._refuse_if_closed()
        encoded = encode_request(call.operation, call.request)
        headers = self._headers_for(encoded, call)
        opened = self._exchange_here().open(encoded, headers, call.deadline, endless=True)
        call.limit = call.patience
        try:
            if not _is_success(opened.status_code):
                _conclude(call.operation, opened.collect(call.deadline))
            pieces = Pieces(call.operation)
            for chunk in opened.chunks:
                yield from pieces.feed(chunk)
            pieces.finish()
        finally:
            opened.close()

    def send(self, call: Call[Any, Res], chunks: Chunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        self._refuse_if_closed()
        encoded = encode_request(call.operation, call.request)
        headers = [*self._headers_for(encoded, call), _BINARY]
        opened = self._exchange_here().open(encoded, headers, call.deadline, iter(chunks), endless=True)
        return _conclude(call.operation, opened.collect(Deadline(None)))

    def _new_exchange(self) -> Exchange:
        if self._proxy is None:
            return Pool(self.address)
        return Session(client_through(self._proxy, httpx.Client), self.address, owned=True)

    def _exchange_here(self) -> Exchange:
        self._used = True
        if self._owned and self._process != os.getpid():
            # After a fork the connections belong to the parent. They are kept, untouched: closing them
            # here could wait for a lock that a thread of the parent held.
            self._inherited.append(self._exchange)
            self._exchange = self._new_exchange()
            self._process = os.getpid()
        return self._exchange

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            if self._process == os.getpid():
                self._exchange.close()

    def __del__(self) -> None:
        if not getattr(self, "_used", False) or not self._owned or self._closed:
            return
        if self._process == os.getpid():
            self.close()
            if not sys.is_finalizing():
                warnings.warn(
                    f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2
                )


class AsyncHTTPWire(_HTTPBase):
    """Perform operations over HTTP, in one event loop.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: An httpx.AsyncClient to use; it is not closed. None to make connections.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        super().__init__(address, api_key, session)
        self._owned = session is None
        self._exchange = (
            self._new_exchange() if session is None else _async_session_exchange(session, address)
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        self._refuse_other_loop()
        answer = await within(call.deadline, partial(self._exchanged, call))
        return _conclude(call.operation, answer)

    async def _exchanged(self, call: Call[Any, Any]) -> Answer:
        self._refuse_if_closed()
        encoded = encode_request(call.operation, call.request)
        headers = _with_deadline(self._headers_for(encoded, call), call.deadline)
        opened = await self._exchange.open(encoded, headers)
        return await opened.collect(call.deadline)

    async def stream(self, call: Call[Any, Res]) -> AsyncGenerator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        self._refuse_other_loop()
        encoded = encode_request(call.operation, call.request)
        headers = self._headers_for(encoded, call)
        opened = await within(call.deadline, partial(self._exchange.open, encoded, headers))
        call.limit = patience = call.patience
        try:
            if not _is_success(opened.status_code):
                _conclude(call.operation, await opened.collect(call.deadline))
            pieces, chunks = Pieces(call.operation), opened.chunks
            while (chunk := await within(patience, partial(anext, chunks, None))) is not None:
                for piece in pieces.feed(chunk):
                    yield piece
            pieces.finish()
        finally:
            await opened.close()

    async def send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        self._refuse_other_loop()
        self._refuse_if_closed()
        encoded = encode_request(call.operation, call.request)
        headers = [*self._headers_for(encoded, call), _BINARY]
        seconds, patience = call.deadline.remaining(), call.patience.seconds
        timeouts: Timeouts = {"pool": seconds, "connect": seconds, "read": patience, "write": patience}
        opened = await self._exchange.open(encoded, headers, aiter(chunks), timeouts)
        return _conclude(call.operation, await opened.collect(Deadline(None)))

    def _new_exchange(self) -> AsyncExchange:
        if self._proxy is None:
            return AsyncPool(self.address)
        return AsyncSession(client_through(self._proxy, httpx.AsyncClient), self.address, owned=True)

    def _refuse_other_loop(self) -> None:
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientClosedError("this client belongs to another event loop; make one in each loop")

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            # The connections of another loop cannot be closed from here.
            if self._loop is None or self._loop is running_loop():
                await self._exchange.close()

    def __del__(self) -> None:
        if getattr(self, "_loop", None) is not None and self._owned and not self._closed:
            warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


def _session_exchange(session: object, address: Address) -> Exchange:
    if isinstance(session, httpx.Client):
        return Session(session, address, owned=False)
    # A requests.Session can only be given where requests has been imported.
    requests = sys.modules.get("requests")
    if requests is not None and isinstance(session, requests.Session):
        from .requests_session import RequestsTransport

        # The httpx.Client is ours, the session below it is not.
        return Session(httpx.Client(transport=RequestsTransport(session, address)), address, owned=True)
    name = type(session).__name__
    raise InvalidArgumentError(f"session must be an httpx.Client or a requests.Session, not {name}")


def _async_session_exchange(session: object, address: Address) -> AsyncExchange:
    if isinstance(session, httpx.AsyncClient):
        return AsyncSession(session, address, owned=False)
    raise InvalidArgumentError(f"session must be an httpx.AsyncClient, not {type(session).__name__}")

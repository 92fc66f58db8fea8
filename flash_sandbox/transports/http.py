"""Operations over HTTP, by httpx."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import httpx

from ..address import Address
from ..codecs import MAX_ANSWER_BYTES
from ..codecs.http import HTTPCall, decode_error, decode_result, encode_request
from ..errors import (
    ClientClosedError,
    InvalidArgumentError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
)
from ..operations import Operation
from ..options import CallOptions
from .retry import Attempts, Deadline, lost_answer

__all__ = ["AsyncHTTPTransport", "HTTPTransport"]

Req = TypeVar("Req")
Res = TypeVar("Res")

# What httpx and h11 say where the server closed the connection rather than broke the protocol.
_CUT_OFF: Final = ("Server disconnected", "peer closed connection")
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol, httpx.InvalidURL)


class _HTTPBase:
    """What both halves share: everything but the waiting."""

    def __init__(self, address: Address, api_key: str | None) -> None:
        self.address = address
        self._closed = False
        self._headers = {"accept": "application/json"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"

    def _headers_for(self, operation: Operation[Any, Any], call: HTTPCall) -> dict[str, str]:
        headers = dict(self._headers)
        if call.body is not None:
            headers["content-type"] = "application/json"
        if operation.keyed:
            headers["idempotency-key"] = uuid.uuid4().hex
        return headers

    def _request(
        self,
        client: httpx.Client | httpx.AsyncClient,
        call: HTTPCall,
        headers: dict[str, str],
        deadline: Deadline,
    ) -> httpx.Request:
        self._refuse_if_closed()
        remaining = deadline.remaining()
        if remaining is not None:
            headers["x-request-timeout-ms"] = str(math.ceil(remaining * 1000))
        url = self.address.base_url + call.path
        # httpx waits this long for each step; the whole is bounded by the deadline.
        return client.build_request(call.method, url, content=call.body, headers=headers, timeout=remaining)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClientClosedError("the client was closed")

    @contextmanager
    def _telling(self, operation: Operation[Any, Any]) -> Iterator[None]:
        """Name transport and operation in the errors that leave."""
        try:
            yield
        except SandboxError as error:
            error.transport = error.transport or "http"
            error.operation = error.operation or operation.name
            raise

    def _translated(
        self, operation: Operation[Any, Any], error: Exception, deadline: Deadline
    ) -> SandboxError:
        if isinstance(error, SandboxError):
            return error
        if self._closed:
            return ClientClosedError("the client was closed during the call")
        text = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return deadline.passed()
        if isinstance(error, _NEVER_SENT):
            return SandboxConnectionError(f"cannot connect to {self.address}: {text}")
        if isinstance(error, httpx.RemoteProtocolError) and not text.startswith(_CUT_OFF):
            return ProtocolError(f"the answer is not HTTP: {text}")
        if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | OSError):
            return lost_answer(operation, f"the connection to {self.address} was lost: {text}")
        if isinstance(error, RuntimeError) and "closed" in text:
            return ClientClosedError(f"the session was closed: {text}")
        return ProtocolError(f"unexpected answer: {text}")


def _conclude(operation: Operation[Req, Res], response: httpx.Response, body: bytes) -> Res:
    # Older orchestrators answer with any 2xx.
    if 200 <= response.status_code < 300:
        return decode_result(operation, body)
    raise decode_error(operation.name, response.status_code, response.headers, body)


class _Body:
    """Collects the body of an answer, up to the largest that is taken."""

    def __init__(self, deadline: Deadline) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._deadline = deadline

    def add(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._deadline.remaining()
        self._chunks.append(chunk)

    def content(self) -> bytes:
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


class HTTPTransport(_HTTPBase):
    """Perform operations by an httpx.Client.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: An httpx.Client or requests.Session to use; it is not closed. None to make one.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        super().__init__(address, api_key)
        self._owned = session is None
        self._used = False
        self._client = _new_client(address) if session is None else _client_of(session)
        self._process = os.getpid()
        self._inherited: list[httpx.Client] = []

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow."""
        with self._telling(operation):
            deadline = Deadline(options.timeout)
            attempts = Attempts(operation, options, deadline)
            call = encode_request(operation, request)
            headers = self._headers_for(operation, call)
            while True:
                try:
                    return self._attempt(operation, call, headers, deadline)
                except SandboxError as error:
                    delay = attempts.delay_after(error)
                time.sleep(delay)

    def _attempt(
        self, operation: Operation[Req, Res], call: HTTPCall, headers: dict[str, str], deadline: Deadline
    ) -> Res:
        client = self._client_here()
        try:
            request = self._request(client, call, headers, deadline)
            response = client.send(request, stream=True, follow_redirects=False)
            body = _Body(deadline)
            try:
                for chunk in response.iter_bytes():
                    body.add(chunk)
            finally:
                response.close()
            return _conclude(operation, response, body.content())
        except (SandboxError, httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            translated = self._translated(operation, error, deadline)
            if translated is error:
                raise
            raise translated from error

    def _client_here(self) -> httpx.Client:
        self._used = True
        if self._process != os.getpid() and self._owned:
            # After a fork the connections belong to the parent. They are kept, untouched: closing them
            # here could wait for a lock that a thread of the parent held.
            self._inherited.append(self._client)
            self._client = _new_client(self.address)
            self._process = os.getpid()
        return self._client

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            if self._owned and self._process == os.getpid():
                self._client.close()

    def __del__(self) -> None:
        if (
            getattr(self, "_used", False)
            and self._owned
            and not self._closed
            and self._process == os.getpid()
        ):
            self.close()
            warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


class AsyncHTTPTransport(_HTTPBase):
    """Perform operations by an httpx.AsyncClient, in one event loop.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: An httpx.AsyncClient to use; it is not closed. None to make one.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        super().__init__(address, api_key)
        if session is not None and not isinstance(session, httpx.AsyncClient):
            raise InvalidArgumentError(f"session must be an httpx.AsyncClient, not {type(session).__name__}")
        self._owned = session is None
        self._client = session or _new_async_client(address)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow."""
        with self._telling(operation):
            self._refuse_other_loop()
            deadline = Deadline(options.timeout)
            attempts = Attempts(operation, options, deadline)
            call = encode_request(operation, request)
            headers = self._headers_for(operation, call)
            while True:
                try:
                    async with asyncio.timeout(deadline.remaining()):
                        return await self._attempt(operation, call, headers, deadline)
                except SandboxError as error:
                    delay = attempts.delay_after(error)
                except TimeoutError as error:
                    raise deadline.passed() from error
                await asyncio.sleep(delay)

    async def _attempt(
        self, operation: Operation[Req, Res], call: HTTPCall, headers: dict[str, str], deadline: Deadline
    ) -> Res:
        try:
            request = self._request(self._client, call, headers, deadline)
            response = await self._client.send(request, stream=True, follow_redirects=False)
            body = _Body(deadline)
            try:
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
            finally:
                await response.aclose()
            return _conclude(operation, response, body.content())
        except (SandboxError, httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            translated = self._translated(operation, error, deadline)
            if translated is error:
                raise
            raise translated from error

    def _refuse_other_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientClosedError("this client belongs to another event loop; make one in each loop")

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            if self._owned and self._loop is not None:
                self._refuse_other_loop()
                await self._client.aclose()

    def __del__(self) -> None:
        if getattr(self, "_loop", None) is not None and self._owned and not self._closed:
            warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


def _new_client(address: Address) -> httpx.Client:
    if address.unix_path is not None:
        return httpx.Client(transport=httpx.HTTPTransport(uds=address.unix_path))
    return httpx.Client()


def _new_async_client(address: Address) -> httpx.AsyncClient:
    if address.unix_path is not None:
        return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=address.unix_path))
    return httpx.AsyncClient()


def _client_of(session: object) -> httpx.Client:
    if isinstance(session, httpx.Client):
        return session
    # A requests.Session can only be given where requests has been imported.
    requests = sys.modules.get("requests")
    if requests is not None and isinstance(session, requests.Session):
        from .requests_session import RequestsTransport

        return httpx.Client(transport=RequestsTransport(session))
    name = type(session).__name__
    raise InvalidArgumentError(f"session must be an httpx.Client or a requests.Session, not {name}")

"""The httpx client below a client of ours: what a thread and an event loop do differently."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx

from ..address import Address
from ..errors import ClientClosedError, InvalidArgumentError
from .aio.http_pool import AsyncPool
from .proxies import proxy_for
from .retry import Limit
from .sync.http_pool import Pool
from .waiting import running_loop, within

__all__ = ["AsyncHTTPConnections", "Connections", "HTTPConnections"]

T = TypeVar("T")


class Connections:
    """What a thread and an event loop do alike.

    Args:
        address: Where the orchestrator listens.
        session: What makes the connections, and is not closed; None to make them here.

    Attributes:
        closed: Whether they were released.
        proxy: URL of the proxy that they go through; None for none, or where a session has its own.

    Raises:
        InvalidArgumentError: The session is of another kind, or the environment names a malformed proxy.
    """

    def __init__(self, address: Address, session: object) -> None:
        self.closed = False
        self.proxy = proxy_for(address) if session is None else None
        self._address = address
        self._owned = session is None

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ClientClosedError("the client was closed")

    def _warn(self) -> None:
        warnings.warn(f"unclosed client of {self._address}", ResourceWarning, source=self, stacklevel=3)


def _own_settings() -> dict[str, Any]:
    # No cookie is kept, and nothing is read from the environment a second time.
    return {
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "trust_env": False,
    }


class HTTPConnections(Connections):
    """The ``httpx.Client`` of a synchronous client; a session is an httpx.Client or a requests.Session."""

    def __init__(self, address: Address, session: object) -> None:
        super().__init__(address, session)
        self._client = self._new_client() if session is None else _client_over(session, address)
        self._used = False
        self._process = os.getpid()
        self._inherited: list[httpx.Client] = []

    def _new_client(self) -> httpx.Client:
        return httpx.Client(transport=Pool(self._address, self.proxy), **_own_settings())

    def client(self) -> httpx.Client:
        """Return the client for one call.

        Raises:
            ClientClosedError: The connections were released.
        """
        self._refuse_if_closed()
        self._used = True
        if self._owned and self._process != os.getpid():
            # After a fork the connections belong to the parent. They are kept, untouched: closing them
            # here could wait for a lock that a thread of the parent held.
            self._inherited.append(self._client)
            self._client = self._new_client()
            self._process = os.getpid()
        return self._client

    def within(self, limit: Limit, work: Callable[[], T]) -> T:
        """Return what comes of `work`, which bounds its own time."""
        return work()

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self.closed:
            self.closed = True
            if self._owned and self._process == os.getpid():
                self._client.close()

    def __del__(self) -> None:
        if not getattr(self, "_used", False) or not self._owned or self.closed:
            return
        if self._process == os.getpid():
            self.close()
            if not sys.is_finalizing():
                self._warn()


class AsyncHTTPConnections(Connections):
    """The ``httpx.AsyncClient`` of an asynchronous client, in one event loop; a session is one, too."""

    def __init__(self, address: Address, session: object) -> None:
        super().__init__(address, session)
        if session is None:
            session = httpx.AsyncClient(transport=AsyncPool(address, self.proxy), **_own_settings())
        if not isinstance(session, httpx.AsyncClient):
            raise InvalidArgumentError(f"session must be an httpx.AsyncClient, not {type(session).__name__}")
        self._client = session
        self._loop: asyncio.AbstractEventLoop | None = None

    def client(self) -> httpx.AsyncClient:
        """Return the client for one call.

        Raises:
            ClientClosedError: The connections were released, or belong to another event loop.
        """
        self._refuse_if_closed()
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientClosedError("this client belongs to another event loop; make one in each loop")
        return self._client

    async def within(self, limit: Limit, work: Callable[[], Any]) -> Any:
        """Return what comes of `work`, begun here; raise the limit's error where it takes too long."""
        return await within(limit, work)

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        if not self.closed:
            self.closed = True
            # The connections of another loop cannot be closed from here.
            if self._owned and (self._loop is None or self._loop is running_loop()):
                await self._client.aclose()

    def __del__(self) -> None:
        if getattr(self, "_loop", None) is not None and self._owned and not self.closed:
            self._warn()


def _client_over(session: object, address: Address) -> httpx.Client:
    if isinstance(session, httpx.Client):
        return session
    # A requests.Session can only be given where requests has been imported.
    requests = sys.modules.get("requests")
    if requests is not None and isinstance(session, requests.Session):
        from .requests_session import RequestsTransport

        return httpx.Client(transport=RequestsTransport(session, address), **_own_settings())
    name = type(session).__name__
    raise InvalidArgumentError(f"session must be an httpx.Client or a requests.Session, not {name}")

"""One request and its answer over HTTP: by connections of our own, or by a session that the caller gave.

Our own are httpcore's, which httpx is built on: a call costs half as much as through httpx.Client, and the
time-out of a call can bound it as a whole. A session's own settings hold, so it goes through httpx.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypedDict

import httpx

from ..address import Address
from ..codecs import MAX_ANSWER_BYTES
from ..codecs.http import HTTPCall
from ..errors import ProtocolError
from .retry import Deadline, Patience

__all__ = [
    "Answer",
    "AsyncExchange",
    "AsyncOpenAnswer",
    "AsyncSession",
    "Exchange",
    "Headers",
    "OpenAnswer",
    "Session",
    "Timeouts",
]

Headers = list[tuple[str, str]]


class Timeouts(TypedDict):
    """Seconds for each kind of step, as httpcore and httpx name them; None for as long as it takes."""

    pool: float | None
    connect: float | None
    read: float | None
    write: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status_code: HTTP status.
        headers: Headers, names in lower case or looked up without regard to case.
        body: The whole body.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An answer whose body is still to come.

    Attributes:
        status_code: HTTP status.
        headers: Headers, names in lower case or looked up without regard to case.
        chunks: The body, as it comes.
        close: Ends the exchange, also in the middle of the body.
    """

    status_code: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None]

    def collect(self, deadline: Deadline) -> Answer:
        """Return the answer with its whole body."""
        body = _Body(deadline)
        try:
            for chunk in self.chunks:
                body.add(chunk)
        finally:
            self.close()
        return Answer(self.status_code, self.headers, body.content())


@dataclass(frozen=True, slots=True)
class AsyncOpenAnswer:
    """The same, awaited."""

    status_code: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]

    async def collect(self, deadline: Deadline) -> Answer:
        """Return the answer with its whole body."""
        body = _Body(deadline)
        try:
            async for chunk in self.chunks:
                body.add(chunk)
        finally:
            await self.close()
        return Answer(self.status_code, self.headers, body.content())


class Exchange(Protocol):
    """Sends a request and returns the answer; failures are those of httpx or httpcore."""

    def open(
        self,
        call: HTTPCall,
        headers: Headers,
        deadline: Deadline,
        content: Iterator[bytes] | None = None,
        *,
        endless: bool = False,
    ) -> OpenAnswer:
        """Send a request and return the answer once its body begins.

        Args:
            call: The request.
            headers: Its headers.
            deadline: The moment by which all is to be done.
            content: What the request carries in place of its body.
            endless: Whether the deadline bounds no more than the beginning of the answer.
        """
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class AsyncExchange(Protocol):
    """Sends a request and returns the answer; the caller bounds the time. Failures as with `Exchange`."""

    async def open(
        self,
        call: HTTPCall,
        headers: Headers,
        content: AsyncIterator[bytes] | None = None,
        timeouts: Timeouts | None = None,
    ) -> AsyncOpenAnswer:
        """Send a request and return the answer once its body begins.

        Args:
            call: The request.
            headers: Its headers.
            content: What the request carries in place of its body.
            timeouts: What each step may take, where the caller does not bound the whole.
        """
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


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


class Session:
    """The connections of an httpx.Client.

    Args:
        client: The client.
        address: Where the orchestrator listens.
        owned: Whether to close the client.
    """

    def __init__(self, client: httpx.Client, address: Address, *, owned: bool) -> None:
        self._client = client
        self._base_url = address.base_url
        self._owned = owned

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
        # httpx waits this long for each step, and the whole is looked at between the pieces of the body.
        # requests cannot wait longer for the body than for its beginning.
        remaining = deadline.remaining()
        each = Patience.seconds if endless else remaining
        request = self._client.build_request(
            call.method,
            self._base_url + call.path,
            content=call.body if content is None else content,
            headers=headers,
            timeout=httpx.Timeout(each, connect=remaining, pool=remaining),
        )
        response = self._client.send(request, stream=True, follow_redirects=False)
        return OpenAnswer(response.status_code, response.headers, response.iter_bytes(), response.close)

    def close(self) -> None:
        """Release the connections, where they are ours."""
        if self._owned:
            self._client.close()


class AsyncSession:
    """The connections of an httpx.AsyncClient.

    Args:
        client: The client.
        address: Where the orchestrator listens.
        owned: Whether to close the client.
    """

    def __init__(self, client: httpx.AsyncClient, address: Address, *, owned: bool) -> None:
        self._client = client
        self._base_url = address.base_url
        self._owned = owned

    async def open(
        self,
        call: HTTPCall,
        headers: Headers,
        content: AsyncIterator[bytes] | None = None,
        timeouts: Timeouts | None = None,
    ) -> AsyncOpenAnswer:
        """Send a request and return the answer once its body begins."""
        request = self._client.build_request(
            call.method,
            self._base_url + call.path,
            content=call.body if content is None else content,
            headers=headers,
            timeout=None if timeouts is None else httpx.Timeout(**timeouts),
        )
        response = await self._client.send(request, stream=True, follow_redirects=False)
        return AsyncOpenAnswer(
            response.status_code, response.headers, response.aiter_bytes(), response.aclose
        )

    async def close(self) -> None:
        """Release the connections, where they are ours."""
        if self._owned:
            await self._client.aclose()

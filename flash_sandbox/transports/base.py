"""What a transport is: it performs operations, whatever the wire.

::

    Transport       performs an operation and returns its result
    ├── HTTPTransport         httpx.Client
    └── GRPCTransport         connections of h2 over sockets
    AsyncTransport  the same, awaited
    ├── AsyncHTTPTransport    httpx.AsyncClient
    └── AsyncGRPCTransport    a grpclib channel
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar

from ..address import Address
from ..operations import Operation
from ..options import CallOptions
from ..tracing import TransportName

if TYPE_CHECKING:
    import httpx
    import requests

__all__ = ["AsyncSession", "AsyncStream", "AsyncTransport", "Metadata", "Session", "Stream", "Transport"]

Req = TypeVar("Req")
Res = TypeVar("Res")

Metadata = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers that go with every call; names in lower case."""

Session: TypeAlias = "httpx.Client | requests.Session"
"""What makes the connections of a synchronous HTTP client."""

AsyncSession: TypeAlias = "httpx.AsyncClient"
"""What makes the connections of an asynchronous HTTP client."""


Stream: TypeAlias = Generator[Res, None, None]
"""An answer that comes piece by piece."""

AsyncStream: TypeAlias = AsyncGenerator[Res, None]
"""The same, awaited."""


class Transport(Protocol):
    """Performs operations for a synchronous client."""

    name: ClassVar[TransportName]
    address: Address

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow.

        Raises:
            SandboxError: It failed; no other exception is raised.
        """
        ...

    def stream(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> Generator[Res, None, None]:
        """Perform an operation whose answer is a stream; it is repeated only before it has begun.

        The time-out is that of the beginning. Closing the generator gives the rest up.

        Raises:
            SandboxError: It failed, or broke off; no other exception is raised.
        """
        ...

    def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: Iterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request goes on with a stream; repeated only before that has begun.

        Raises:
            SandboxError: It failed; else what `chunks` raises.
        """
        ...

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        ...


class AsyncTransport(Protocol):
    """Performs operations for an asynchronous client."""

    name: ClassVar[TransportName]
    address: Address

    async def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow.

        Raises:
            SandboxError: It failed; no other exception is raised but asyncio.CancelledError.
        """
        ...

    def stream(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> AsyncGenerator[Res]:
        """Perform an operation whose answer is a stream; it is repeated only before it has begun.

        The time-out is that of the beginning. Closing the generator gives the rest up.

        Raises:
            SandboxError: It failed, or broke off; no other exception is raised.
        """
        ...

    async def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: AsyncIterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request goes on with a stream; repeated only before that has begun.

        Raises:
            SandboxError: It failed; else what `chunks` raises.
        """
        ...

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        ...

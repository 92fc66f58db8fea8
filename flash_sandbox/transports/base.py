"""What a transport is: it performs operations, whatever the wire.

::

    Transport       performs an operation and returns its result
    ├── HTTPTransport         httpx.Client
    └── GRPCTransport         AsyncGRPCTransport on the shared loop thread
    AsyncTransport  the same, awaited
    ├── AsyncHTTPTransport    httpx.AsyncClient
    └── AsyncGRPCTransport    a grpclib channel
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from ..address import Address
from ..operations import Operation
from ..options import CallOptions

if TYPE_CHECKING:
    import httpx
    import requests

__all__ = ["AsyncSession", "AsyncTransport", "Metadata", "Session", "Transport"]

Req = TypeVar("Req")
Res = TypeVar("Res")

Metadata = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers that go with every call; names in lower case."""

Session: TypeAlias = "httpx.Client | requests.Session"
"""What makes the connections of a synchronous HTTP client."""

AsyncSession: TypeAlias = "httpx.AsyncClient"
"""What makes the connections of an asynchronous HTTP client."""


class Transport(Protocol):
    """Performs operations for a synchronous client."""

    address: Address

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow.

        Raises:
            SandboxError: It failed; no other exception is raised.
        """
        ...

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        ...


class AsyncTransport(Protocol):
    """Performs operations for an asynchronous client."""

    address: Address

    async def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow.

        Raises:
            SandboxError: It failed; no other exception is raised but asyncio.CancelledError.
        """
        ...

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        ...

"""Types that the transports and the clients share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    import httpx
    import requests
    from flash_sandbox_grpc.sync_stub import Channel

__all__ = [
    "AsyncGRPCChannel",
    "AsyncSession",
    "AsyncStream",
    "GRPCChannel",
    "Metadata",
    "Session",
    "Stream",
]

Res = TypeVar("Res")

Metadata = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers that go with every call; names in lower case."""

Session: TypeAlias = "httpx.Client | requests.Session"
"""What makes the connections of a synchronous HTTP client."""

AsyncSession: TypeAlias = "httpx.AsyncClient"
"""What makes the connections of an asynchronous HTTP client."""

GRPCChannel: TypeAlias = "Channel"
"""What makes the calls of a synchronous gRPC client, such as ``grpc.Channel``."""

AsyncGRPCChannel: TypeAlias = "Channel"
"""What makes the calls of an asynchronous gRPC client, such as ``grpc.aio.Channel``."""

Stream: TypeAlias = Generator[Res, None, None]
"""An answer that comes piece by piece."""

AsyncStream: TypeAlias = AsyncGenerator[Res, None]
"""The same, awaited."""

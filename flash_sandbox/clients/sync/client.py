# Derived from flash_sandbox/clients/aio/client.py by `python -m codegen`; do not edit.
"""The synchronous clients: what to call, and over which transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...address import parse_address
from ...options import CallOptions, api_key_or_default
from ..disk import Disk
from .calls import given
from .file_calls import FileCalls
from .port_calls import PortCalls
from .sandbox_calls import SandboxCalls
from .snapshot_calls import SnapshotCalls

if TYPE_CHECKING:
    import ssl as ssl_module

    from ...transports.base import GRPCChannel, Metadata, Session
    from .api import SandboxAPI

__all__ = ["HTTPClient", "SandboxClient", "connect"]


class _Client(SandboxCalls, SnapshotCalls, FileCalls, PortCalls):
    """Every call, over the transport that a subclass chooses."""


class HTTPClient(_Client):
    """Start, use and stop sandboxes over HTTP.

    A pickle of it holds its address and options, but no key and no connection.

    Args:
        host: Host name or IP address of the orchestrator.
        port: Its HTTP port, 1 to 65535.
        address: Full address, in place of `host` and `port`: ``host:port``, with or without ``http://`` or
            ``https://`` before it and a path prefix after it; or ``unix:///path``.
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        session: ``httpx.Client`` or ``requests.Session`` that makes the connections, and is not closed.
            Its TLS settings, proxies and headers hold. None to make one.
        api_key: Key of the orchestrator; None takes that of the environment (FLASH_SANDBOX_API_KEY).
        max_retries: How often a failed call may be repeated, 0 to 100. A command is never run twice.

    Raises:
        InvalidArgumentError: An argument is malformed or out of range.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8080,
        address: str | None = None,
        timeout: float | None = 30.0,
        session: Session | None = None,
        *,
        api_key: str | None = None,
        max_retries: int = 2,
    ) -> None:
        from ...transports.sync.http import HTTPWire
        from ...transports.sync.transport import Transport

        self._options = CallOptions(timeout, max_retries)
        self._unpicklable = tuple(given(session=session))
        where = parse_address(address, host, port)
        self._transport = Transport(HTTPWire(where, api_key_or_default(api_key), session))


class SandboxClient(_Client):
    """Start, use and stop sandboxes over gRPC.

    A pickle of it holds its address and options, but no key and no connection.

    Args:
        host: Host name or IP address of the orchestrator.
        port: Its gRPC port, 1 to 65535.
        address: Full address, in place of `host` and `port`: ``host:port``, with or without ``grpc://`` or
            ``grpcs://`` (or ``http://`` or ``https://``) before it and a path prefix after it; or
            ``grpc+unix:///path`` (or ``unix:///path``).
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        ssl: True for TLS, or its settings; None goes by the address.
        metadata: Headers that go with every call; names in lower case.
        channel: ``grpc.sync.Channel`` of grpcio that makes the connections, and is not closed. Its target and
            its TLS settings hold; `address` only names it, and adds its path prefix. None to make one.
        api_key: Key of the orchestrator; None takes that of the environment (FLASH_SANDBOX_API_KEY).
        max_retries: How often a failed call may be repeated, 0 to 100. A command is never run twice.

    Raises:
        InvalidArgumentError: An argument is malformed or out of range.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 50051,
        address: str | None = None,
        timeout: float | None = 30.0,
        *,
        ssl: ssl_module.SSLContext | bool | None = None,
        metadata: Metadata | None = None,
        channel: GRPCChannel | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
    ) -> None:
        from ...transports.sync.grpc import GRPCWire
        from ...transports.sync.transport import Transport

        self._options = CallOptions(timeout, max_retries)
        settings = None if isinstance(ssl, bool) else ssl
        self._unpicklable = tuple(given(ssl=settings, metadata=metadata, channel=channel))
        where = parse_address(address, host, port, tls=None if ssl is None else bool(ssl), grpc=True)
        key = api_key_or_default(api_key)
        self._transport = Transport(GRPCWire(where, key, ssl, metadata or (), channel))


def connect(
    address: str | None = None,
    *,
    api_key: str | None = None,
    timeout: float | None = 30.0,
    max_retries: int = 2,
) -> HTTPClient | SandboxClient:
    """Return a synchronous client for an address; its scheme chooses the transport.

    Args:
        address: ``grpc://host:port``, ``grpcs://host:port`` (TLS) or ``grpc+unix:///path`` for gRPC;
            ``http://host:port``, ``https://host:port``, ``host:port`` or ``unix:///path`` for HTTP; each but
            a Unix socket may have a path prefix after it. None for the orchestrator of the environment
            (FLASH_SANDBOX_ADDR), or if it names none, one that this process starts on first use.
        api_key: Key of the orchestrator; None takes that of the environment (FLASH_SANDBOX_API_KEY).
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        max_retries: How often a failed call may be repeated, 0 to 100. A command is never run twice.

    Raises:
        InvalidArgumentError: An argument is malformed or out of range.
        RuntimeUnavailableError: No orchestrator is named, and this machine cannot run one.
    """
    # Rarely needed, and it starts processes.
    from ...embedding import default_endpoint, endpoint_at

    endpoint = Disk.run(default_endpoint) if address is None else endpoint_at(address)
    kind = SandboxClient if endpoint.transport == "grpc" else HTTPClient
    key = endpoint.api_key or api_key
    return kind(address=endpoint.address, timeout=timeout, api_key=key, max_retries=max_retries)


if TYPE_CHECKING:
    # The type checker proves here that the clients have the interface.
    _PROOF: tuple[type[SandboxAPI], ...] = (HTTPClient, SandboxClient)

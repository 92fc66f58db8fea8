# Derived from flash_sandbox/clients/aio/client.py by `python -m codegen`; do not edit.
"""The synchronous clients: what to call, and over which transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...address import parse_address
from ...options import CallOptions, api_key_or_default
from ..disk import Disk
from .command_calls import CommandCalls
from .file_calls import FileCalls
from .sandbox_calls import SandboxCalls

if TYPE_CHECKING:
    import ssl as ssl_module

    from ...transports.base import Metadata, Session
    from .api import SandboxAPI

__all__ = ["HTTPClient", "SandboxClient", "own_client"]


class _Client(SandboxCalls, CommandCalls, FileCalls):
    """Every call, over the transport that a subclass chooses."""


class HTTPClient(_Client):
    """Start, use and stop sandboxes over HTTP.

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
        from ...transports.http import HTTPWire
        from ...transports.sync.transport import Transport

        self._options = CallOptions(timeout, max_retries)
        where = parse_address(address, host, port)
        self._transport = Transport(HTTPWire(where, api_key_or_default(api_key), session))


class SandboxClient(_Client):
    """Start, use and stop sandboxes over gRPC.

    Args:
        host: Host name or IP address of the orchestrator.
        port: Its gRPC port, 1 to 65535.
        address: Full address, in place of `host` and `port`: ``host:port``, with or without ``grpc://`` or
            ``grpcs://`` (or ``http://`` or ``https://``) before it and a path prefix after it; or
            ``unix:///path``.
        timeout: Seconds for each whole call, connecting and repeating included; None for no time-out.
        ssl: True for TLS, or its settings; None goes by the address.
        metadata: Headers that go with every call; names in lower case.
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
        api_key: str | None = None,
        max_retries: int = 2,
    ) -> None:
        from ...transports.grpc_sync import GRPCWire
        from ...transports.sync.transport import Transport

        self._options = CallOptions(timeout, max_retries)
        where = parse_address(address, host, port, tls=None if ssl is None else bool(ssl), grpc=True)
        key = api_key_or_default(api_key)
        self._transport = Transport(GRPCWire(where, key, ssl, metadata or ()))


def own_client() -> HTTPClient | SandboxClient:
    """Return a client of the orchestrator that is used where none is named; see `Sandbox`."""
    # Rarely needed, and it starts processes.
    from ...embedding import default_endpoint

    endpoint = Disk.run(default_endpoint)
    kind = SandboxClient if endpoint.transport == "grpc" else HTTPClient
    return kind(address=endpoint.address, api_key=endpoint.api_key)


if TYPE_CHECKING:
    # The type checker proves here that the clients have the interface.
    _PROOF: tuple[type[SandboxAPI], ...] = (HTTPClient, SandboxClient)

"""A live orchestrator behind all four clients, so that one test body holds for each of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., flash_sandbox.SandboxAPI]


@pytest.fixture
def address(kind: str, orchestrator: Orchestrator) -> str:
    """Tell where the orchestrator listens for the client under test."""
    return orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address


@pytest.fixture
def client(connect: Connect, address: str) -> flash_sandbox.SandboxAPI:
    """Return a client of the live orchestrator."""
    return connect(address)


@pytest.fixture
def sandbox_id(client: flash_sandbox.SandboxAPI) -> Iterator[str]:
    """Start an idle sandbox, stopped at the end."""
    started = client.start_sandbox(memory_mb=64)
    yield started
    with suppress(flash_sandbox.SandboxNotFoundError, flash_sandbox.ClientClosedError):
        client.stop_sandbox(started)


@pytest.fixture
def unreachable() -> Iterator[str]:
    """Listen on a port whose queue is full: connecting to it neither succeeds nor fails."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = listener.getsockname()
        while True:
            one_more = stack.enter_context(socket.socket())
            one_more.settimeout(0.2)
            try:
                one_more.connect(place)
            except TimeoutError:
                break
        yield f"127.0.0.1:{place[1]}"

"""A live orchestrator behind all four clients, so that one test body holds for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

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

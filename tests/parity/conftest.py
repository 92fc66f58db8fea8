"""All four clients behind one face, so that one test body holds for each of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import pytest

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator

CLIENTS: Final = ("HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient")

Connect = Callable[..., flash_sandbox.SandboxAPI]
"""Makes a client of the kind under test for an address; keyword arguments are the constructor's."""


class Blocking:
    """An asynchronous client whose methods wait, in an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            if inspect.isawaitable(result):
                return self._runner.run(_wait(result))
            return Blocking(self._runner, result)

        return call

    def __repr__(self) -> str:
        return repr(self._client)


async def _wait(awaitable: Any) -> Any:
    return await awaitable


@pytest.fixture(scope="session", params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name the client under test."""
    return cast(str, request.param)


@pytest.fixture
def connect(kind: str) -> Iterator[Connect]:
    """Make clients of the kind under test; they are closed at the end."""
    with asyncio.Runner() as runner:
        made: list[Any] = []

        def make(address: str, **options: Any) -> flash_sandbox.SandboxAPI:
            client = getattr(flash_sandbox, kind)(address=address, **options)
            made.append(Blocking(runner, client) if kind.startswith("Async") else client)
            return cast(flash_sandbox.SandboxAPI, made[-1])

        yield make
        for client in made:
            client.close()


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

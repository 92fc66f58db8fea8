"""The four clients side by side, so that one call can be made through each of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import flash_sandbox
from flash_sandbox import SandboxAPI, SandboxError

__all__ = ["CLIENTS", "Blocking", "Failure", "failure_of", "quartet"]

CLIENTS: Final = ("HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient")


class Blocking:
    """An asynchronous client, or a stream of one, whose methods wait, in an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            given = (_awaited(each) if isinstance(each, Iterator) else each for each in arguments)
            result = method(*given, **options)
            if inspect.isawaitable(result):
                result = self._runner.run(_wait(result))
                return Blocking(self._runner, result) if hasattr(result, "__anext__") else result
            return Blocking(self._runner, result)

        return call

    def __iter__(self) -> Iterator[Any]:
        end = object()
        while (piece := self._runner.run(_wait(anext(self._client, end)))) is not end:
            yield piece

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._client)


async def _awaited(pieces: Iterator[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


async def _wait(awaitable: Any) -> Any:
    return await awaitable


@contextmanager
def quartet(http_address: str, grpc_address: str, **options: Any) -> Iterator[dict[str, SandboxAPI]]:
    """Make a client of each kind, by the name of its class; they are closed at the end."""
    with asyncio.Runner() as runner:
        made: dict[str, Any] = {}
        for name in CLIENTS:
            address = http_address if "HTTP" in name else grpc_address
            client = getattr(flash_sandbox, name)(address=address, **options)
            made[name] = Blocking(runner, client) if name.startswith("Async") else client
        try:
            yield cast(dict[str, SandboxAPI], made)
        finally:
            for client in made.values():
                client.close()


@dataclass(frozen=True)
class Failure:
    """What an error says, but for what differs from call to call: its request ID and its transport."""

    kind: type[SandboxError]
    reason: str
    status_code: int | None
    grpc_status: str | None
    detail: str
    retryable: bool
    operation: str | None
    retry_after: float | None


def failure_of(error: SandboxError) -> Failure:
    """Return what `error` says."""
    return Failure(
        type(error),
        error.reason,
        error.status_code,
        error.grpc_status,
        error.detail,
        error.retryable,
        error.operation,
        error.retry_after,
    )

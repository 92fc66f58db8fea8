"""Where no event loop of asyncio runs, the asynchronous clients say so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from flash_sandbox import AsyncHTTPClient, AsyncSandbox, AsyncSandboxClient, UnsupportedError

Client = type[AsyncHTTPClient] | type[AsyncSandboxClient]

clients = pytest.mark.parametrize("kind", [AsyncHTTPClient, AsyncSandboxClient])


async def first(pieces: Any) -> None:
    async for _ in pieces:
        return


async def nothing() -> Any:
    for piece in (b"x",):
        yield piece


CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "call": lambda client: client.list_sandboxes(),
    "repeated call": lambda client: client.with_options(max_retries=5).start_sandbox(),
    "streamed request": lambda client: client.upload_archive("a", "/tmp", nothing()),
}


@clients
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_under_trio_is_refused_and_says_what_to_do(
    kind: Client, call: Callable[[Any], Awaitable[object]]
) -> None:
    async def use() -> None:
        async with kind(address="127.0.0.1:9") as client:
            await call(client)

    with pytest.raises(UnsupportedError, match=r"no event loop of asyncio.*trio\.to_thread") as caught:
        trio.run(use)
    assert caught.value.operation is not None


@clients
def test_so_is_a_streamed_answer(kind: Client) -> None:
    async def use() -> None:
        async with kind(address="127.0.0.1:9") as client:
            await first(await client.watch_events())

    with pytest.raises(UnsupportedError, match="no event loop of asyncio"):
        trio.run(use)


def test_so_is_a_sandbox_of_ones_own() -> None:
    with pytest.raises(UnsupportedError, match="no event loop of asyncio"):
        trio.run(AsyncSandbox.create)

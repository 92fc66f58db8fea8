"""Asks for a sandbox's status, many calls in flight: ``async_calls.py WHO ADDRESS SANDBOX``.

Reads how many calls and how many of them at a time, two numbers a line, and answers with the seconds of one
call, all of them shared out, as JSON.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

Call = Callable[[], Awaitable[str]]


def over_http(address: str, sandbox_id: str) -> Call:
    """AsyncHTTPClient."""
    from flash_sandbox import AsyncHTTPClient

    client = AsyncHTTPClient(address=address)
    return lambda: client.get_status(sandbox_id)


def over_grpc(address: str, sandbox_id: str) -> Call:
    """AsyncSandboxClient."""
    from flash_sandbox import AsyncSandboxClient

    client = AsyncSandboxClient(address=address)
    return lambda: client.get_status(sandbox_id)


def raw_httpx(address: str, sandbox_id: str) -> Call:
    """A bare httpx.AsyncClient, which keeps as many connections as there are calls in flight."""
    import httpx

    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    client = httpx.AsyncClient(base_url=address, limits=limits)

    async def call() -> str:
        answer = await client.get(f"/sandboxes/{sandbox_id}")
        return str(answer.raise_for_status().json()["status"])

    return call


def raw_grpclib(address: str, sandbox_id: str) -> Call:
    """The generated stub on a bare grpclib channel."""
    import flash_sandbox_grpc
    import grpclib.client

    host, _, port = address.rpartition(":")
    channel = grpclib.client.Channel(host, int(port))
    atexit.register(channel.close)
    stub = flash_sandbox_grpc.SandboxServiceStub(channel)

    async def call() -> str:
        answer = await stub.get_status(flash_sandbox_grpc.StatusRequest(id=sandbox_id))
        return answer.status

    return call


CALLS = {call.__name__: call for call in (over_http, over_grpc, raw_httpx, raw_grpclib)}


async def measure(call: Call, count: int, in_flight: int) -> float:
    """Return the seconds of one call of `count`."""
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        for _ in numbers:
            status = await call()
            assert status == "running", status

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return (time.perf_counter() - began) / count


async def serve() -> None:
    who, address, sandbox_id = sys.argv[1:]
    call = CALLS[who](address, sandbox_id)
    # While it waits to be told, the loop has nothing to do.
    for line in sys.stdin:
        count, in_flight = map(int, line.split())
        print(json.dumps([await measure(call, count, in_flight)]), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())

"""Every call goes through the generated layer, on httpx, or on grpclib or h2."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import flash_sandbox_http
import httpx
import pytest

from benchmarks.serving import Serving, serving
from flash_sandbox import AsyncHTTPClient, HTTPClient

HTTP = (flash_sandbox_http, httpx)


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving() as found:
        yield found


@contextmanager
def called_files(found: set[str]) -> Iterator[None]:
    """Note the file of every Python function that this thread calls."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def of_one_warm_call(client: HTTPClient) -> set[str]:
    found: set[str] = set()
    sandbox_id = client.start_sandbox("bubblewrap", "host")
    try:
        client.exec_command(sandbox_id, ["true"])
        with called_files(found):
            client.exec_command(sandbox_id, ["true"])
    finally:
        client.stop_sandbox(sandbox_id)
    return found


async def of_one_warm_async_call(client: AsyncHTTPClient) -> set[str]:
    found: set[str] = set()
    sandbox_id = await client.start_sandbox("bubblewrap", "host")
    try:
        await client.exec_command(sandbox_id, ["true"])
        with called_files(found):
            await client.exec_command(sandbox_id, ["true"])
    finally:
        await client.stop_sandbox(sandbox_id)
    return found


def over_http(server: Serving) -> set[str]:
    with HTTPClient(address=server.http) as client:
        return of_one_warm_call(client)


def over_async_http(server: Serving) -> set[str]:
    async def call() -> set[str]:
        async with AsyncHTTPClient(address=server.http) as client:
            return await of_one_warm_async_call(client)

    return asyncio.run(call())


@pytest.mark.parametrize(("call", "packages"), [(over_http, HTTP), (over_async_http, HTTP)])
def test_a_warm_call_goes_through(
    server: Serving, call: Callable[[Serving], set[str]], packages: tuple[Any, ...]
) -> None:
    files = call(server)
    for package in packages:
        folder = str(Path(package.__file__).parent)
        assert any(file.startswith(folder) for file in files), package.__name__

"""Many long calls of one client at a time: another call does not wait for any of them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator

# More than HTTP/2 servers usually let one connection have, and than HTTP clients usually make connections.
LONG_CALLS = 120
COMMAND = ["sleep", "3600"]


def new_client(name: str, orchestrator: Orchestrator) -> Any:
    address = orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address
    return getattr(flash_sandbox, name)(address=address, timeout=60)


@pytest.mark.parametrize("name", ["HTTPClient", "SandboxClient"])
def test_long_calls_of_threads_do_not_hold_up_a_short_one(name: str, orchestrator: Orchestrator) -> None:
    with new_client(name, orchestrator) as client, ThreadPoolExecutor(LONG_CALLS) as pool:
        sandbox = flash_sandbox.Sandbox.create(client=client, memory_mb=512)
        long_calls = [pool.submit(sandbox.exec_command, COMMAND) for _ in range(LONG_CALLS)]
        try:
            deadline = time.monotonic() + 60
            while sandbox.get_metrics().pids_current < LONG_CALLS:
                assert time.monotonic() < deadline, "the calls wait for each other"
            assert not any(call.done() for call in long_calls)
        finally:
            sandbox.stop_sandbox()


@pytest.mark.parametrize("name", ["AsyncHTTPClient", "AsyncSandboxClient"])
async def test_long_calls_of_tasks_do_not_hold_up_a_short_one(name: str, orchestrator: Orchestrator) -> None:
    async with new_client(name, orchestrator) as client:
        sandbox = await flash_sandbox.AsyncSandbox.create(client=client, memory_mb=512)
        long_calls = [asyncio.create_task(sandbox.exec_command(COMMAND)) for _ in range(LONG_CALLS)]
        try:
            async with asyncio.timeout(60):
                while (await sandbox.get_metrics()).pids_current < LONG_CALLS:
                    pass
            assert not any(call.done() for call in long_calls)
        finally:
            await sandbox.stop_sandbox()
            await asyncio.gather(*long_calls, return_exceptions=True)

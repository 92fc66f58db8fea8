"""A command whose caller goes away ends, at whatever moment and however often it is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest_asyncio
from inside import begin, run_in

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

ID = "cancelled"


@pytest_asyncio.fixture
async def runtime(tmp_path: Path, limits: Limits) -> AsyncIterator[BubblewrapRuntime]:
    opened = BubblewrapRuntime(tmp_path, limits=limits)
    await opened.open()
    try:
        await begin(opened, ID, StartRequest(memory_mb=64))
        yield opened
        await opened.stop(ID)
    finally:
        await opened.close()


def runs() -> bool:
    """Tell whether the command runs, as the host sees it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes() == b"sleep\x004714\0":
                return True
    return False


async def test_command_that_is_cancelled_while_it_is_being_cancelled_is_ended(
    runtime: BubblewrapRuntime,
) -> None:
    call = asyncio.create_task(run_in(runtime, ID, "sleep", "4714"))
    await asyncio.sleep(0)
    while not call.cancelling():
        await asyncio.sleep(0)
        call.cancel()
    await asyncio.sleep(0)
    # The loop is kept from hearing that the command has been started.
    deadline = time.monotonic() + 60
    while not runs():
        assert time.monotonic() < deadline, "the command was not started"
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    assert not runs()

"""Scripts run inside a sandbox, as its main process or through exec, for tests that look from within."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from flash_sandbox import HTTPClient
from flash_sandbox.models import DEFAULT_MAX_OUTPUT_BYTES, ExecResult, StartRequest
from flash_sandbox.orchestrator.guest.guest import Guest
from flash_sandbox.orchestrator.guest.programs import Program
from flash_sandbox.orchestrator.runtimes.base import Created, Runtime

IDLE = "exec tail -f /dev/null"


def wait_until(condition: Callable[[], object], what: str, patience: float = 20.0) -> None:
    """Return once the condition holds; fail when it does not for `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain: {what}"
        time.sleep(0.01)


@contextmanager
def running(client: HTTPClient, **options: object) -> Iterator[str]:
    """Start a sandbox of the embedded runtime for the length of a block."""
    sandbox_id = client.start_sandbox(**{"type": "bubblewrap", "image": "host", **options})
    try:
        yield sandbox_id
    finally:
        client.stop_sandbox(sandbox_id)


def output_of_main(client: HTTPClient, script: str, **options: object) -> str:
    """Run a script as (a part of) a main process and return what it printed, on either stream."""
    command = ["sh", "-c", f"({script}) > /out 2>&1; touch /done; {IDLE}"]
    with running(client, command=command, **options) as sandbox_id:
        wait_until(
            lambda: client.exec_command(sandbox_id, ["test", "-e", "/done"]).exit_code == 0,
            "the main process to end its script",
        )
        return client.exec_command(sandbox_id, ["cat", "/out"]).stdout


def output_of_exec(client: HTTPClient, script: str, **options: object) -> str:
    """Run a script through exec and return what it printed, on either stream."""
    with running(client, **options) as sandbox_id:
        return client.exec_command(sandbox_id, ["sh", "-c", f"({script}) 2>&1"]).stdout


_closing: set[asyncio.Task[None]] = set()
_guests: WeakKeyDictionary[Runtime, dict[str, Guest]] = WeakKeyDictionary()


async def begin(runtime: Runtime, sandbox_id: str, request: StartRequest, **options: Any) -> Guest:
    """Create a sandbox of a runtime, without a service core, and start its main process."""
    created = await runtime.create(sandbox_id, request, **options)
    guest = await reach(runtime, sandbox_id, created)
    if created.command and not guest.has_main:
        await guest.start_main(created.command)
    return guest


async def reach(runtime: Runtime, sandbox_id: str, created: Created) -> Guest:
    """Connect to the guest agent of a sandbox."""
    connect, oom_kills = partial(runtime.stream, sandbox_id), partial(runtime.oom_kills, sandbox_id)
    guest = Guest(sandbox_id, connect, created.defaults, oom_kills, reconnects=created.reconnects)
    await guest.open()
    _guests.setdefault(runtime, {})[sandbox_id] = guest

    async def close_with_the_sandbox() -> None:
        await runtime.wait(sandbox_id)
        await guest.close()

    task = asyncio.create_task(close_with_the_sandbox())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return guest


async def run_in(runtime: Runtime, sandbox_id: str, *command: str) -> ExecResult:
    """Run a command in a sandbox that `begin` or `reach` knows, to its end."""
    async with _guests[runtime][sandbox_id].run(Program(command)) as execution:
        return await execution.result(DEFAULT_MAX_OUTPUT_BYTES)

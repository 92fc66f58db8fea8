"""Takes one warm call apart: ``warm_call.py MODE CLIENT ADDRESS SANDBOX OPERATION ROUNDS``.

Answers as JSON, according to the mode:

``plain``    the seconds of a call, and its CPU seconds;
``counts``   what does not drift: function calls, Python's and C's, of all threads;
``memory``   the bytes that a call has at most, and the blocks of memory that it leaves behind;
``endless``  one line once it is warm; then it goes on until it is killed, for those who sample it;
``watched``  nothing: it makes the calls between two marks, for those who watch from outside.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvloop

import flash_sandbox

Call = Callable[[], Awaitable[object]]

WARM_UP = 20
BATCHES = 3


def made(name: str, address: str, sandbox_id: str, operation: str) -> Call:
    """Return what makes one call of a client."""
    client: Any = getattr(flash_sandbox, name)(address=address)
    method = getattr(client, operation)
    arguments = (["true"],) if operation == "exec_command" else ()
    if name.startswith("Async"):
        return lambda: method(sandbox_id, *arguments)

    async def call() -> object:
        return method(sandbox_id, *arguments)

    return call


class Counts:
    """A hook of sys.setprofile that counts calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1


def hook(function: Any) -> None:
    """Let threads that start from now on, and this one, tell of every call."""
    threading.setprofile(function)
    sys.setprofile(function)


async def repeated(call: Call, times: int) -> None:
    """Make the call that many times, one after the other."""
    for _ in range(times):
        await call()


async def plain(call: Call, rounds: int) -> dict[str, Any]:
    """Return the median of the seconds of a call, and the CPU seconds of one, all threads together."""
    await repeated(call, WARM_UP)
    seconds = []
    before = time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - began)
    cpu = (time.process_time() - before) / rounds
    return {"seconds": statistics.median(seconds), "cpu": cpu, "calls": WARM_UP + rounds}


async def counts(call: Call, rounds: int) -> dict[str, Any]:
    """Return the fewest calls of functions in several batches: nothing then came in its way."""
    counter = Counts()
    hook(counter)
    await repeated(call, WARM_UP)
    found = []
    for _ in range(BATCHES):
        # Another thread may end what a call left it to do during the next one: so the batch is what counts.
        before = counter.calls
        await repeated(call, rounds)
        found.append((counter.calls - before) // rounds)
    return {"calls": min(found)}


async def memory(call: Call, rounds: int) -> dict[str, Any]:
    """Return the bytes that a call has at most, and the blocks that it leaves behind."""
    await repeated(call, WARM_UP)
    left = []
    for _ in range(BATCHES):
        gc.collect()
        blocks = sys.getallocatedblocks()
        await repeated(call, rounds)
        gc.collect()
        left.append((sys.getallocatedblocks() - blocks) // rounds)
    # A collection in the middle of a call would be none of its own.
    gc.disable()
    tracemalloc.start()
    await repeated(call, WARM_UP)
    peaks = []
    for _ in range(rounds):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await call()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    return {"peak_bytes": min(peaks), "blocks_left": max(min(left), 0)}


async def endless(call: Call, rounds: int) -> dict[str, Any]:
    """Make calls until it is killed, once it has told that the first ones are over."""
    await repeated(call, WARM_UP)
    print("ready", flush=True)
    while True:
        await repeated(call, rounds)


async def watched(call: Call, rounds: int) -> dict[str, Any]:
    """Make the calls between two questions to the kernel that nobody else asks."""
    await repeated(call, WARM_UP)
    for mark in ("/begin of the calls", "/end of the calls"):
        # Other threads are to have ended what they do, too.
        await asyncio.sleep(0.05)
        os.access(mark, os.F_OK)
        if mark.startswith("/begin"):
            await repeated(call, rounds)
    return {}


MODES: dict[str, Callable[[Call, int], Awaitable[dict[str, Any]]]]
MODES = {mode.__name__: mode for mode in (plain, counts, memory, endless, watched)}


async def main() -> None:
    mode, client, address, sandbox_id, operation, rounds = sys.argv[1:]
    found = await MODES[mode](made(client, address, sandbox_id, operation), int(rounds))
    sys.setprofile(None)
    print(json.dumps(found), flush=True)
    # To close is not what is looked at.
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main())

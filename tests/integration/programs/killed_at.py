"""Work with a runtime, and be killed at one point of it.

``killed_at.py DIRECTORY RUNTIME PLACE IMAGE NAME POINT``, where RUNTIME is ``docker``, PLACE where its
engine is, and POINT the number of a call that the engine has answered; or RUNTIME is ``bubblewrap``, PLACE
what to do without cgroups, and POINT such as ``before runtimes.bubblewrap BubblewrapRuntime.pause 1``. With
either, POINT may be ``end``. Each step that is complete is printed, as its caller would have been told, and
each that takes something back before it begins.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inside import reach, run_in

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.runtimes.base import Kept, Runtime
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.docker.api import Engine
from flash_sandbox.orchestrator.runtimes.docker.runtime import DockerRuntime
from flash_sandbox.orchestrator.snapshots.manifest import Manifest
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database


def die() -> None:
    """End as an orchestrator that the kernel or an operator kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_engine_call(number: int) -> None:
    """Die when the engine's answer to a call has come, before anything is made of it."""
    calls = 0
    stream, attached = Engine.stream, Engine.attached

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            die()

    @asynccontextmanager
    async def counted(self: Engine, method: str, path: str, *rest: Any, **options: Any) -> AsyncIterator[Any]:
        async with stream(self, method, path, *rest, **options) as response:
            # The end of a sandbox is waited for at any time.
            if not path.endswith("/wait"):
                count()
            yield response

    @asynccontextmanager
    async def counted_attached(self: Engine, path: str) -> AsyncIterator[Any]:
        async with attached(self, path) as ends:
            count()
            yield ends

    Engine.stream = counted  # type: ignore[method-assign]
    Engine.attached = counted_attached  # type: ignore[method-assign]


def die_around_function(moment: str, module: str, name: str, number: int) -> None:
    """Die before or after the Nth call of a function of the orchestrator's."""
    owner: Any = importlib.import_module(f"flash_sandbox.orchestrator.{module}")
    *parents, last = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    function = getattr(owner, last)
    calls = itertools.count(1)

    async def waited_for(result: Awaitable[Any]) -> None:
        await result
        die()

    def counted(*arguments: Any, **options: Any) -> Any:
        is_due = next(calls) == number
        if is_due and moment == "before":
            die()
        result = function(*arguments, **options)
        if is_due and inspect.isawaitable(result):
            return waited_for(result)
        if is_due:
            die()
        return result

    setattr(owner, last, counted)


async def start(
    runtime: Runtime, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
) -> None:
    """Create a sandbox, which has no main process, and tell what the next runtime must know of it."""
    created = await runtime.create(sandbox_id, request, snapshot)
    await reach(runtime, sandbox_id, created)
    print("started", json.dumps(asdict(Kept(sandbox_id, request, created))), flush=True)


async def main(runtime: Runtime, snapshots: Snapshots, image: str, name: str) -> None:
    """Do every kind of step once."""

    async def drop(snapshot: Manifest) -> None:
        await runtime.forget_snapshot(snapshot)
        snapshots.files.remove(snapshot)

    first, second = f"first-{name}", f"second-{name}"
    await snapshots.open()
    await runtime.open()
    await runtime.adopt()
    await start(runtime, first, StartRequest(image=image, memory_mb=64))
    await run_in(runtime, first, "sh", "-c", "echo kept > /file")
    await runtime.pause(first)
    snapshot = await runtime.snapshot(first, StartRequest())
    await snapshots.add(snapshot)
    print("snapshot", snapshot.id, flush=True)
    await runtime.resume(first)
    await start(runtime, second, StartRequest(snapshot_path=snapshot.id, memory_mb=64), snapshot)
    print("stopping", second, flush=True)
    await runtime.stop(second)
    print("removing", snapshot.id, flush=True)
    await snapshots.remove(snapshot, drop)
    print("removed", snapshot.id, flush=True)


if __name__ == "__main__":
    directory, kind, place, image, name, point = sys.argv[1:]
    state_dir = Path(directory)
    state_dir.mkdir(exist_ok=True)
    snapshots = Snapshots(state_dir / "snapshots", Database(state_dir))
    runtime: Runtime
    if kind == "docker":
        runtime = DockerRuntime(state_dir, host=place, snapshots=snapshots)
    else:
        runtime = BubblewrapRuntime(state_dir, limits=place, snapshots=snapshots)  # type: ignore[arg-type]
    if point.isdigit():
        die_after_engine_call(int(point))
    elif point != "end":
        moment, module, function, number = point.split()
        die_around_function(moment, module, function, int(number))

    async def work() -> None:
        await main(runtime, snapshots, image, name)
        if point == "end":
            die()
        raise SystemExit(f"{point} was not reached")

    asyncio.run(work())

"""Work with the docker runtime, and be killed once the engine has done its Nth call.

``killed_at.py DIRECTORY ENGINE N``. Each step that is complete is printed, as its caller would have been
told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.docker_engine.api import Engine
from flash_sandbox.orchestrator.runtimes.docker import DockerRuntime


def kill_after_call(number: int) -> None:
    """Have this process killed when the engine's answer to a call has come, before anything is made of it."""
    calls = 0
    stream = Engine.stream

    @asynccontextmanager
    async def counted(self: Engine, method: str, path: str, *rest: Any, **options: Any) -> AsyncIterator[Any]:
        nonlocal calls
        async with stream(self, method, path, *rest, **options) as response:
            # The end of a sandbox is waited for at any time.
            if not path.endswith("/wait"):
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield response

    Engine.stream = counted  # type: ignore[method-assign]


async def main(directory: str, host: str) -> None:
    """Do every kind of step once."""
    runtime = DockerRuntime(Path(directory), host=host)
    await runtime.open()
    await runtime.adopt(lambda adopted: lambda code: None)
    request = StartRequest(image="busybox:latest", memory_mb=64)
    await runtime.start("first", request, lambda code: None)
    print("started first", flush=True)
    await runtime.exec("first", ("sh", "-c", "echo kept > /file"))
    await runtime.pause("first")
    snapshot = await runtime.snapshot("first")
    print("snapshot", snapshot.snapshot_path, flush=True)
    await runtime.resume("first")
    await runtime.start("second", request, lambda code: None)
    print("started second", flush=True)
    print("stopping second", flush=True)
    await runtime.stop("second")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    kill_after_call(int(sys.argv[3]))
    asyncio.run(main(sys.argv[1], sys.argv[2]))

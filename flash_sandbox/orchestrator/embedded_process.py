"""An orchestrator for one other process, which lives as long as that: `flash_sandbox.embedding` starts it.

It says on standard output, in one line of JSON, where it listens or why it does not. It ends, with all of
its sandboxes, once its standard input does: also where the other process was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any, Final

from ..errors import SandboxError
from .embedded import Orchestrator, new_event_loop
from .linux.cgroups import CgroupError, find_hierarchy
from .runtimes.catalogue import Limits
from .state.directory import StateDirError, default_image_store

__all__ = ["cgroup_trouble", "main"]


_STDIN: Final = 0


def cgroup_trouble() -> str | None:
    """Return why this process has no cgroup to limit sandboxes with, or None where it has."""
    try:
        find_hierarchy().close()
    except CgroupError as error:
        return str(error)
    return None


def main(api_key: str) -> None:
    """Serve whoever has the key, and end with standard input."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(api_key))


async def _serve(api_key: str) -> None:
    trouble = cgroup_trouble()
    limits: Limits = "enforce" if trouble is None else "best-effort"
    # Whoever has the key has started this process, and so may let sandboxes have whatever it can open.
    orchestrator = Orchestrator(
        limits=limits, image_store=default_image_store(), volume_roots=["/"], api_key=api_key
    )
    try:
        async with orchestrator:
            _tell({"address": orchestrator.http_address, "trouble": trouble})
            await _let_go()
    except (SandboxError, OSError, StateDirError) as error:
        _tell({"error": str(error)})


async def _let_go() -> None:
    """Return once the other process has let go of standard input, or this one is told to end."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def read() -> None:
        if not os.read(_STDIN, 4096):
            over.set()

    loop.add_reader(_STDIN, read)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    loop.remove_reader(_STDIN)


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()

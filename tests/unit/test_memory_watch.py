"""The memory of sandboxes without a cgroup is watched, whatever befalls a look at it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator

import pytest

from flash_sandbox.orchestrator.linux import memory_watch
from flash_sandbox.orchestrator.linux.memory_watch import MemoryWatch, Watched


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, looked = asyncio.get_running_loop(), asyncio.Event()
    failures = [OSError(errno.EMFILE, "no descriptor is left")]

    def all_pids() -> Iterator[int]:
        if failures:
            raise failures.pop()
        loop.call_soon_threadsafe(looked.set)
        return iter(())

    monkeypatch.setattr(memory_watch, "all_pids", all_pids)
    watch = MemoryWatch()
    watch.add(Watched("pid:[0]", init=0, limit=1))
    async with asyncio.timeout(30):
        await looked.wait()
    await watch.close()

"""The memory of sandboxes that have no cgroup: sampled, and a process ended where it is too much.

What counts is what the processes of a sandbox have in memory and in swap. The less a sandbox has left, the
more often it is sampled: as often as memory can be filled in the meantime, with at most a tenth of a CPU.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MemoryWatch", "Watched", "all_pids", "memory_of", "namespace_of"]

_KIB: Final = 1024
# What one core fills in a second, about.
_FILLED_A_SECOND: Final = 4 * 1024**3
_LEAST_SECONDS: Final = 0.01
_MOST_SECONDS: Final = 0.2
_SHARE_OF_A_CPU: Final = 0.1
# The kernel gives the memory of a great process back in less.
_END_SECONDS: Final = 1.0


@dataclass(slots=True)
class Watched:
    """One sandbox.

    Attributes:
        namespace: Its PID namespace, as `namespace_of` tells it.
        init: Its PID 1, which is never ended.
        limit: What its processes may have together, in bytes.
        ending: The process that was ended last, which may still be there.
        patience: Until when that is waited for, by the monotonic clock.
        kills: How many have been ended.
    """

    namespace: str
    init: int
    limit: int
    ending: int = 0
    patience: float = 0.0
    kills: int = 0


class MemoryWatch:
    """Watches the sandboxes of one runtime, each by its PID namespace."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._watching: asyncio.Task[None] | None = None

    def add(self, watched: Watched) -> None:
        """Watch a sandbox from now on."""
        self._watched[watched.namespace] = watched
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def remove(self, watched: Watched) -> None:
        """Watch a sandbox no more."""
        self._watched.pop(watched.namespace, None)

    async def close(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._watching is not None:
            await self._watching

    async def _watch(self) -> None:
        while self._watched:
            pause = _LEAST_SECONDS
            # Without a descriptor to look with, say: whoever is short of them may soon have some.
            with suppress(OSError):
                pause = await asyncio.to_thread(self._look, dict(self._watched))
            await asyncio.sleep(pause)

    def _look(self, watched: dict[str, Watched]) -> float:
        """Look once, end what has to be ended, and return after how many seconds to look again."""
        before = time.thread_time()
        processes: dict[str, list[int]] = defaultdict(list)
        for pid in all_pids():
            namespace = namespace_of(pid)
            if namespace in watched:
                processes[namespace].append(pid)
        left = min((_enforce(one, processes[one.namespace]) for one in watched.values()), default=0)
        busy = (time.thread_time() - before) / _SHARE_OF_A_CPU
        return max(busy, min(max(left / _FILLED_A_SECOND, _LEAST_SECONDS), _MOST_SECONDS))


def all_pids() -> Iterator[int]:
    """Yield the process IDs of this host, as far as this process sees them."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def namespace_of(pid: int) -> str:
    """Return the PID namespace of a process; "" for one that is gone or may not be looked at."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return ""


def memory_of(pids: Iterable[int], limit: int) -> dict[int, int]:
    """Return what each process has in memory and in swap, in bytes; those that are gone are left out.

    What several of them share is divided among them, which takes the kernel longer, where that tells whether
    all together have more than `limit`.
    """
    found = _measured(pids, "status", "VmRSS:", "VmSwap:")
    if sum(found.values()) > limit:
        found |= _measured(found, "smaps_rollup", "Pss:", "SwapPss:")
    return found


def _measured(pids: Iterable[int], file: str, *names: str) -> dict[int, int]:
    found: dict[int, int] = {}
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/{file}").read_text(errors="replace")
            lines = (line.split() for line in text.splitlines())
            found[pid] = sum(int(line[1]) * _KIB for line in lines if line and line[0] in names)
    return found


def _enforce(watched: Watched, pids: list[int]) -> int:
    """End the greatest process of a sandbox that takes too much; return how many bytes it has left."""
    memory = memory_of(pids, watched.limit)
    left = watched.limit - sum(memory.values())
    if left >= 0 or (memory.get(watched.ending) and time.monotonic() < watched.patience):
        return max(left, 0)
    greatest = max(memory.keys() - {watched.init}, key=memory.__getitem__, default=0)
    if greatest and _kill(greatest, watched):
        watched.ending, watched.patience = greatest, time.monotonic() + _END_SECONDS
    return 0


def _kill(pid: int, watched: Watched) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # What is open is the process that was looked at, and not a later one of its number.
        if namespace_of(pid) != watched.namespace:
            return False
        # Told before its end can be.
        watched.kills += 1
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        watched.kills -= 1
        return False
    finally:
        os.close(handle)
    return True

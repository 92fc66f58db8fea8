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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MemoryWatch", "Watched", "all_pids", "namespace_of", "resident_bytes"]

_KIB: Final = 1024
# What one core fills in a second, about.
_FILLED_A_SECOND: Final = 4 * 1024**3
_LEAST_SECONDS: Final = 0.01
_MOST_SECONDS: Final = 0.2
_SHARE_OF_A_CPU: Final = 0.1


@dataclass(slots=True)
class Watched:
    """One sandbox.

    Attributes:
        namespace: Its PID namespace, as `namespace_of` tells it.
        init: Its PID 1, which is never ended.
        limit: What its processes may have together, in bytes.
        ending: The process that was ended last, which may still be there.
        kills: How many have been ended.
    """

    namespace: str
    init: int
    limit: int
    ending: int = 0
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


def resident_bytes(pid: int) -> int:
    """Return what a process has in memory and in swap, what it shares with others included."""
    return _sum(Path(f"/proc/{pid}/status"), "VmRSS:", "VmSwap:")


def _own_bytes(pid: int) -> int:
    """Return the same, with what is shared divided among those that share it, which takes longer."""
    return _sum(Path(f"/proc/{pid}/smaps_rollup"), "Pss:", "SwapPss:")


def _sum(file: Path, *names: str) -> int:
    lines = (line.split() for line in file.read_text(errors="replace").splitlines())
    return sum(int(line[1]) * _KIB for line in lines if line and line[0] in names)


def _enforce(watched: Watched, pids: list[int]) -> int:
    """End the greatest process of a sandbox that takes too much; return how many bytes it has left."""
    resident: dict[int, int] = {}
    for pid in pids:
        with suppress(OSError):
            resident[pid] = resident_bytes(pid)
    if sum(resident.values()) > watched.limit:
        for pid in resident:
            with suppress(OSError):
                resident[pid] = _own_bytes(pid)
    left = watched.limit - sum(resident.values())
    if left >= 0 or resident.get(watched.ending):
        return max(left, 0)
    greatest = max(resident.keys() - {watched.init}, key=resident.__getitem__, default=0)
    if greatest and _kill(greatest, watched):
        watched.ending = greatest
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

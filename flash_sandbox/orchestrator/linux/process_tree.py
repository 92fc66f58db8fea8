"""Holding a sandbox's processes together without a cgroup, through what /proc tells of them.

For a host that gives no cgroup (``--limits best-effort``). Every process of a sandbox is in its PID
namespace, so none is overlooked. Memory is sampled (`memory_watch`), and CPU is limited by the number of CPUs
that a sandbox may run on. Sources: proc(5), pid_namespaces(7), setrlimit(2).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import WrongStateError
from .limits import Limits, Usage
from .memory_watch import MemoryWatch, Watched, all_pids, memory_of, namespace_of

__all__ = ["ProcessTree"]

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# What a process may ask for beyond the limit and not use: stacks of a hundred threads, for one, 8 MiB each.
_UNUSED_BYTES: Final = 1024**3
_PATIENCE_SECONDS: Final = 10.0
# Lines of proc_pid_status(5): the last two end in "ctxt_switches".
_RUNS: Final = ("State:", "voluntary_", "nonvoluntary_")


class ProcessTree:
    """The processes of one sandbox, told apart by their PID namespace."""

    join_files: list[str] = []  # noqa: RUF012 - never changed
    directories: list[str] = []  # noqa: RUF012
    thaw_writes: list[tuple[str, str]] = []  # noqa: RUF012
    shown: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, limits: Limits, watch: MemoryWatch, *, has_own_user: bool) -> None:
        self._limits = limits
        self._has_own_user = has_own_user
        self._watch = watch
        self._watched: Watched | None = None
        self._namespace = ""
        self._init = 0

    def attach(self, init: int) -> None:
        """Take the sandbox's PID 1, by the process ID that it has here, and limit its processes."""
        self._init = init
        self._namespace = os.readlink(f"/proc/{init}/ns/pid")
        if not self._has_own_user:
            resource.prlimit(init, resource.RLIMIT_NPROC, (self._limits.pids, self._limits.pids))
        self._watched = Watched(self._namespace, init, self._limits.memory_bytes)
        self._watch.add(self._watched)

    @property
    def rlimits(self) -> dict[int, tuple[int, int]]:
        """Limits for each process of the sandbox: soft and hard, by the resource."""
        # Of what it may write to. Address space that is only reserved, as by Node.js or a JVM, is not used.
        # Who needs more of that, as AddressSanitizer does, may raise it.
        limits = {resource.RLIMIT_DATA: (self._limits.memory_bytes + _UNUSED_BYTES, resource.RLIM_INFINITY)}
        # Of the same user, what runs outside counts, too, until PID 1 has a user namespace of its own.
        if self._has_own_user:
            limits[resource.RLIMIT_NPROC] = (self._limits.pids, self._limits.pids)
        return limits

    @property
    def cpus(self) -> list[int]:
        """CPUs that the sandbox may run on: as many as its limit in cores, rounded up."""
        usable = sorted(os.sched_getaffinity(0))
        # Spread sandboxes over the machine; nothing here is a secret.
        return random.sample(usable, min(math.ceil(self._limits.cpu_cores), len(usable)))

    def usage(self) -> Usage:
        """Add up what the processes use now, and what those used that have ended."""
        ticks = threads = 0
        read = written = 0
        pids = self._pids()
        for pid in pids:
            with suppress(OSError, ValueError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                # Fields 14 to 17 (proc_pid_stat(5)): CPU time of the process and of the children it reaped.
                ticks += sum(int(value) for value in fields[11:15])
                threads += int(fields[17])
                counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                read += int(counts["read_bytes"])
                written += int(counts["write_bytes"])
        return Usage(
            memory_bytes=sum(memory_of(pids, self._limits.memory_bytes).values()),
            memory_limit_bytes=self._limits.memory_bytes,
            cpu_seconds=ticks / _TICKS_PER_SECOND,
            pids=threads,
            block_read_bytes=read,
            block_write_bytes=written,
        )

    def oom_kills(self) -> int:
        """Return how many processes were ended because all together took too much memory."""
        return self._watched.kills if self._watched else 0

    async def freeze(self) -> None:
        """Stop every process, and those that they made meanwhile, until none runs.

        Raises:
            WrongStateError: If one goes on and on, which a timer of its own can have it do.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while running := [pid for pid in self._pids() if _state(pid) not in "TtZX"]:
            if asyncio.get_running_loop().time() > deadline:
                raise WrongStateError("the sandbox's processes do not stay stopped, and here is no cgroup")
            _send(running, signal.SIGSTOP)
            await asyncio.sleep(0.001)

    def runs(self) -> dict[str, list[str]]:
        """Return for each thread where it is and how often it has run: the same while all are stopped."""
        found = {}
        for pid in self._pids():
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                with suppress(OSError):
                    lines = status.read_text().splitlines()
                    found[status.parent.name] = [line for line in lines if line.startswith(_RUNS)]
        return found

    async def thaw(self) -> None:
        """Let every process run on."""
        _send(self._pids(), signal.SIGCONT)

    async def remove(self) -> None:
        """End what is left. PID 1 takes all others with it."""
        if self._watched:
            self._watch.remove(self._watched)
        if self._init:
            _send(self._pids(), signal.SIGKILL)

    def _pids(self) -> list[int]:
        if not self._namespace:
            return []
        return [pid for pid in all_pids() if namespace_of(pid) == self._namespace]


def _state(pid: int) -> str:
    """Return the state letter of a process (proc_pid_stat(5)); "X" when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)

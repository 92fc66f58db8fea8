"""What the orchestrator and its sandboxes hold of the machine, as the kernel tells it (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["agents_of", "cpu_seconds", "memory_by_kind", "tree"]

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    # Fields 14 and 15 (proc_pid_stat(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def memory_by_kind(orchestrator: int) -> dict[str, int]:
    """Return the bytes of proportional memory (PSS) of an orchestrator, its launcher and its sandboxes."""
    found: dict[str, int] = {}
    for pid in tree(orchestrator):
        with suppress(OSError):
            kind = _kind(pid, orchestrator)
            found[kind] = found.get(kind, 0) + _proportional_bytes(pid)
    return found


def agents_of(orchestrator: int) -> Iterator[int]:
    """Yield the guest agent of each sandbox of an orchestrator: the first process of its PID namespace."""
    for pid in tree(orchestrator):
        with suppress(OSError):
            if _kind(pid, orchestrator) == "PID 1":
                yield pid


def _kind(pid: int, orchestrator: int) -> str:
    if pid == orchestrator:
        return "orchestrator"
    status = Path(f"/proc/{pid}/status").read_text()
    # The IDs in each PID namespace that it is in, the innermost last.
    ids = status.partition("\nNSpid:")[2].partition("\n")[0].split()
    own = os.readlink(f"/proc/{pid}/exe")
    if len(ids) == 1:
        return "bwrap" if own.endswith("bwrap") else "launcher"
    return "PID 1" if ids[-1] == "1" else "main process"


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0

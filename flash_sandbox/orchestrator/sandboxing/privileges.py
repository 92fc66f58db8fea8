"""What the processes of a sandbox must have given up, read back from the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from .cgroup_files import read

__all__ = ["require_given_up", "still_held"]

_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def still_held(pid: int, kept: int = 0) -> str:
    """Return what a process has not given up and should have; "" for nothing, or where it has ended.

    Args:
        pid: Process ID. What it can start has no more than its bounding set.
        kept: Capabilities that it may have, each a bit (capabilities(7)).
    """
    try:
        lines = read(Path(f"/proc/{pid}/status")).splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    status = dict(line.split(":", 1) for line in lines)
    held = [f"{name} {status[name].strip()}" for name in _SETS if int(status[name], 16) & ~kept]
    if int(status["NoNewPrivs"]) != 1:
        held.append("a way to gain privileges")
    return ", ".join(held)


def require_given_up(pid: int, kept: int = 0) -> None:
    """Raise where a process has more than it should.

    Raises:
        InternalServerError: That is so.
    """
    if held := still_held(pid, kept):
        raise InternalServerError(f"the sandbox was not started: its processes would have {held}")

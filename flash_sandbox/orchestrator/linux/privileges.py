"""What root of a sandbox may, and that nobody in it may more, read back from the kernel.

It is what root of a Docker container may to its own files and users.

Docker gives four capabilities more (capabilities(7)): to make devices and raw sockets, to write to the audit
log, and to hand on capabilities by SETPCAP. None of them is needed for one's own files and users.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from .cgroup_files import read

__all__ = ["AGENT_NAMES", "CAPABILITIES", "MASK", "NAMES", "require_given_up", "still_held"]

CAPABILITIES: Final = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
    "SETFCAP": 31,
}
"""The capabilities that a sandbox's root has, with their numbers (linux/capability.h)."""

NAMES: Final = tuple(f"CAP_{name}" for name in CAPABILITIES)

AGENT_NAMES: Final = ("CAP_SETPCAP", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE")
"""What the guest agent has besides as it starts, and gives up before it runs anything (``confine.c``)."""

MASK: Final = sum(1 << number for number in CAPABILITIES.values())

_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def still_held(pid: int, kept: int = MASK) -> str:
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


def require_given_up(pid: int, kept: int = MASK) -> None:
    """Raise where a process has more than it should.

    Raises:
        InternalServerError: That is so.
    """
    if held := still_held(pid, kept):
        raise InternalServerError(f"the sandbox was not started: its processes would have {held}")

"""Ending what a command of a container has started: the engine itself has no call for that.

A command's processes are those that descend from its first process, and those that have the
command's mark in their environment: a process keeps its mark also where it left its session and its parent
has ended. One that clears its environment and loses its parent at once is not found; it stays in the sandbox,
within its limits, and ends with it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["MARK", "kill_command", "kill_script", "on_this_host", "signal_process", "signal_script"]

MARK: Final = "FLASH_SANDBOX_EXEC"
"""Name of the environment variable that a command's processes inherit."""

_PATIENCE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.005


def on_this_host(container_id: str, pid: int) -> bool:
    """Tell whether a process of this host is one of the container, so that others of it can be looked at.

    It is not where the engine runs on another machine or in another PID namespace, or where the OCI runtime
    boots a virtual machine.
    """
    try:
        return pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def kill_command(container_id: str, pid: int, mark: str) -> bool:
    """Kill every process of a command, until none is left; tell whether that succeeded.

    Args:
        container_id: Full ID of the container; no process outside of it is touched.
        pid: Process ID of the command's first process, in this process's namespace.
        mark: Value of its mark.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while targets := _processes(container_id, pid, mark):
        if time.monotonic() > deadline:
            return False
        for target in targets:
            if not signal_process(container_id, target, signal.SIGKILL):
                return False
        time.sleep(_PAUSE_SECONDS)
    return True


def kill_script(mark: str) -> tuple[str, ...]:
    """Return a command that does the same from inside of the sandbox, by the mark alone.

    It needs a shell and ``grep`` in the image, and room for one more process.
    """
    script = (
        'for n in 1 2 3 4 5; do found=; for d in /proc/[0-9]*; do if grep -q "$0" "$d/environ" 2>/dev/null; '
        'then kill -9 "${d#/proc/}" && found=1; fi; done; [ "$found" ] || exit 0; done'
    )
    return ("sh", "-c", script, f"{MARK}={mark}")


def signal_script(mark: str, number: int) -> tuple[str, ...]:
    """Return a command that sends a signal to a command's first process from inside of the sandbox."""
    script = (
        'first=; for d in /proc/[0-9]*; do if grep -q "$0" "$d/environ" 2>/dev/null; then p=${d#/proc/}; '
        'if [ -z "$first" ] || [ "$p" -lt "$first" ]; then first=$p; fi; fi; done; '
        '[ -z "$first" ] || kill -"$1" "$first"'
    )
    return ("sh", "-c", script, f"{MARK}={mark}", str(number))


def signal_process(container_id: str, pid: int, number: int) -> bool:
    """Signal one process, and no other that got its ID in the meantime; False where this user may not."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if on_this_host(container_id, pid):
            signal.pidfd_send_signal(descriptor, signal.Signals(number))
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def _processes(container_id: str, first: int, mark: str) -> set[int]:
    """Return the processes of the command that are alive."""
    parents = {
        pid: parent
        for entry in os.listdir("/proc")
        if entry.isdecimal() and on_this_host(container_id, pid := int(entry))
        if (parent := _living_parent(pid)) is not None
    }
    marked = f"{MARK}={mark}".encode()
    found = {pid for pid in parents if pid == first or marked in _environment(pid)}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _living_parent(pid: int) -> int | None:
    """Return the parent's process ID; None for a process that has ended."""
    with suppress(OSError):
        # The name, in parentheses, may hold anything.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return None if state in "ZX" else int(parent)
    return None


def _environment(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []

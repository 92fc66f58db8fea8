"""Steps of every process that is started for a sandbox."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Sequence
from typing import Final

from .steps import Failure, Memory, Step, Steps

__all__ = [
    "AT_FDCWD",
    "FIRST_DESCRIPTOR",
    "NOT_RUNNABLE",
    "apply_limits",
    "become_user",
    "close_at_the_end",
    "open_to_write",
]

FIRST_DESCRIPTOR: Final = 64
"""Number of the first descriptor that a process is given; the others follow. The launcher has fewer open."""

NOT_RUNNABLE: Final = 126
"""Found, but not runnable (exit status of POSIX shells)."""

AT_FDCWD: Final = -100
"""The current directory, where a call takes a path and a directory (linux/fcntl.h)."""

_UMASK: Final = 0o022


def close_at_the_end(steps: Steps, descriptors: int, failure: Failure) -> None:
    """Close what the process is given once it becomes another program."""
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + descriptors):
        steps.add("fcntl", number, fcntl.F_SETFD, fcntl.FD_CLOEXEC, failure=failure)


def open_to_write(steps: Steps, path: Memory, failure: Failure) -> Step:
    """Open a file that the process is to write to."""
    return steps.add("openat", AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, failure=failure)


def apply_limits(
    steps: Steps, rlimits: Sequence[Sequence[int]], cpus: Sequence[int], failure: Failure
) -> None:
    """Set resource limits, each lowered to what this process may have, the CPUs and the umask.

    A limit is the number of its resource and a value, and what it may be raised to where that is another.
    """
    for number, *values in rlimits:
        _, most = resource.getrlimit(number)
        soft, hard = (_lower(value, most) for value in (values[0], values[-1]))
        steps.add("prlimit64", 0, number, steps.memory([soft, hard]), 0, failure=failure)
    if cpus:
        mask = sum(1 << cpu for cpu in cpus)
        content = mask.to_bytes(max(cpus) // 64 * 8 + 8, "little")
        steps.add("sched_setaffinity", 0, len(content), steps.memory(content), failure=failure)
    steps.add("umask", _UMASK)


def become_user(steps: Steps, user: int, failure: Failure) -> None:
    """Become a user, and the group of the same number, for good."""
    for call in ("setresgid", "setresuid"):
        steps.add(call, user, user, user, failure=failure)


def _lower(value: int, most: int) -> int:
    """Return the lower one of two limits, where one that is negative is none."""
    return min((limit for limit in (value, most) if limit != resource.RLIM_INFINITY), default=value)

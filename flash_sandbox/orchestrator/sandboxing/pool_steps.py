"""What bounds a sandbox's share of what all have in common: pseudo-terminals, inotify, and devices.

Done by a process that joins the sandbox before anything of its user's runs. Resource limits are inherited
from the launcher, which sets those that bound such pools.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from .process_steps import AT_FDCWD, FIRST_DESCRIPTOR, NOT_RUNNABLE, close_at_the_end
from .steps import Step, Steps

__all__ = ["INOTIFY_INSTANCES", "INOTIFY_WATCHES", "TERMINALS", "pool_steps"]

TERMINALS: Final = 64
"""Pseudo-terminals of one sandbox, of some 3,000 of the machine (devpts.rst)."""

INOTIFY_INSTANCES: Final = 64
"""Of 128 that each user of the machine has by default (inotify(7))."""

INOTIFY_WATCHES: Final = 16_384
"""Of at least 8,192 that each user of the machine has by default; of more where it has more memory."""

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
"""Those that bwrap shows of the host's own (``--dev``)."""

_INIT: Final = FIRST_DESCRIPTOR
_REPORT: Final = _INIT + 1

# Constants of the kernel: linux/sched.h, linux/prctl.h, linux/mount.h.
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_DUMPABLE: Final = 4
_MS_REMOUNT_NOSUID_NOEXEC: Final = 32 | 2 | 8
_MOUNT_ATTR_RDONLY: Final = 1


@cache
def pool_steps() -> bytes:
    """Return the steps of a process that is given the sandbox's PID 1, and where it tells what went wrong."""
    steps = Steps()
    failure = steps.failure(_REPORT, "bound its share of the kernel's pools: ", status=NOT_RUNNABLE)
    close_at_the_end(steps, 2, failure)
    # Nothing in the sandbox can look into it.
    steps.add("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0, failure=failure)
    steps.add("setns", _INIT, _CLONE_NEWUSER, failure=failure)
    # Of the sandbox's user namespace, through the host's /proc: the sandbox's own is mounted read-only.
    limits = {"max_inotify_instances": INOTIFY_INSTANCES, "max_inotify_watches": INOTIFY_WATCHES}
    opened = [_write(steps, f"/proc/sys/user/{name}", value) for name, value in limits.items()]
    joins = steps.add("setns", _INIT, _CLONE_NEWNS, failure=failure)
    for step in opened:
        # In a container, the settings of the kernel may not be written at all.
        step.otherwise = step.absent = joins
    none, options = steps.text("none"), steps.text(f"ptmxmode=0666,mode=620,max={TERMINALS}")
    steps.add(
        "mount", none, steps.text("/dev/pts"), none, _MS_REMOUNT_NOSUID_NOEXEC, options, failure=failure
    )
    # They can be written to all the same, but not be given another mode by who owns them on the host.
    attributes = steps.memory([_MOUNT_ATTR_RDONLY, 0, 0, 0])
    for name in _DEVICES:
        device = steps.text(f"/dev/{name}")
        steps.add("mount_setattr", AT_FDCWD, device, 0, attributes, 32, failure=failure)
    steps.add("exit_group", 0)
    return steps.encode()


def _write(steps: Steps, path: str, value: int) -> Step:
    """Write a number to a file; return the step that opens it, whose failure is the caller's to lead on."""
    opened = steps.add("openat", AT_FDCWD, steps.text(path), os.O_WRONLY | os.O_CLOEXEC)
    text = str(value).encode()
    steps.add("write", opened, steps.memory(text), len(text))
    return opened

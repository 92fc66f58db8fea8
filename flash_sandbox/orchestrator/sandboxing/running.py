"""A sandbox that runs, as the bubblewrap runtime keeps it."""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...errors import SandboxEndedError
from . import cgroup_files
from .images import RootFilesystem
from .launcher_client import Process
from .limits import Group
from .oom import OomKills
from .output import Output

__all__ = ["RunningSandbox"]

# linux/sched.h
_PF_EXITING: Final = 4


@dataclass(slots=True, eq=False)
class RunningSandbox:
    """What is known of one sandbox.

    Attributes:
        id: Its ID.
        root: What it was started from.
        layer: Directory of its writable layer.
        group: Its processes.
        log: What its main process prints.
        user: The user that it runs as; None for the orchestrator's own.
        env: Variables of every process besides the image's, each ``NAME=value``.
        process: bwrap.
        init: Process ID of its PID 1, as this process sees it.
        handle: Descriptor of its PID 1, which no later process of the same ID can be taken for.
        status: Descriptor from which bwrap's reports are read.
        commands: How many commands have been run in it.
        oom_kills: Which of them the kernel has ended a process of, for want of memory.
        watcher: Waits for its end.
    """

    id: str
    root: RootFilesystem
    layer: Path
    group: Group
    log: Output
    user: int | None
    env: tuple[str, ...] = ()
    process: Process | None = None
    init: int = 0
    handle: int = -1
    # Open as long as bwrap is: it reports the end there, too, and a closed pipe would kill it before.
    status: int = -1
    commands: int = 0
    oom_kills: OomKills = field(init=False)
    watcher: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.oom_kills = OomKills(self.group.oom_kills)

    def require_alive(self) -> None:
        """Raise SandboxEndedError where its PID 1 has ended, or is about to, be that heard of or not."""
        poll = select.poll()
        if self.handle >= 0:
            poll.register(self.handle, select.POLLIN)
        if self.handle < 0 or poll.poll(0) or _is_exiting(self.init):
            raise SandboxEndedError(f"sandbox {self.id} has ended")


def _is_exiting(pid: int) -> bool:
    """Tell whether a process has given up its namespaces; it ends once all in its PID namespace have."""
    try:
        fields = cgroup_files.read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    except OSError:
        return True
    # Field 9 (proc_pid_stat(5)).
    return bool(int(fields[6]) & _PF_EXITING)

"""A sandbox that runs, as the bubblewrap runtime keeps it."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ....errors import SandboxEndedError
from ...guest.greeting import Greeting
from ...images.rootfs import RootFilesystem
from ...linux import cgroup_files
from ...linux.id_range import IdRange
from ...linux.limits import Group
from .disk import Disk
from .launcher_client import Process
from .lower_layers import LowerLayer

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
        ids: The IDs of its users on this host; None if it has one user alone, the orchestrator's own.
        below: What lies between the root file system and the writable layer, the lowest first.
        env: Variables of every process besides the image's, each ``NAME=value``.
        disk: What its writable layer lies on; None for the orchestrator's own disk.
        process: bwrap.
        stream: The stream to its PID 1, the guest agent; closed once it has been handed out.
        greeting: The agent, before the sandbox is handed out.
        init: Process ID of the agent, as this process sees it.
        handle: Descriptor of that, which no later process of the same ID can be taken for.
        errors: Descriptor of a pipe that bwrap, and what starts it, report errors to.
    """

    id: str
    root: RootFilesystem
    layer: Path
    group: Group
    ids: IdRange | None
    env: tuple[str, ...] = ()
    below: list[LowerLayer] = field(default_factory=list)
    disk: Disk | None = None
    process: Process | None = None
    stream: socket.socket | None = None
    greeting: Greeting | None = None
    init: int = 0
    handle: int = -1
    errors: int = -1

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

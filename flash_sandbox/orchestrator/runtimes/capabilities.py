"""What a runtime can do: `doctor` shows it, and everything else is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["LIMIT_OPTIONS", "OPTIONS", "Capabilities"]

OPTIONS: Final = (
    "kernel_image",
    "initrd_path",
    "snapshot_path",
    "mem_file_path",
    "pids",
    "shm_mb",
    "volumes",
    "disk_mb",
)
"""The fields of a start that not every runtime honours."""

_USERS: Final = {
    "root": re.compile(r"(?!)"),
    "any": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one runtime can do.

    Attributes:
        options: Which of `OPTIONS` it honours; any other is refused, never ignored.
        networks: Which networks it can give a sandbox; any other is refused.
        users: Whom it can run the main process and commands as: ``root`` alone, or ``any``.
        snapshot: What a snapshot holds.
        own_kernel: Whether a sandbox does not run on the host's kernel: ``/proc`` tells of another one.
        memory_ends: What exceeding the memory limit ends.
        outlives: Whether a sandbox outlives an orchestrator that is killed.
        counts_oom_kills: Whether processes that were ended for want of memory are looked for now and then;
            else it is asked for once the sandbox has ended.
        snapshots_agent: Whether a snapshot holds the guest agent, whose stream must be silent meanwhile.
        suspends: Whether `suspend` is there for it: paused, a sandbox needs no memory then.
        reasons: Why it does not honour an option, by its name, where that is not plain.
        missing_users: Why there is no user but root; empty if there are others.
    """

    options: frozenset[str]
    networks: tuple[str, ...]
    users: Literal["root", "any"]
    snapshot: Literal["files", "files, memory and processes"]
    own_kernel: bool
    memory_ends: Literal["a process", "the sandbox"]
    outlives: bool
    counts_oom_kills: bool
    snapshots_agent: bool = False
    suspends: bool = False
    missing_users: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)

    def runs_as(self, user: str) -> bool:
        """Tell whether it can run a command as a user other than root."""
        return _USERS[self.users].fullmatch(user) is not None

    def rows(self) -> dict[str, str]:
        """Return what it can do in words, by what that is about."""
        more = [option for option in OPTIONS if option in self.options and option != "snapshot_path"]
        return {
            "network": " or ".join(self.networks),
            "users": self.users,
            "snapshots hold": self.snapshot,
            "kernel": "its own" if self.own_kernel else "the host's",
            "too much memory ends": self.memory_ends,
            "outlives a killed orchestrator": "yes" if self.outlives else "no",
            "takes": ", ".join(more) or "nothing more",
        }


LIMIT_OPTIONS: Final = frozenset({"snapshot_path", "pids", "shm_mb"})
"""Options that most runtimes honour."""

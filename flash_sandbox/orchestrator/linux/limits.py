"""What a sandbox may use, and what it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, Self

from ...models import DEFAULT_CPU_CORES, DEFAULT_MEMORY_MB, DEFAULT_PIDS, StartRequest

__all__ = ["MIB", "Group", "Limits", "Usage"]

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use.

    Attributes:
        memory_bytes: Memory of all its processes together, swap included.
        cpu_cores: CPU time of all its processes together, in cores.
        pids: Processes and threads.
    """

    memory_bytes: int
    cpu_cores: float
    pids: int

    @classmethod
    def of(cls, request: StartRequest) -> Self:
        """Return the limits that a start asks for."""
        return cls(
            (request.memory_mb or DEFAULT_MEMORY_MB) * MIB,
            request.cpu_cores or DEFAULT_CPU_CORES,
            request.pids or DEFAULT_PIDS,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox uses, as the kernel counts it.

    Attributes:
        memory_bytes: Memory in use, without file cache that can be dropped at once.
        memory_limit_bytes: Limit that the kernel enforces; 0 for none.
        cpu_seconds: CPU time used since the start.
        pids: Processes and threads.
        block_read_bytes: Bytes read from block devices.
        block_write_bytes: Bytes written to block devices.
        net_rx_bytes: Bytes received, loopback left out.
        net_tx_bytes: Bytes sent, loopback left out.
        disk_used_bytes: Bytes that what it has written takes on a disk of its own; 0 where it has none.
        disk_limit_bytes: Bytes that such a disk has for that; 0 where it has none.
    """

    memory_bytes: int
    memory_limit_bytes: int
    cpu_seconds: float
    pids: int
    block_read_bytes: int
    block_write_bytes: int
    net_rx_bytes: int = 0
    net_tx_bytes: int = 0
    disk_used_bytes: int = 0
    disk_limit_bytes: int = 0


class Group(Protocol):
    """The processes of one sandbox, held and counted together."""

    @property
    def join_files(self) -> list[str]:
        """Files to which a process writes "0" to become one of the group."""

    @property
    def directories(self) -> list[str]:
        """Directories that are to be removed when the group is empty."""

    @property
    def shown(self) -> dict[str, str]:
        """What its processes may read of it, by the place below ``/sys/fs/cgroup``."""

    @property
    def thaw_writes(self) -> list[tuple[str, str]]:
        """What to write into which file, so that a frozen group can be ended."""

    def usage(self) -> Usage:
        """Read what the group uses now."""

    def oom_kills(self) -> int:
        """Read how many of its processes the kernel has ended for want of memory."""

    async def freeze(self) -> None:
        """Stop every process; return when they have stopped."""

    async def thaw(self) -> None:
        """Let every process run on."""

    async def remove(self) -> None:
        """End what is left in the group and remove it."""

"""Control groups of version 1 (the kernel's ``Documentation/admin-guide/cgroup-v1/``)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from . import cgroup_files as files
from .cgroup_owners import Held, end_leftover, leftovers
from .limits import Limits, Usage

__all__ = ["TCP_BUFFERS", "CgroupV1", "HierarchyV1"]

TCP_BUFFERS: Final = "memory.kmem.tcp.limit_in_bytes"
"""Limits the buffers of TCP, which do not count as memory."""

# A thread moves itself at once. A write to cgroup.procs waits until no CPU forks or ends a process any more:
# an RCU grace period, 5 to 20 ms.
_JOIN: Final = "tasks"
_LIKE_MEMORY: Final = ("memory.memsw.limit_in_bytes", TCP_BUFFERS)

# What tells of limits and use. Without cpuacct, and the CPUs that there are, a JVM believes none of it.
_SHOWN: Final = ("cpu", "cpuacct", "memory", "pids")


class HierarchyV1:
    """The controllers of version 1, each in a tree of its own (some may share one)."""

    REQUIRED: Final = ("memory", "cpu", "cpuacct", "pids", "freezer")
    OPTIONAL: Final = ("blkio",)

    def __init__(self, mounts: list[files.Mount], own: dict[str, str], family_name: str, owner: str) -> None:
        self.description = "cgroup v1"
        self._families: dict[str, Path] = {}
        for controller in (*self.REQUIRED, *self.OPTIONAL):
            for mount in mounts:
                if controller in mount.controllers:
                    parent = files.below(mount.path, mount.root, own.get(controller, "/"))
                    self._families[controller] = parent / family_name
        self._owner = owner
        # Sandboxes are in this process's own, which tells what CPUs there are.
        self._cpus = next(
            (
                files.below(mount.path, mount.root, own["cpuset"]) / "cpuset.cpus"
                for mount in mounts
                if "cpuset" in mount.controllers and "cpuset" in own
            ),
            None,
        )
        self._held = Held()
        self._take()

    def _take(self) -> None:
        """Make the cgroup of this orchestrator in every tree, where it is missing, and hold it."""
        for family in self._families.values():
            try:
                self._held.take(family / self._owner)
            except OSError as error:
                self._held.release()
                raise files.CgroupError(
                    f"cannot make a cgroup in {family.parent}: {error.strerror}"
                ) from error
        self._count_block_bytes()

    def _count_block_bytes(self) -> None:
        """Have bytes of block devices counted: the kernel does so once any limit is set, even this one."""
        if "blkio" not in self._families:
            return
        file = self._families["blkio"] / self._owner / "blkio.throttle.write_bps_device"
        for device in Path("/sys/block").glob("*/dev"):
            with suppress(OSError):
                files.write(file, f"{files.read(device)} {files.NO_LIMIT}")

    def create(self, name: str, limits: Limits) -> CgroupV1:
        """Make a cgroup with limits that are in force when this returns."""
        quota = files.quota(limits.cpu_cores)
        group = self.find(name)
        try:
            try:
                group.make(limits, quota)
            except FileNotFoundError:
                # Somebody removed the cgroup of this orchestrator, which was empty.
                group.remove_directories()
                self._take()
                group.make(limits, quota)
        except BaseException:
            group.remove_directories()
            raise
        return group

    def find(self, name: str) -> CgroupV1:
        """Return the cgroup of that name, be it there or not."""
        paths = {c: family / self._owner / name for c, family in self._families.items()}
        return CgroupV1(paths, self._cpus)

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""
        with leftovers(set(self._families.values())) as found:
            # First of all: what is frozen does not end.
            for owner in found:
                # Another orchestrator may be removing the same: os.walk passes over what is gone meanwhile.
                for path, _, names in os.walk(owner):
                    if "freezer.state" in names:
                        with suppress(OSError):
                            files.write(Path(path) / "freezer.state", "THAWED")
            for owner in found:
                end_leftover(owner)

    def close(self, *, keep: bool = False) -> None:
        """Remove the (empty) cgroup of this orchestrator, or keep it for the next one."""
        for family in self._families.values() if not keep else ():
            files.remove_tree(family / self._owner)
            with suppress(OSError):
                family.rmdir()
        self._held.release()


class CgroupV1:
    """One sandbox in the trees of version 1.

    Args:
        paths: Its directory in the tree of each controller.
        cpus: File that tells which CPUs it may run on; None where there is none.
    """

    def __init__(self, paths: dict[str, Path], cpus: Path | None = None) -> None:
        self._cpus = cpus
        self._paths = paths
        self._distinct = list(dict.fromkeys(paths.values()))

    def make(self, limits: Limits, quota: int) -> None:
        """Make the directories, set the limits and read them back."""
        for path in self._distinct:
            path.mkdir()
        memory, cpu, pids = (self._paths[c] for c in ("memory", "cpu", "pids"))
        files.write(memory / "memory.limit_in_bytes", str(limits.memory_bytes))
        # With swap; and the buffers of TCP, which version 1 counts apart. Not every kernel has them.
        others = [memory / name for name in _LIKE_MEMORY if (memory / name).exists()]
        for file in others:
            files.write(file, str(limits.memory_bytes))
        # Each write of these two has the kernel look at every cgroup that there is.
        if int(files.read(cpu / "cpu.cfs_period_us")) != files.PERIOD_MICROSECONDS:
            files.write(cpu / "cpu.cfs_period_us", str(files.PERIOD_MICROSECONDS))
        files.write(cpu / "cpu.cfs_quota_us", str(quota))
        files.write(pids / "pids.max", str(limits.pids))
        # The kernel rounds memory down to whole pages, and caps it at what the machine can address.
        page = os.sysconf("SC_PAGE_SIZE")
        for file in (memory / "memory.limit_in_bytes", *others):
            files.require(file.name, limits.memory_bytes, int(files.read(file)), page)
        files.require("CPU", quota, int(files.read(cpu / "cpu.cfs_quota_us")))
        files.require("PID", limits.pids, int(files.read(pids / "pids.max")))

    @property
    def join_files(self) -> list[str]:
        """Files to which a process of one thread writes "0" to become one of the group."""
        return [f"{path}/{_JOIN}" for path in self._distinct]

    @property
    def directories(self) -> list[str]:
        """Directories that are to be removed when the group is empty."""
        return [str(path) for path in self._distinct]

    @property
    def shown(self) -> dict[str, str]:
        """What its processes may read of it, by the place below ``/sys/fs/cgroup``."""
        found = {controller: str(self._paths[controller]) for controller in _SHOWN}
        return found if self._cpus is None else {**found, "cpuset/cpuset.cpus": str(self._cpus)}

    @property
    def thaw_writes(self) -> list[tuple[str, str]]:
        """What to write into which file, so that a frozen group can be ended."""
        return [(str(self._paths["freezer"] / "freezer.state"), "THAWED")]

    def usage(self) -> Usage:
        """Read what the group uses now."""
        memory = self._paths["memory"]
        used = int(files.read(memory / "memory.usage_in_bytes"))
        cache = files.entry(files.read(memory / "memory.stat"), "total_inactive_file")
        read, written = self._block_bytes()
        return Usage(
            memory_bytes=max(used - cache, 0),
            memory_limit_bytes=int(files.read(memory / "memory.limit_in_bytes")),
            cpu_seconds=int(files.read(self._paths["cpuacct"] / "cpuacct.usage")) / 1e9,
            pids=int(files.read(self._paths["pids"] / "pids.current")),
            block_read_bytes=read,
            block_write_bytes=written,
        )

    def oom_kills(self) -> int:
        """Read how many processes the kernel has ended for want of memory (Linux 4.13)."""
        return files.entry(files.read(self._paths["memory"] / "memory.oom_control"), "oom_kill")

    def _block_bytes(self) -> tuple[int, int]:
        path = self._paths.get("blkio")
        if path is None:
            return 0, 0
        read = written = 0
        for line in files.read(path / "blkio.throttle.io_service_bytes").splitlines():
            # "8:0 Read 4096"; the last line is a total.
            match line.split():
                case [_, "Read", count]:
                    read += int(count)
                case [_, "Write", count]:
                    written += int(count)
        return read, written

    async def freeze(self) -> None:
        """Stop every process; return when they have stopped."""
        await self._set_state("FROZEN")

    async def thaw(self) -> None:
        """Let every process run on."""
        await self._set_state("THAWED")

    async def _set_state(self, state: str) -> None:
        file = self._paths["freezer"] / "freezer.state"
        files.write(file, state)
        if not await files.until(lambda: files.read(file) == state):
            files.write(file, "THAWED")
            raise InternalServerError(
                f"the sandbox did not become {state.lower()} in {files.PATIENCE_SECONDS:g} s"
            )

    async def remove(self) -> None:
        """End what is left in the group and remove it."""

        def gone() -> bool:
            if self.remove_directories():
                return True
            files.kill(pid for path in self._distinct for pid in files.pids(path))
            return False

        with suppress(OSError):
            files.write(self._paths["freezer"] / "freezer.state", "THAWED")
        if not await files.until(gone):
            raise InternalServerError("a process of the sandbox could not be ended")

    async def end(self) -> None:
        """End what is in the group, and keep the group."""

        def gone() -> bool:
            pids = {pid for path in self._distinct for pid in files.pids(path)}
            files.kill(pids)
            return not pids

        await files.until(gone)

    @property
    def processes(self) -> list[int]:
        """Processes in the group, as this process sees them."""
        return files.pids(self._distinct[0])

    def remove_directories(self) -> bool:
        """Remove what is empty; tell whether all of it is gone."""
        gone = [files.remove_tree(path) for path in self._distinct]
        return all(gone)

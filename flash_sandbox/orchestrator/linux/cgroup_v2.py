"""Control groups of version 2 (the kernel's ``Documentation/admin-guide/cgroup-v2.rst``)."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from ...errors import InternalServerError
from . import cgroup_files as files
from .cgroup_owners import Held, end_leftover, leftovers
from .limits import Limits, Usage

__all__ = ["CgroupV2", "HierarchyV2"]


class HierarchyV2:
    """The one tree of version 2, or the part of it that was delegated to this process."""

    REQUIRED: Final = frozenset(("memory", "cpu", "pids"))
    WANTED: Final = frozenset(("memory", "cpu", "pids", "io"))

    def __init__(self, mount: Path, own_path: str, mount_root: str, family_name: str, owner: str) -> None:
        self._family_name, self._owner_name = family_name, owner
        self._held = Held()
        own = files.below(mount, mount_root, own_path)
        missing = self.REQUIRED - set(files.read(mount / "cgroup.controllers").split())
        if missing:
            raise files.CgroupError(f"cgroup v2 has no {', '.join(sorted(missing))} controller here")
        # The root takes children beside its processes; elsewhere the processes have to move into a leaf.
        bases = (mount, own) if os.geteuid() == 0 else (own,)
        problems = []
        for base in bases:
            try:
                files.persistently(partial(self._take, base))
            except OSError as error:
                problems.append(f"{base}: {error.strerror}")
            else:
                break
        else:
            raise files.CgroupError("no delegated cgroup (" + "; ".join(problems) + ")")
        self.description = f"cgroup v2 at {self._family.parent}"

    def _take(self, base: Path) -> None:
        """Make this orchestrator's cgroup below `base`, with the controllers enabled on the way."""
        family = base / self._family_name
        family.mkdir(exist_ok=True)
        try:
            self._enable(base, family)
            self._enable(family, family)
            self._owner = family / self._owner_name
            self._held.take(self._owner)
            self._enable(self._owner, family)
        except OSError:
            for directory in (family / self._owner_name, family):
                with suppress(OSError):
                    directory.rmdir()
            self._held.release()
            raise
        self._family = family

    def _enable(self, directory: Path, family: Path) -> None:
        available = set(files.read(directory / "cgroup.controllers").split())
        if not available >= self.REQUIRED:
            raise OSError(1, f"has no {', '.join(sorted(self.REQUIRED - available))} controller")
        missing = (self.WANTED & available) - set(files.read(directory / "cgroup.subtree_control").split())
        if not missing:
            return
        text = " ".join(f"+{controller}" for controller in sorted(missing))
        try:
            files.write(directory / "cgroup.subtree_control", text)
        except OSError:
            # A cgroup with processes in it takes no controllers for its children: move into a leaf.
            if set(_pids_here(directory)) - {os.getpid()}:
                raise
            leaf = family.parent / "orchestrator"
            leaf.mkdir(exist_ok=True)
            files.write(leaf / "cgroup.procs", str(os.getpid()))
            files.write(directory / "cgroup.subtree_control", text)

    def create(self, name: str, limits: Limits) -> CgroupV2:
        """Make a cgroup with limits that are in force when this returns."""
        quota = files.quota(limits.cpu_cores)
        group = self.find(name)
        try:
            try:
                group.make(limits, quota)
            except FileNotFoundError:
                # Somebody removed the cgroup of this orchestrator, which was empty.
                files.persistently(partial(self._take, self._family.parent))
                group.make(limits, quota)
        except BaseException:
            files.remove_tree(self._owner / name)
            raise
        return group

    def find(self, name: str) -> CgroupV2:
        """Return the cgroup of that name, be it there or not."""
        return CgroupV2(self._owner / name)

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""
        with leftovers([self._family]) as found:
            for owner in found:
                end_leftover(owner)

    def close(self, *, keep: bool = False) -> None:
        """Remove the (empty) cgroup of this orchestrator, or keep it for the next one."""
        if not keep:
            files.remove_tree(self._owner)
            with suppress(OSError):
                self._family.rmdir()
        self._held.release()


def _pids_here(directory: Path) -> list[int]:
    return [int(pid) for pid in files.read(directory / "cgroup.procs").split()]


class CgroupV2:
    """One sandbox in the tree of version 2."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, limits: Limits, quota: int) -> None:
        """Make the directory, set the limits and read them back."""
        path = self._path
        path.mkdir()
        files.write(path / "memory.max", str(limits.memory_bytes))
        swap = path / "memory.swap.max"
        if swap.exists():
            files.write(swap, "0")
        files.write(path / "cpu.max", f"{quota} {files.PERIOD_MICROSECONDS}")
        files.write(path / "pids.max", str(limits.pids))
        page = os.sysconf("SC_PAGE_SIZE")
        files.require("memory", limits.memory_bytes, int(files.read(path / "memory.max")), page)
        if swap.exists():
            files.require("swap", 0, int(files.read(swap)))
        files.require("CPU", quota, int(files.read(path / "cpu.max").split()[0]))
        files.require("PID", limits.pids, int(files.read(path / "pids.max")))

    @property
    def join_files(self) -> list[str]:
        """Files to which a process writes "0" to become one of the group."""
        return [f"{self._path}/cgroup.procs"]

    @property
    def directories(self) -> list[str]:
        """Directories that are to be removed when the group is empty."""
        return [str(self._path)]

    @property
    def shown(self) -> dict[str, str]:
        """What its processes may read of it, by the place below ``/sys/fs/cgroup``."""
        return {"": str(self._path)}

    @property
    def thaw_writes(self) -> list[tuple[str, str]]:
        """What to write into which file, so that a frozen group can be ended: nothing; SIGKILL thaws."""
        return []

    def usage(self) -> Usage:
        """Read what the group uses now."""
        path = self._path
        used = int(files.read(path / "memory.current"))
        cache = files.entry(files.read(path / "memory.stat"), "inactive_file")
        read, written = self._block_bytes()
        return Usage(
            memory_bytes=max(used - cache, 0),
            memory_limit_bytes=int(files.read(path / "memory.max")),
            cpu_seconds=files.entry(files.read(path / "cpu.stat"), "usage_usec") / 1e6,
            pids=int(files.read(path / "pids.current")),
            block_read_bytes=read,
            block_write_bytes=written,
        )

    def oom_kills(self) -> int:
        """Read how many processes the kernel has ended for want of memory."""
        return files.entry(files.read(self._path / "memory.events"), "oom_kill")

    def _block_bytes(self) -> tuple[int, int]:
        try:
            text = files.read(self._path / "io.stat")
        except FileNotFoundError:
            return 0, 0
        totals = {"rbytes": 0, "wbytes": 0}
        for line in text.splitlines():
            # "8:0 rbytes=4096 wbytes=0 rios=1 ..."
            for pair in line.split()[1:]:
                key, _, value = pair.partition("=")
                if key in totals:
                    totals[key] += int(value)
        return totals["rbytes"], totals["wbytes"]

    async def freeze(self) -> None:
        """Stop every process; return when they have stopped."""
        await self._set_frozen(1)

    async def thaw(self) -> None:
        """Let every process run on."""
        await self._set_frozen(0)

    async def _set_frozen(self, frozen: int) -> None:
        files.write(self._path / "cgroup.freeze", str(frozen))
        events = self._path / "cgroup.events"
        if not await files.until(lambda: files.entry(files.read(events), "frozen") == frozen):
            files.write(self._path / "cgroup.freeze", "0")
            state = "frozen" if frozen else "thawed"
            raise InternalServerError(f"the sandbox did not become {state} in {files.PATIENCE_SECONDS:g} s")

    async def end(self) -> None:
        """End what is in the group, and keep the group."""
        await files.until(lambda: _end_v2(self._path))

    @property
    def processes(self) -> list[int]:
        """Processes in the group, as this process sees them."""
        return files.pids(self._path)

    async def remove(self) -> None:
        """End what is left in the group and remove it."""

        def gone() -> bool:
            if files.remove_tree(self._path):
                return True
            _end_v2(self._path)
            return False

        if not await files.until(gone):
            raise InternalServerError("a process of the sandbox could not be ended")


def _end_v2(path: Path) -> bool:
    """Send SIGKILL to all in a cgroup; tell whether it was empty before."""
    pids = files.pids(path)
    if not pids:
        return True
    try:
        files.write(path / "cgroup.kill", "1")
    except OSError:
        # Before Linux 5.14.
        files.kill(pids)
    return False

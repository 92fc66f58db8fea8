"""Control groups, version 2 or 1, for limiting, counting, freezing and ending sandboxes.

Sources: the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``.../cgroup-v1/``. Every limit is
read back after it was set; one that did not take is an error, never ignored.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ...errors import InternalServerError, InvalidArgumentError
from .limits import Limits, Usage

__all__ = ["CgroupError", "Hierarchy", "find_hierarchy", "usage_of_process"]

_PERIOD_MICROSECONDS: Final = 100_000
# The kernel takes no quota below 1 ms (cpu.cfs_quota_us, cpu.max).
_LEAST_QUOTA_MICROSECONDS: Final = 1_000
_NO_LIMIT: Final = 2**63 - 1
_FAMILY: Final = "flash-sandbox"
_PATIENCE_SECONDS: Final = 5.0


class CgroupError(Exception):
    """This host gives no cgroup to this process; the text says why."""


class Hierarchy(Protocol):
    """Where this orchestrator makes the cgroups of its sandboxes."""

    description: str

    def create(self, name: str, limits: Limits) -> CgroupV1 | CgroupV2:
        """Make a cgroup with limits that are in force when this returns."""

    def find(self, name: str) -> CgroupV1 | CgroupV2:
        """Return the cgroup of that name, be it there or not."""

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""

    def close(self) -> None:
        """Remove the (empty) cgroup of this orchestrator."""


def find_hierarchy(family: str = _FAMILY, owner: str = "") -> Hierarchy:
    """Return the hierarchy that this process may use.

    Args:
        family: Name of the cgroup that holds those of all owners.
        owner: Name of this orchestrator's own; empty for one that nobody else has, now or later.

    Raises:
        CgroupError: If neither version gives it memory, CPU and PIDs.
    """
    mounts = list(_mounts())
    own = dict(_paths_of("self"))
    if all(any(c in m.controllers for m in mounts) for c in HierarchyV1.REQUIRED):
        return HierarchyV1(mounts, own, family, owner or _owner_name())
    for mount in mounts:
        if mount.is_v2:
            return HierarchyV2(mount.path, own.get("", "/"), mount.root, family, owner or _owner_name())
    raise CgroupError("no cgroup file system is mounted")


def usage_of_process(pid: int) -> Usage:
    """Read what the cgroup of a process uses now, whoever has made it.

    Raises:
        OSError: If the process has ended, or its cgroup cannot be seen from here.
    """
    mounts = list(_mounts())
    paths = dict(_paths_of(str(pid)))
    places: dict[str, Path] = {
        controller: _below(mount.path, mount.root, paths[controller])
        for controller in (*HierarchyV1.REQUIRED, *HierarchyV1.OPTIONAL)
        for mount in mounts
        if controller in mount.controllers and controller in paths
    }
    if places.keys() >= set(HierarchyV1.REQUIRED):
        return CgroupV1(places).usage()
    for mount in mounts:
        if mount.is_v2 and "" in paths:
            return CgroupV2(_below(mount.path, mount.root, paths[""])).usage()
    raise FileNotFoundError(f"no cgroup of process {pid} is mounted here")


@dataclass(frozen=True, slots=True)
class _Mount:
    path: Path
    root: str
    is_v2: bool
    controllers: frozenset[str]


def _mounts() -> Iterator[_Mount]:
    """Yield the cgroup mounts (proc_pid_mountinfo(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = before.split(" ")
            path = fields[4].encode().decode("unicode_escape")
            yield _Mount(Path(path), fields[3], kind == "cgroup2", frozenset(options.split(",")))


def _paths_of(pid: str) -> Iterator[tuple[str, str]]:
    """Yield controller and path of the cgroups that a process is in; "" is version 2's."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _below(mount: Path, root: str, path: str) -> Path:
    """Return where a cgroup's path lies in the file system, given what part of the tree is mounted."""
    relative = os.path.relpath(path, root)
    return mount if relative.startswith("..") else mount / relative


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _table(text: str) -> dict[str, int]:
    """Return lines of name and number as a mapping."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _quota(cores: float) -> int:
    quota = round(cores * _PERIOD_MICROSECONDS)
    if quota < _LEAST_QUOTA_MICROSECONDS:
        least = _LEAST_QUOTA_MICROSECONDS / _PERIOD_MICROSECONDS
        raise InvalidArgumentError(
            f"cpu_cores must be at least {least:g} for the kernel to enforce it, not {cores:g}"
        )
    return quota


def _require(what: str, asked: int, in_force: int, slack: int = 0) -> None:
    if abs(asked - in_force) > slack:
        raise InternalServerError(
            f"the kernel did not take the {what} limit: asked for {asked}, has {in_force}"
        )


_hierarchies = itertools.count()


def _owner_name() -> str:
    """Return a name that no other user of the tree has, be it in this process or a later one.

    A process is named by its ID and when it started; several orchestrators in it are numbered.
    """
    return f"{os.getpid()}.{_start_time(os.getpid())}.{next(_hierarchies)}"


def _start_time(pid: int) -> str:
    # Field 22 of proc_pid_stat(5); the second one is in brackets and may hold blanks.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _is_alive(owner: str) -> bool:
    with suppress(OSError, ValueError):
        pid, start, *_ = owner.split(".")
        return _start_time(int(pid)) == start
    return False


def _leftovers(family: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        for owner in family.iterdir():
            # Processes of another PID namespace read as 0, and so their orchestrator may live there.
            if owner.is_dir() and not _is_alive(owner.name) and 0 not in _pids(owner):
                yield owner


def _end_leftover(owner: Path) -> None:
    """End what is in a cgroup that nobody owns any more and remove it, as far as that is done soon."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _remove_tree(owner) and time.monotonic() < deadline:
        _kill(_pids(owner))
        time.sleep(0.005)


def _pids(directory: Path) -> list[int]:
    """Return the processes in a cgroup and in those below it."""
    found: list[int] = []
    for path, _, _ in os.walk(directory):
        with suppress(OSError):
            found += [int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()]
    return found


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        # 0 is a process of another PID namespace; to kill(2) it would mean this process's own group.
        if pid > 0:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _remove_tree(directory: Path) -> bool:
    """Remove a cgroup and those below it; tell whether it is gone."""
    for path, _, _ in os.walk(directory, topdown=False):
        with suppress(OSError):
            os.rmdir(path)
    return not directory.exists()


async def _until(condition: object, patience: float = _PATIENCE_SECONDS) -> bool:
    """Wait, a little longer each time, until `condition()` holds; tell whether it does."""
    assert callable(condition)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = 0.0002
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return True


class HierarchyV1:
    """The controllers of version 1, each in a tree of its own (some may share one)."""

    REQUIRED: Final = ("memory", "cpu", "cpuacct", "pids", "freezer")
    OPTIONAL: Final = ("blkio",)

    def __init__(self, mounts: list[_Mount], own: dict[str, str], family_name: str, owner: str) -> None:
        self.description = "cgroup v1"
        self._families: dict[str, Path] = {}
        for controller in (*self.REQUIRED, *self.OPTIONAL):
            for mount in mounts:
                if controller in mount.controllers:
                    parent = _below(mount.path, mount.root, own.get(controller, "/"))
                    self._families[controller] = parent / family_name
        self._owner = owner
        for family in self._families.values():
            try:
                (family / self._owner).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CgroupError(f"cannot make a cgroup in {family.parent}: {error.strerror}") from error
        self._count_block_bytes()

    def _count_block_bytes(self) -> None:
        """Have bytes of block devices counted: the kernel does so once any limit is set, even this one."""
        if "blkio" not in self._families:
            return
        file = self._families["blkio"] / self._owner / "blkio.throttle.write_bps_device"
        for device in Path("/sys/block").glob("*/dev"):
            with suppress(OSError):
                _write(file, f"{_read(device)} {_NO_LIMIT}")

    def create(self, name: str, limits: Limits) -> CgroupV1:
        """Make a cgroup with limits that are in force when this returns."""
        quota = _quota(limits.cpu_cores)
        group = self.find(name)
        try:
            group.make(limits, quota)
        except BaseException:
            group.remove_directories()
            raise
        return group

    def find(self, name: str) -> CgroupV1:
        """Return the cgroup of that name, be it there or not."""
        return CgroupV1({c: family / self._owner / name for c, family in self._families.items()})

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""
        leftovers = [owner for family in set(self._families.values()) for owner in _leftovers(family)]
        # First of all: what is frozen does not end.
        for owner in leftovers:
            for state in owner.rglob("freezer.state"):
                with suppress(OSError):
                    _write(state, "THAWED")
        for owner in leftovers:
            _end_leftover(owner)

    def close(self) -> None:
        """Remove the (empty) cgroup of this orchestrator."""
        for family in self._families.values():
            _remove_tree(family / self._owner)
            with suppress(OSError):
                family.rmdir()


class CgroupV1:
    """One sandbox in the trees of version 1."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths
        self._distinct = list(dict.fromkeys(paths.values()))

    def make(self, limits: Limits, quota: int) -> None:
        """Make the directories, set the limits and read them back."""
        for path in self._distinct:
            path.mkdir()
        memory, cpu, pids = (self._paths[c] for c in ("memory", "cpu", "pids"))
        _write(memory / "memory.limit_in_bytes", str(limits.memory_bytes))
        with_swap = memory / "memory.memsw.limit_in_bytes"
        if with_swap.exists():
            _write(with_swap, str(limits.memory_bytes))
        _write(cpu / "cpu.cfs_period_us", str(_PERIOD_MICROSECONDS))
        _write(cpu / "cpu.cfs_quota_us", str(quota))
        _write(pids / "pids.max", str(limits.pids))
        # The kernel rounds memory down to whole pages, and caps it at what the machine can address.
        page = os.sysconf("SC_PAGE_SIZE")
        _require("memory", limits.memory_bytes, int(_read(memory / "memory.limit_in_bytes")), page)
        _require("CPU", quota, int(_read(cpu / "cpu.cfs_quota_us")))
        _require("PID", limits.pids, int(_read(pids / "pids.max")))

    @property
    def join_files(self) -> list[str]:
        """Files to which a process writes "0" to become one of the group."""
        return [f"{path}/cgroup.procs" for path in self._distinct]

    @property
    def directories(self) -> list[str]:
        """Directories that are to be removed when the group is empty."""
        return [str(path) for path in self._distinct]

    @property
    def thaw_writes(self) -> list[tuple[str, str]]:
        """What to write into which file, so that a frozen group can be ended."""
        return [(str(self._paths["freezer"] / "freezer.state"), "THAWED")]

    def usage(self) -> Usage:
        """Read what the group uses now."""
        memory = self._paths["memory"]
        used = int(_read(memory / "memory.usage_in_bytes"))
        cache = _table(_read(memory / "memory.stat")).get("total_inactive_file", 0)
        read, written = self._block_bytes()
        return Usage(
            memory_bytes=max(used - cache, 0),
            memory_limit_bytes=int(_read(memory / "memory.limit_in_bytes")),
            cpu_seconds=int(_read(self._paths["cpuacct"] / "cpuacct.usage")) / 1e9,
            pids=int(_read(self._paths["pids"] / "pids.current")),
            block_read_bytes=read,
            block_write_bytes=written,
        )

    def _block_bytes(self) -> tuple[int, int]:
        path = self._paths.get("blkio")
        if path is None:
            return 0, 0
        read = written = 0
        for line in _read(path / "blkio.throttle.io_service_bytes").splitlines():
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
        _write(file, state)
        if not await _until(lambda: _read(file) == state):
            _write(file, "THAWED")
            raise InternalServerError(
                f"the sandbox did not become {state.lower()} in {_PATIENCE_SECONDS:g} s"
            )

    def command_group(self, name: str) -> _CommandV1:
        """Make a group for one command and its descendants, within this one."""
        return _CommandV1(self, self._paths["freezer"] / name)

    def join_files_with(self, freezer: Path) -> list[str]:
        """Return the files to join, with another one of the freezer's tree."""
        own = self._paths["freezer"]
        return [f"{freezer if path == own else path}/cgroup.procs" for path in self._distinct]

    async def remove(self) -> None:
        """End what is left in the group and remove it."""

        def gone() -> bool:
            _kill(pid for path in self._distinct for pid in _pids(path))
            return self.remove_directories()

        with suppress(OSError):
            _write(self._paths["freezer"] / "freezer.state", "THAWED")
        if not await _until(gone):
            raise InternalServerError("a process of the sandbox could not be ended")

    async def end(self) -> None:
        """End what is in the group, and keep the group."""

        def gone() -> bool:
            pids = {pid for path in self._distinct for pid in _pids(path)}
            _kill(pids)
            return not pids

        await _until(gone)

    @property
    def processes(self) -> list[int]:
        """Processes in the group, as this process sees them."""
        return _pids(self._distinct[0])

    def remove_directories(self) -> bool:
        """Remove what is empty; tell whether all of it is gone."""
        gone = [_remove_tree(path) for path in self._distinct]
        return all(gone)


class _CommandV1:
    """One command: a cgroup of its own in the freezer's tree, which counts nothing."""

    def __init__(self, group: CgroupV1, path: Path) -> None:
        self._path = path
        path.mkdir()
        self.join_files = group.join_files_with(path)

    async def kill(self, pid: int) -> None:
        """End the command and all of its descendants."""
        _kill([pid])
        # A frozen process cannot fork away from the list that is being walked.
        with suppress(OSError):
            _write(self._path / "freezer.state", "FROZEN")

        def gone() -> bool:
            pids = _pids(self._path)
            _kill(pids)
            return not pids

        with suppress(OSError):
            _kill(_pids(self._path))
            _write(self._path / "freezer.state", "THAWED")
        await _until(gone)

    def close(self) -> None:
        """Give the group up. What is left in it stays with the sandbox."""
        try:
            self._path.rmdir()
        except OSError:
            # Background processes of the command live on in it; it goes with the sandbox.
            return


class HierarchyV2:
    """The one tree of version 2, or the part of it that was delegated to this process."""

    REQUIRED: Final = frozenset(("memory", "cpu", "pids"))
    WANTED: Final = frozenset(("memory", "cpu", "pids", "io"))

    def __init__(self, mount: Path, own_path: str, mount_root: str, family_name: str, owner: str) -> None:
        self._family_name, self._owner_name = family_name, owner
        own = _below(mount, mount_root, own_path)
        missing = self.REQUIRED - set(_read(mount / "cgroup.controllers").split())
        if missing:
            raise CgroupError(f"cgroup v2 has no {', '.join(sorted(missing))} controller here")
        # The root takes children beside its processes; elsewhere the processes have to move into a leaf.
        bases = (mount, own) if os.geteuid() == 0 else (own,)
        problems = []
        for base in bases:
            try:
                self._take(base)
            except OSError as error:
                problems.append(f"{base}: {error.strerror}")
            else:
                break
        else:
            raise CgroupError("no delegated cgroup (" + "; ".join(problems) + ")")
        self.description = f"cgroup v2 at {self._family.parent}"

    def _take(self, base: Path) -> None:
        """Make this orchestrator's cgroup below `base`, with the controllers enabled on the way."""
        family = base / self._family_name
        family.mkdir(exist_ok=True)
        try:
            self._enable(base, family)
            self._enable(family, family)
            self._owner = family / self._owner_name
            self._owner.mkdir(exist_ok=True)
            self._enable(self._owner, family)
        except OSError:
            with suppress(OSError):
                family.rmdir()
            raise
        self._family = family

    def _enable(self, directory: Path, family: Path) -> None:
        available = set(_read(directory / "cgroup.controllers").split())
        if not available >= self.REQUIRED:
            raise OSError(1, f"has no {', '.join(sorted(self.REQUIRED - available))} controller")
        missing = (self.WANTED & available) - set(_read(directory / "cgroup.subtree_control").split())
        if not missing:
            return
        text = " ".join(f"+{controller}" for controller in sorted(missing))
        try:
            _write(directory / "cgroup.subtree_control", text)
        except OSError:
            # A cgroup with processes in it takes no controllers for its children: move into a leaf.
            if set(_pids_here(directory)) - {os.getpid()}:
                raise
            leaf = family.parent / "orchestrator"
            leaf.mkdir(exist_ok=True)
            _write(leaf / "cgroup.procs", str(os.getpid()))
            _write(directory / "cgroup.subtree_control", text)

    def create(self, name: str, limits: Limits) -> CgroupV2:
        """Make a cgroup with limits that are in force when this returns."""
        quota = _quota(limits.cpu_cores)
        group = self.find(name)
        try:
            group.make(limits, quota)
        except BaseException:
            _remove_tree(self._owner / name)
            raise
        return group

    def find(self, name: str) -> CgroupV2:
        """Return the cgroup of that name, be it there or not."""
        return CgroupV2(self._owner / name)

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""
        for owner in _leftovers(self._family):
            _end_leftover(owner)

    def close(self) -> None:
        """Remove the (empty) cgroup of this orchestrator."""
        _remove_tree(self._owner)
        with suppress(OSError):
            self._family.rmdir()


def _pids_here(directory: Path) -> list[int]:
    return [int(pid) for pid in _read(directory / "cgroup.procs").split()]


class CgroupV2:
    """One sandbox in the tree of version 2."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, limits: Limits, quota: int) -> None:
        """Make the directory, set the limits and read them back."""
        path = self._path
        path.mkdir()
        _write(path / "memory.max", str(limits.memory_bytes))
        if (path / "memory.swap.max").exists():
            _write(path / "memory.swap.max", "0")
        _write(path / "cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
        _write(path / "pids.max", str(limits.pids))
        page = os.sysconf("SC_PAGE_SIZE")
        _require("memory", limits.memory_bytes, int(_read(path / "memory.max")), page)
        _require("CPU", quota, int(_read(path / "cpu.max").split()[0]))
        _require("PID", limits.pids, int(_read(path / "pids.max")))

    @property
    def join_files(self) -> list[str]:
        """Files to which a process writes "0" to become one of the group."""
        return [f"{self._path}/cgroup.procs"]

    @property
    def directories(self) -> list[str]:
        """Directories that are to be removed when the group is empty."""
        return [str(self._path)]

    @property
    def thaw_writes(self) -> list[tuple[str, str]]:
        """What to write into which file, so that a frozen group can be ended: nothing; SIGKILL thaws."""
        return []

    def usage(self) -> Usage:
        """Read what the group uses now."""
        path = self._path
        used = int(_read(path / "memory.current"))
        cache = _table(_read(path / "memory.stat")).get("inactive_file", 0)
        read, written = self._block_bytes()
        return Usage(
            memory_bytes=max(used - cache, 0),
            memory_limit_bytes=int(_read(path / "memory.max")),
            cpu_seconds=_table(_read(path / "cpu.stat"))["usage_usec"] / 1e6,
            pids=int(_read(path / "pids.current")),
            block_read_bytes=read,
            block_write_bytes=written,
        )

    def _block_bytes(self) -> tuple[int, int]:
        try:
            text = _read(self._path / "io.stat")
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
        _write(self._path / "cgroup.freeze", str(frozen))
        events = self._path / "cgroup.events"
        if not await _until(lambda: _table(_read(events)).get("frozen") == frozen):
            _write(self._path / "cgroup.freeze", "0")
            state = "frozen" if frozen else "thawed"
            raise InternalServerError(f"the sandbox did not become {state} in {_PATIENCE_SECONDS:g} s")

    def command_group(self, name: str) -> _CommandV2:
        """Make a group for one command and its descendants, within this one."""
        return _CommandV2(self._path / name)

    async def end(self) -> None:
        """End what is in the group, and keep the group."""
        await _until(lambda: _end_v2(self._path))

    @property
    def processes(self) -> list[int]:
        """Processes in the group, as this process sees them."""
        return _pids(self._path)

    async def remove(self) -> None:
        """End what is left in the group and remove it."""
        if not await _until(lambda: _end_v2(self._path) and _remove_tree(self._path)):
            raise InternalServerError("a process of the sandbox could not be ended")


def _end_v2(path: Path) -> bool:
    """Send SIGKILL to all in a cgroup; tell whether it was empty before."""
    pids = _pids(path)
    if not pids:
        return True
    try:
        _write(path / "cgroup.kill", "1")
    except OSError:
        # Before Linux 5.14.
        _kill(pids)
    return False


class _CommandV2:
    """One command: a cgroup of its own within the sandbox's, without limits of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir()
        self.join_files = [f"{path}/cgroup.procs"]

    async def kill(self, pid: int) -> None:
        """End the command and all of its descendants."""
        _kill([pid])
        await _until(lambda: _end_v2(self._path))

    def close(self) -> None:
        """Give the group up. What is left in it stays with the sandbox."""
        try:
            self._path.rmdir()
        except OSError:
            # Background processes of the command live on in it; it goes with the sandbox.
            return

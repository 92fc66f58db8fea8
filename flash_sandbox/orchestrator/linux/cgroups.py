"""Control groups, version 2 or 1, for limiting, counting, freezing and ending sandboxes.

Every limit is read back after it was set; one that did not take is an error, never ignored.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Protocol

from . import cgroup_files as files
from .cgroup_files import FAMILY, CgroupError
from .cgroup_owners import new_owner
from .cgroup_v1 import TCP_BUFFERS, CgroupV1, HierarchyV1
from .cgroup_v2 import CgroupV2, HierarchyV2
from .limits import Limits, Usage

__all__ = [
    "CgroupError",
    "CgroupV1",
    "CgroupV2",
    "Hierarchy",
    "find_hierarchy",
    "group_of_process",
    "limit_tcp_buffers",
    "usage_of_process",
]


class Hierarchy(Protocol):
    """Where this orchestrator makes the cgroups of its sandboxes."""

    description: str

    def create(self, name: str, limits: Limits) -> CgroupV1 | CgroupV2:
        """Make a cgroup with limits that are in force when this returns."""

    def find(self, name: str) -> CgroupV1 | CgroupV2:
        """Return the cgroup of that name, be it there or not."""

    def remove_leftovers(self) -> None:
        """End and remove what orchestrators that are gone have left."""

    def close(self, *, keep: bool = False) -> None:
        """Remove the (empty) cgroup of this orchestrator, or keep it for the next one."""


def find_hierarchy(family: str = FAMILY, owner: str = "") -> Hierarchy:
    """Return the hierarchy that this process may use.

    Args:
        family: Name of the cgroup that holds those of all owners.
        owner: Name of this orchestrator's own; empty for one that nobody else has, now or later.

    Raises:
        CgroupError: If neither version gives it memory, CPU and PIDs.
    """
    mounts = list(files.mounts())
    own = dict(files.paths_of("self"))
    if all(any(c in m.controllers for m in mounts) for c in HierarchyV1.REQUIRED):
        return HierarchyV1(mounts, own, family, owner or new_owner())
    for mount in mounts:
        if mount.is_v2:
            return HierarchyV2(mount.path, own.get("", "/"), mount.root, family, owner or new_owner())
    raise CgroupError("no cgroup file system is mounted")


def limit_tcp_buffers(pid: int, limit: int) -> None:
    """Limit the buffers of TCP of the cgroup of a process, where they do not count as memory: in version 1.

    Does nothing where this process may not, or the other one has ended.
    """
    with suppress(OSError, KeyError, StopIteration):
        path = dict(files.paths_of(str(pid)))["memory"]
        mount = next(mount for mount in files.mounts() if "memory" in mount.controllers)
        group = files.below(mount.path, mount.root, path)
        if group != mount.path:
            files.write(group / TCP_BUFFERS, str(limit))


def usage_of_process(pid: int) -> Usage:
    """Read what the cgroup of a process uses now; see `group_of_process`."""
    return group_of_process(pid).usage()


def group_of_process(pid: int) -> CgroupV1 | CgroupV2:
    """Return the cgroup of a process, whoever has made it.

    Raises:
        OSError: If the process has ended, or its cgroup cannot be seen from here.
    """
    mounts = list(files.mounts())
    paths = dict(files.paths_of(str(pid)))
    places: dict[str, Path] = {
        controller: files.below(mount.path, mount.root, paths[controller])
        for controller in (*HierarchyV1.REQUIRED, *HierarchyV1.OPTIONAL)
        for mount in mounts
        if controller in mount.controllers and controller in paths
    }
    if places.keys() >= set(HierarchyV1.REQUIRED):
        return CgroupV1(places)
    for mount in mounts:
        if mount.is_v2 and "" in paths:
            return CgroupV2(files.below(mount.path, mount.root, paths[""]))
    raise FileNotFoundError(f"no cgroup of process {pid} is mounted here")

"""Whether this host can run sandboxes with bubblewrap."""

from __future__ import annotations

import platform
import sys
from contextlib import closing, suppress
from pathlib import Path

from ...guest.program import AgentMissing, agent_program
from ...linux import cgroups, syscalls
from ...linux.user_ids import UserIds
from ...linux.users import can_have_ranges, missing_capabilities
from ..base import Availability
from . import bwrap, disk

__all__ = ["check_host"]


def check_host(name: str) -> Availability:
    """Tell whether bubblewrap can make sandboxes on this host (it makes an empty one to find out).

    Args:
        name: Name of the runtime.
    """
    if sys.platform != "linux":
        return Availability(name, False, f"needs Linux, not {sys.platform}", "run the orchestrator on Linux")
    try:
        syscalls.numbers(platform.machine())
    except KeyError:
        machine = platform.machine()
        return Availability(name, False, f"has no seccomp filter for {machine}", "use x86_64 or aarch64")
    missing = missing_capabilities()
    if missing:
        remedy = "give it these, or run the orchestrator as an ordinary user"
        return Availability(name, False, f"root lacks {', '.join(missing)}", remedy)
    try:
        agent_program()
        version = bwrap.probe(bwrap.installed_program())
    except AgentMissing as error:
        return Availability(name, False, error.detail, error.remedy)
    except bwrap.BubblewrapMissing as error:
        return Availability(name, False, str(error), _remedy())
    warnings = []
    with closing(UserIds()) as ids:
        ids.open()
        details = [version, f"users: {ids.kind}"]
        if ids.missing:
            warnings.append(f"sandboxes have no user but root: {ids.missing}")
    if missing_disks := disk.obstacle(in_memory=not can_have_ranges()):
        warnings.append(f"starts with disk_mb are refused: {missing_disks}")
    try:
        hierarchy = cgroups.find_hierarchy()
    except cgroups.CgroupError as error:
        warnings.append(f"limits cannot be enforced ({error}): serve needs --limits best-effort, or root")
    else:
        details.append(f"limits by {hierarchy.description}")
        hierarchy.close()
    return Availability(name, True, ", ".join(details), warnings=tuple(warnings))


def _remedy() -> str:
    """Return what most probably keeps bwrap from working here, and what to do about it."""
    switches = (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "10000"),
    )
    for name, bad, good in switches:
        with suppress(OSError):
            if Path("/proc/sys", name).read_text().strip() == bad:
                return f"allow user namespaces: sudo sysctl -w {name.replace('/', '.')}={good}"
    return "pip install 'flash-sandbox[orchestrator]' on a host that allows user namespaces"

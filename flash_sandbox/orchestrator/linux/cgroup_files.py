"""What both versions of control groups have in common: their files, processes and owners."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import InternalServerError, InvalidArgumentError

PERIOD_MICROSECONDS: Final = 100_000
# The kernel takes no quota below 1 ms (cpu.cfs_quota_us, cpu.max).
LEAST_QUOTA_MICROSECONDS: Final = 1_000
NO_LIMIT: Final = 2**63 - 1
# Not the "flash-sandbox" of earlier versions, who remove there whatever bears no process ID of theirs.
FAMILY: Final = "flash-sandboxes"
PATIENCE_SECONDS: Final = 5.0
_MOST_TRIES: Final = 100


class CgroupError(Exception):
    """This host gives no cgroup to this process; the text says why."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted cgroup file system."""

    path: Path
    root: str
    is_v2: bool
    controllers: frozenset[str]


def mounts() -> Iterator[Mount]:
    """Yield the cgroup mounts (proc_pid_mountinfo(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = before.split(" ")
            path = fields[4].encode().decode("unicode_escape")
            yield Mount(Path(path), fields[3], kind == "cgroup2", frozenset(options.split(",")))


def paths_of(pid: str) -> Iterator[tuple[str, str]]:
    """Yield controller and path of the cgroups that a process is in; "" is version 2's."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def below(mount: Path, root: str, path: str) -> Path:
    """Return where a cgroup's path lies in the file system, given what part of the tree is mounted."""
    relative = os.path.relpath(path, root)
    return mount if relative.startswith("..") else mount / relative


def read(path: Path) -> str:
    """Return what a file of the kernel's says, without the line's end."""
    # By the system calls themselves: a start reads and writes a dozen of these.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b"")).decode("ascii").strip()
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Write to a file of the kernel's."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def entry(text: str, name: str) -> int:
    """Return the number of one line of name and number; 0 where there is no such line."""
    _, _, rest = f"\n{text}".partition(f"\n{name} ")
    return int(rest.partition("\n")[0] or 0)


def quota(cores: float) -> int:
    """Return the microseconds of CPU time in each period that are so many cores."""
    quota = round(cores * PERIOD_MICROSECONDS)
    if quota < LEAST_QUOTA_MICROSECONDS:
        least = LEAST_QUOTA_MICROSECONDS / PERIOD_MICROSECONDS
        raise InvalidArgumentError(
            f"cpu_cores must be at least {least:g} for the kernel to enforce it, not {cores:g}"
        )
    return quota


def require(what: str, asked: int, in_force: int, slack: int = 0) -> None:
    """Raise where a limit that was read back is not the one that was set."""
    if abs(asked - in_force) > slack:
        raise InternalServerError(
            f"the kernel did not take the {what} limit: asked for {asked}, has {in_force}"
        )


def persistently(make: Callable[[], None]) -> None:
    """Make a cgroup within its family, which another orchestrator removes as it leaves where it is empty.

    Raises:
        OSError: It cannot be made; FileNotFoundError where it is undone again and again.
    """
    for _ in range(_MOST_TRIES - 1):
        with suppress(FileNotFoundError):
            make()
            return
    make()


def pids(directory: Path) -> list[int]:
    """Return the processes in a cgroup and in those below it."""
    found: list[int] = []
    for path, _, _ in os.walk(directory):
        with suppress(OSError):
            found += [int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()]
    return found


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to processes, gone ones among them."""
    for pid in pids:
        # 0 is a process of another PID namespace; to kill(2) it would mean this process's own group.
        if pid > 0:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def remove_tree(directory: Path) -> bool:
    """Remove a cgroup and those below it; tell whether it is gone."""
    try:
        # Mostly there are none below it.
        os.rmdir(directory)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        pass
    for path, _, _ in os.walk(directory, topdown=False):
        with suppress(OSError):
            os.rmdir(path)
    return not directory.exists()


async def until(condition: Callable[[], object], patience: float = PATIENCE_SECONDS) -> bool:
    """Wait, a little longer each time, until `condition()` holds; tell whether it does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = 0.0002
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return True

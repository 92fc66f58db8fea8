"""The Quick Start over both transports, against an orchestrator of its own; then what is left behind.

``python demo.py`` needs no server, no Docker and no root.
"""

import logging
import os
import runpy
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flash_sandbox.errors import RuntimeUnavailableError
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator


def main() -> int:
    watch = Watch()
    with any_orchestrator() as orchestrator, watch:
        print(f"--- HTTP, {orchestrator.http_address}")
        quick_start(orchestrator.http_address)
        print(f"--- gRPC, {orchestrator.grpc_address}")
        quick_start(f"grpc://{orchestrator.grpc_address}")
    assert orchestrator.state_dir is not None
    left = watch.left_behind(orchestrator.state_dir)
    print("--- Left behind")
    for kind, (seen, remaining) in left.items():
        print(f"{kind}: {', '.join(remaining) or 'none'} (of {seen} seen)")
    return 1 if any(remaining for _, remaining in left.values()) else 0


def quick_start(address: str) -> None:
    example = Path(__file__).with_name("quickstart.py")
    runpy.run_path(str(example))["main"](address)


@contextmanager
def any_orchestrator() -> Iterator[Orchestrator]:
    """Run an orchestrator that enforces limits where this host lets it, and say so where it does not."""
    try:
        enforcing = running_orchestrator(limits="enforce")
        orchestrator = enforcing.__enter__()
    except RuntimeUnavailableError as error:
        with running_orchestrator(limits="best-effort") as orchestrator:
            print(f"Limits are best-effort here: {error.detail}")
            yield orchestrator
        return
    try:
        yield orchestrator
    finally:
        enforcing.__exit__(*sys.exc_info())


class Watch:
    """Notes which processes, cgroups and mounts the orchestrator makes, while it runs."""

    def __init__(self) -> None:
        self._processes: set[tuple[int, str]] = set()
        self._cgroups: set[str] = set()
        self._own_cgroups = set(cgroup_directories(os.getpid()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            found = descendants(os.getpid())
            self._processes |= found
            for pid, _ in found:
                self._cgroups.update(cgroup_directories(pid))
        self._cgroups -= self._own_cgroups

    def left_behind(self, state_dir: Path) -> dict[str, tuple[int, list[str]]]:
        """Return, by kind, how many were seen and which are still there."""
        now = set(processes())
        processes_left = [str(pid) for pid, started in sorted(self._processes) if (pid, started) in now]
        cgroups_left = [path for path in sorted(self._cgroups) if os.path.exists(path)]
        mounts = [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state_dir) in line
        ]
        files = [str(state_dir)] if state_dir.exists() else []
        return {
            "processes": (len(self._processes), processes_left),
            "cgroups": (len(self._cgroups), cgroups_left),
            "mounts": (len(mounts), mounts),
            "directories": (1, files),
        }


def processes() -> dict[tuple[int, str], int]:
    """Return the parent of each process, which its ID and its start time name together (proc(5))."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] == "Z" and fields[1] == "1":
                continue  # It has ended, and only init has yet to take note of it.
            found[int(entry), fields[19]] = int(fields[1])
    return found


def descendants(ancestor: int) -> set[tuple[int, str]]:
    """Return the processes below `ancestor`."""
    everything = processes()
    below, found = {ancestor}, set[tuple[int, str]]()
    while more := {process for process, parent in everything.items() if parent in below} - found:
        found |= more
        below |= {pid for pid, _ in more}
    return found


def cgroup_directories(pid: int) -> Iterator[str]:
    """Yield the directories of the cgroups that a process is in (cgroups(7))."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if path == "/":
            continue  # Nobody makes this one; a process that has ended is shown in it.
        for mount in Path("/proc/self/mountinfo").read_text().splitlines():
            place, _, kind = mount.partition(" - ")
            is_v2, options = kind.startswith("cgroup2 "), kind.split(" ")[-1].split(",")
            if (not controllers and is_v2) or (controllers and set(controllers.split(",")) <= set(options)):
                root, mounted_at = place.split(" ")[3:5]
                yield os.path.normpath(os.path.join(mounted_at, os.path.relpath(path, root)))


if __name__ == "__main__":
    logging.getLogger("flash_sandbox").setLevel(logging.WARNING)
    try:
        sys.exit(main())
    except RuntimeUnavailableError as unavailable:
        sys.exit(f"The demo cannot start a sandbox here: {unavailable.detail}")

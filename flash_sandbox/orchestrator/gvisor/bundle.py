"""OCI bundles: what ``runsc`` is to run (https://github.com/opencontainers/runtime-spec)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ...models import DEFAULT_SHM_MB, StartRequest
from ..runtimes.base import Program
from ..sandboxing import beneath, idle, privileges
from ..sandboxing.bwrap import environment
from ..sandboxing.images import HOST, RootFilesystem
from ..sandboxing.limits import MIB, Limits
from .unprivileged import as_unprivileged

__all__ = ["command_mark", "knowing_its_memory", "mounting_root", "program_process", "write_bundle"]

_ROOT: Final = "rootfs"
_MEMORY: Final = "meminfo"
_PROC: Final = "proc"
_NAMESPACES: Final = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def write_bundle(
    directory: Path,
    request: StartRequest,
    sandbox_id: str,
    root: RootFilesystem,
    command: tuple[str, ...],
    tools: Path,
) -> None:
    """Write the configuration of a sandbox into a bundle directory.

    Args:
        directory: The bundle.
        request: What the start asks for.
        sandbox_id: Becomes the host name.
        root: What to start from; nothing ever writes to it.
        command: Main process and its arguments.
        tools: Where ``idle`` is, the program, and in ``supplied`` what `root` may lack.
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
    mounts += [_read_only(str(tools / "supplied" / name), f"/etc/{name}") for name in root.supplied]
    mounts.append(_read_only(str(tools / "idle"), idle.INSIDE))
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": _process(sandbox_id, root, command, request),
        "root": {"path": str(_place(directory, root)), "readonly": False},
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
    files = [mount["destination"] for mount in mounts if mount["type"] == "bind"]
    return beneath.mounting(lower, place, files)


def _place(directory: Path, root: RootFilesystem) -> Path:
    """Return where runsc is to look for a root file system, which opens it by its name.

    One that others may exchange meanwhile is mounted at a place in the bundle.
    """
    if not root.is_shared:
        return root.lower
    place = directory / _ROOT
    place.mkdir(mode=0o700)
    return place


def program_process(directory: Path, program: Program, name: str) -> dict[str, Any]:
    """Return how a program is to run: as the main process of a bundle, but marked with a name of its own."""
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    process: dict[str, Any] = config["process"]
    has_terminal = program.terminal is not None
    user = _user(program.user) if program.user else process["user"]
    return process | {
        "terminal": has_terminal,
        "user": user,
        "capabilities": _capabilities(user["uid"]),
        "args": list(program.command),
        # Of a variable that is there twice, the last one holds in most programs, the first one in some.
        "env": [*_without(process["env"], program.env), *program.env, command_mark(name)],
        # Without the dot runsc takes a file, too, and runs the program there.
        "cwd": f"{program.cwd.rstrip('/')}/." if program.cwd else process["cwd"],
    }


def _user(user: str) -> dict[str, int]:
    """Return the user that numbers, ``UID`` or ``UID:GID``, tell of; root where there are none."""
    uid, _, gid = user.partition(":")
    return {"uid": int(uid or 0), "gid": int(gid or 0)}


def _capabilities(uid: int) -> dict[str, list[str]]:
    """Return what a user may: what root may, others could gain, by a program that becomes root."""
    names = list(privileges.NAMES)
    return {"bounding": names} | ({} if uid else {"effective": names, "permitted": names})


def _without(variables: list[str], others: Sequence[str]) -> list[str]:
    names = {variable.partition("=")[0] for variable in others}
    return [variable for variable in variables if variable.partition("=")[0] not in names]


def command_mark(name: str) -> str:
    """Return the variable by which all processes of a command are known, as far as they keep it."""
    # With an end, so that no mark is the beginning of another.
    return f"FLASH_SANDBOX_COMMAND={name}."


def _read_only(source: str, destination: str) -> dict[str, Any]:
    options = ["rbind", "ro", "nosuid", "nodev"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _process(
    sandbox_id: str, root: RootFilesystem, command: tuple[str, ...], request: StartRequest
) -> dict[str, Any]:
    """Return how the main process is to run: with the capabilities of `privileges`, if it is root's."""
    variables = environment(sandbox_id, root.config, request.env)
    user = _user(request.user)
    return {
        "terminal": False,
        "user": user,
        "args": list(command),
        "env": [f"{name}={value}" for name, value in variables.items()],
        "cwd": root.working_dir,
        "capabilities": _capabilities(user["uid"]),
        "noNewPrivileges": True,
    }

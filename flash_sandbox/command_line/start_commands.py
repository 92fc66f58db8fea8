"""``start`` and ``restore``: a sandbox that stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..models import SnapshotInfo, StartType
from .connection import PATIENCE_SECONDS, Connection, Failure, connected
from .names import snapshot_id
from .options import (
    Address,
    Allow,
    ApiKey,
    AsJson,
    AutoResume,
    CpuCores,
    Deny,
    DiskMb,
    IdleTimeout,
    Image,
    ImageCommand,
    InitrdPath,
    KernelImage,
    Labels,
    MemFile,
    MemoryMb,
    Name,
    NetworkName,
    OnIdle,
    Pids,
    SandboxEnv,
    SandboxUser,
    Secrets,
    ShmMb,
    Snapshot,
    SnapshotPath,
    Transport,
    Ttl,
    Type,
    Volumes,
    network_of,
    secrets_of,
)
from .output import print_json

if TYPE_CHECKING:
    from ..clients.sync.api import SandboxAPI

__all__ = ["find_snapshot", "restore", "start"]

MainProcess = Annotated[
    list[str] | None,
    typer.Argument(
        help="Main process and its arguments, after --.",
        metavar="[COMMAND...]",
        show_default="idle",
    ),
]


def start(
    command: MainProcess = None,
    image: Image = "",
    type: Type = "auto",
    memory_mb: MemoryMb = None,
    cpu_cores: CpuCores = None,
    pids: Pids = None,
    shm_mb: ShmMb = None,
    disk_mb: DiskMb = None,
    volumes: Volumes = None,
    network: NetworkName = None,
    network_allow: Allow = None,
    network_deny: Deny = None,
    secrets: Secrets = None,
    name: Name = "",
    labels: Labels = None,
    ttl_seconds: Ttl = 0.0,
    idle_timeout: IdleTimeout = 0.0,
    on_idle: OnIdle = None,
    auto_resume: AutoResume = False,
    env: SandboxEnv = None,
    user: SandboxUser = "",
    image_command: ImageCommand = False,
    kernel_image: KernelImage = None,
    initrd_path: InitrdPath = None,
    snapshot_path: SnapshotPath = "",
    mem_file_path: MemFile = "",
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Start a sandbox, which stays until it is stopped or expires, and print its ID.

    Where no command is given, the sandbox idles.
    """
    words = command or []
    with connected("start", Connection(transport, address, api_key)) as client:
        sandbox_id = client.start_sandbox(
            type,
            image,
            words[1:] if words[:1] == ["--"] else words,
            memory_mb,
            cpu_cores,
            _text(kernel_image),
            _text(initrd_path),
            snapshot_path,
            mem_file_path,
            network_of(network, network_allow, network_deny),
            network_allow=network_allow,
            network_deny=network_deny,
            secrets=secrets_of(secrets),
            name=name,
            labels=labels,
            ttl_seconds=ttl_seconds,
            idle_timeout=idle_timeout,
            on_idle=on_idle,
            auto_resume=auto_resume,
            pids=pids,
            shm_mb=shm_mb,
            disk_mb=disk_mb,
            env=env,
            user=user,
            volumes=volumes,
            image_command=image_command,
            timeout=PATIENCE_SECONDS,
        )
        _tell(sandbox_id, as_json=as_json)


def restore(
    snapshot: Snapshot,
    mem_file_path: MemFile = "",
    memory_mb: MemoryMb = None,
    cpu_cores: CpuCores = None,
    pids: Pids = None,
    shm_mb: ShmMb = None,
    disk_mb: DiskMb = None,
    volumes: Volumes = None,
    network: NetworkName = None,
    network_allow: Allow = None,
    network_deny: Deny = None,
    secrets: Secrets = None,
    name: Name = "",
    labels: Labels = None,
    ttl_seconds: Ttl = 0.0,
    idle_timeout: IdleTimeout = 0.0,
    on_idle: OnIdle = None,
    auto_resume: AutoResume = False,
    env: SandboxEnv = None,
    user: SandboxUser = "",
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Start a sandbox from a snapshot, by the runtime that made it, and print its ID."""
    with connected("restore", Connection(transport, address, api_key)) as client:
        found = find_snapshot(client, snapshot)
        sandbox_id = client.start_sandbox(
            cast(StartType, found.type),
            memory_mb=memory_mb,
            cpu_cores=cpu_cores,
            snapshot_path=found.snapshot_path,
            mem_file_path=mem_file_path,
            network=network_of(network, network_allow, network_deny),
            network_allow=network_allow,
            network_deny=network_deny,
            secrets=secrets_of(secrets),
            name=name,
            labels=labels,
            ttl_seconds=ttl_seconds,
            idle_timeout=idle_timeout,
            on_idle=on_idle,
            auto_resume=auto_resume,
            pids=pids,
            shm_mb=shm_mb,
            disk_mb=disk_mb,
            env=env,
            user=user,
            volumes=volumes,
            timeout=PATIENCE_SECONDS,
        )
        _tell(sandbox_id, as_json=as_json)


def find_snapshot(client: SandboxAPI, reference: str) -> SnapshotInfo:
    """Return the snapshot that is meant: by its name, its ID, the beginning of that, or its path.

    Raises:
        Failure: There is none, or there are several.
    """
    beginning = []
    for info in client.list_snapshots():
        if reference in (info.snapshot_path, snapshot_id(info), info.name or None):
            return info
        if snapshot_id(info).startswith(reference):
            beginning.append(info)
    if not beginning:
        raise Failure(f"there is no snapshot {reference!r}")
    if len(beginning) > 1:
        shown = ", ".join(snapshot_id(info) for info in beginning[:10])
        raise Failure(f"{reference!r} may be any of {shown}")
    return beginning[0]


def _tell(sandbox_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": sandbox_id})
    else:
        typer.echo(sandbox_id)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)

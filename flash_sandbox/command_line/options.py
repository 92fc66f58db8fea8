"""Options and arguments that several commands share, each stated once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..embedding import ADDRESS_VARIABLE
from ..models import ExecRequest, IdleAction, NetworkMode, StartRequest, StartType
from ..models.volumes import local
from ..options import API_KEY_VARIABLE
from .connection import TransportChoice
from .descriptions import field_option
from .names import complete_sandboxes, complete_snapshots

# The orchestrator

Transport = Annotated[
    TransportChoice | None,
    typer.Option("--transport", help="What carries the calls.", show_default="by the address, else http"),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar=ADDRESS_VARIABLE,
        help="Address of the orchestrator: host:port, http://, https://, grpc:// or unix://.",
        show_default="localhost, at the transport's usual port",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar=API_KEY_VARIABLE,
        show_default=False,
        help="Key of the orchestrator, if it has one.",
    ),
]

# What is printed

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print IDs alone.")]

# Which sandbox

SandboxId = Annotated[
    str,
    typer.Argument(
        help="ID of the sandbox, the beginning of one, or its name.",
        metavar="ID",
        autocompletion=complete_sandboxes,
    ),
]
SandboxIds = Annotated[
    list[str],
    typer.Argument(
        help="IDs of the sandboxes, beginnings of IDs, or names.",
        metavar="ID...",
        autocompletion=complete_sandboxes,
    ),
]
Snapshot = Annotated[
    str,
    typer.Argument(
        help="Name of the snapshot, its ID, the beginning of that, or its path.",
        metavar="SNAPSHOT",
        autocompletion=complete_snapshots,
    ),
]

# What is started

Type = Annotated[StartType, field_option(StartRequest, "type", "--type")]
Image = Annotated[str, field_option(StartRequest, "image", "--image")]
MemoryMb = Annotated[
    int | None, field_option(StartRequest, "memory_mb", "--memory-mb", "-m", min=1, metavar="MIB")
]
CpuCores = Annotated[
    float | None, field_option(StartRequest, "cpu_cores", "--cpu-cores", "--cpus", metavar="CORES")
]
Pids = Annotated[int | None, field_option(StartRequest, "pids", "--pids", metavar="NUMBER")]
ShmMb = Annotated[int | None, field_option(StartRequest, "shm_mb", "--shm-mb", min=1, metavar="MIB")]
DiskMb = Annotated[
    int | None, field_option(StartRequest, "disk_mb", "--disk-mb", "--disk", min=1, metavar="MIB")
]
SandboxEnv = Annotated[
    list[str] | None, field_option(StartRequest, "env", "--env", "-e", metavar="NAME=VALUE")
]
SandboxUser = Annotated[str, field_option(StartRequest, "user", "--user", "-u")]
Volumes = Annotated[
    list[str] | None,
    field_option(
        StartRequest,
        "volumes",
        "--volume",
        "-v",
        metavar="SOURCE:TARGET[:ro]",
        callback=lambda given: [local(text) for text in given or ()],
    ),
]
NetworkName = Annotated[NetworkMode | None, field_option(StartRequest, "network", "--network")]
Allow = Annotated[
    list[str] | None, field_option(StartRequest, "network_allow", "--allow", metavar="HOST[:PORT]")
]
Deny = Annotated[
    list[str] | None, field_option(StartRequest, "network_deny", "--deny", metavar="HOST[:PORT]")
]
Secrets = Annotated[
    list[str] | None,
    field_option(StartRequest, "secrets", "--secret", metavar="NAME@HOST[,HOST][=VALUE]"),
]
Name = Annotated[str, field_option(StartRequest, "name", "--name")]
Labels = Annotated[
    list[str] | None, field_option(StartRequest, "labels", "--label", "-l", metavar="NAME=VALUE")
]
Ttl = Annotated[
    float, field_option(StartRequest, "ttl_seconds", "--ttl-seconds", "--ttl", min=0, metavar="SECONDS")
]
IdleTimeout = Annotated[
    float, field_option(StartRequest, "idle_timeout", "--idle-timeout", min=0, metavar="SECONDS")
]
OnIdle = Annotated[IdleAction | None, field_option(StartRequest, "on_idle", "--on-idle")]
AutoResume = Annotated[bool, field_option(StartRequest, "auto_resume", "--auto-resume")]
ImageCommand = Annotated[bool, field_option(StartRequest, "image_command", "--image-command")]
KernelImage = Annotated[Path | None, field_option(StartRequest, "kernel_image", "--kernel-image")]
InitrdPath = Annotated[Path | None, field_option(StartRequest, "initrd_path", "--initrd-path")]
SnapshotPath = Annotated[str, field_option(StartRequest, "snapshot_path", "--snapshot-path")]
MemFile = Annotated[str, field_option(StartRequest, "mem_file_path", "--mem-file-path")]

# What is run

Words = Annotated[
    list[str], typer.Argument(help="Command and its arguments, after --.", metavar="COMMAND...")
]
Interactive = Annotated[
    bool, typer.Option("--interactive", "-i", help="Pass standard input on to the command.")
]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal: this one.")]
Env = Annotated[list[str] | None, field_option(ExecRequest, "env", "--env", "-e", metavar="NAME=VALUE")]
Workdir = Annotated[str, field_option(ExecRequest, "cwd", "--workdir", "-w")]
User = Annotated[str, field_option(ExecRequest, "user", "--user", "-u")]
Limit = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Seconds that the command may take; then it is ended with all that it started.",
        metavar="SECONDS",
        show_default="any time",
    ),
]


def secrets_of(entries: list[str] | None) -> list[str]:
    """Return secrets; the value of one without it is the variable's of its name."""
    found = []
    for entry in entries or []:
        name, _, hosts = entry.partition("@")
        if "=" not in hosts and name not in os.environ:
            raise typer.BadParameter(f"--secret {name[:100]}: there is no such variable in the environment")
        found.append(entry if "=" in hosts else f"{entry}={os.environ[name]}")
    return found


def network_of(
    network: NetworkMode | None, allow: list[str] | None, deny: list[str] | None
) -> NetworkMode | None:
    """Return the network that the options name: a policy where they say what may be reached."""
    return "policy" if network is None and (allow or deny) else network

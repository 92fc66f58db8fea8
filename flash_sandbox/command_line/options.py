"""Options and arguments that several commands share, each stated once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..embedding import ADDRESS_VARIABLE
from ..models import DEFAULT_CPU_CORES, DEFAULT_MEMORY_MB, DEFAULT_PIDS, DEFAULT_SHM_MB, MIN_PIDS
from ..options import API_KEY_VARIABLE
from .connection import TransportChoice
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
        help="Path of the snapshot, its last part, or the beginning of that.",
        metavar="SNAPSHOT",
        autocompletion=complete_snapshots,
    ),
]

# What is started


class RuntimeChoice(StrEnum):
    """What runs a sandbox."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    DOCKER = "docker"
    GVISOR = "gvisor"
    FIRECRACKER = "firecracker"


class NetworkChoice(StrEnum):
    """Network of a sandbox."""

    NONE = "none"
    BRIDGE = "bridge"


Type = Annotated[RuntimeChoice, typer.Option("--type", help="Runtime that runs the sandbox.")]
Image = Annotated[
    str,
    typer.Option(
        "--image", help="Image to start from, as the orchestrator names it.", show_default="the runtime's own"
    ),
]
MemoryMb = Annotated[
    int | None,
    typer.Option(
        "--memory-mb",
        "-m",
        min=1,
        help="Memory limit in MiB.",
        metavar="MIB",
        show_default=f"the snapshot's, or {DEFAULT_MEMORY_MB}",
    ),
]
CpuCores = Annotated[
    float | None,
    typer.Option(
        "--cpu-cores",
        "--cpus",
        help="CPU limit in cores, at most 1024.",
        metavar="CORES",
        show_default=f"the snapshot's, or {DEFAULT_CPU_CORES:g}",
    ),
]
Pids = Annotated[
    int | None,
    typer.Option(
        "--pids",
        help=f"Most processes and threads, at least {MIN_PIDS}.",
        metavar="NUMBER",
        show_default=f"the snapshot's, or {DEFAULT_PIDS}",
    ),
]
ShmMb = Annotated[
    int | None,
    typer.Option(
        "--shm-mb",
        min=1,
        help="Size of /dev/shm in MiB.",
        metavar="MIB",
        show_default=f"the snapshot's, or {DEFAULT_SHM_MB}",
    ),
]
SandboxEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--env", "-e", help="Variable of every process of the sandbox; may be repeated.", metavar="NAME=VALUE"
    ),
]
SandboxUser = Annotated[
    str,
    typer.Option(
        "--user",
        "-u",
        help="User that everything in the sandbox runs as: a name, UID or UID:GID.",
        show_default="the snapshot's, or the runtime's",
    ),
]
Network = Annotated[
    NetworkChoice | None,
    typer.Option(
        "--network",
        help="none: nothing but its own loopback; bridge: out through the host.",
        show_default="the snapshot's, or the orchestrator's",
    ),
]
Name = Annotated[
    str, typer.Option("--name", help="Name that the sandbox can be found by.", show_default="none")
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", help="Label of the sandbox; may be repeated.", metavar="NAME=VALUE"),
]
KernelImage = Annotated[
    Path | None,
    typer.Option(
        "--kernel-image",
        help="Guest kernel on the orchestrator's host (Firecracker only).",
        show_default="the engine's",
    ),
]
InitrdPath = Annotated[
    Path | None,
    typer.Option(
        "--initrd-path",
        help="Initial RAM disk on the orchestrator's host (Firecracker only).",
        show_default="the engine's",
    ),
]

# What is run

Words = Annotated[
    list[str], typer.Argument(help="Command and its arguments, after --.", metavar="COMMAND...")
]
Interactive = Annotated[
    bool, typer.Option("--interactive", "-i", help="Pass standard input on to the command.")
]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal: this one.")]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", help="Variable of the command; may be repeated.", metavar="NAME=VALUE"),
]
Workdir = Annotated[
    str, typer.Option("--workdir", "-w", help="Directory to run in.", show_default="the sandbox's own")
]
User = Annotated[
    str,
    typer.Option(
        "--user", "-u", help="User to run as: a name, UID or UID:GID.", show_default="the main process's"
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        help="Seconds that the command may take; then it is ended with all that it started.",
        metavar="SECONDS",
        show_default="any time",
    ),
]

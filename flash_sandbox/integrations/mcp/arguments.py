"""Arguments that several tools share, each described once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .output import MAX_OUTPUT_BYTES

__all__ = [
    "Command",
    "Count",
    "Env",
    "MaxOutputBytes",
    "Path",
    "ProcessId",
    "SandboxId",
    "TimeoutSeconds",
    "Workdir",
]

SandboxId = Annotated[str, Field(description="ID of the sandbox, as create_sandbox or list_sandboxes told.")]
ProcessId = Annotated[str, Field(description="ID of the process, as start_process or list_processes told.")]
Command = Annotated[
    str | list[str],
    Field(description="A command line for /bin/sh; or a list of the program and its arguments."),
]
Workdir = Annotated[
    str | None, Field(description="Directory in the sandbox to run in, absolute. Default: the sandbox's own.")
]
Env = Annotated[dict[str, str] | None, Field(description="Variables besides the sandbox's own.")]
TimeoutSeconds = Annotated[
    float,
    Field(gt=0, le=86400, description="Seconds after which it is ended with all that it started."),
]
MaxOutputBytes = Annotated[
    int,
    Field(
        ge=256,
        le=8 * MAX_OUTPUT_BYTES,
        description="Most bytes of each output stream in the answer: its beginning and its end.",
    ),
]
Path = Annotated[str, Field(description="Path in the sandbox, absolute.")]
Count = Annotated[int, Field(ge=1, le=100, description="How many copies to start.")]

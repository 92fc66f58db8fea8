"""The guest agent's program, as the build of the package compiled it (hatch_build.py)."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

__all__ = ["AgentMissing", "agent_program"]

_DIRECTORY: Final = Path(__file__).with_name("bin")
_MACHINES: Final = ("x86_64", "aarch64")
_COMPILE: Final = (
    "install a C compiler (Debian: apt-get install gcc libc6-dev) or ziglang, then flash-sandbox again"
)


class AgentMissing(Exception):
    """There is no agent for a machine.

    Attributes:
        detail: What is missing, and why.
        remedy: What to do about it.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}; {remedy}")
        self.detail = detail
        self.remedy = remedy


def agent_program(machine: str = "") -> Path:
    """Return the path of the agent's program.

    Args:
        machine: Machine that it runs on (uname -m); empty for this one.

    Raises:
        AgentMissing: The package has none for that machine.
    """
    here = platform.machine()
    machine = machine or here
    if machine not in _MACHINES:
        raise AgentMissing(f"there is no guest agent for {machine}", f"use {' or '.join(_MACHINES)}")
    program = _DIRECTORY / f"agent-{machine}"
    if program.is_file():
        return program
    if machine != here:
        detail = f"this package has no guest agent for {machine}"
        raise AgentMissing(detail, "install a wheel that `make dist` has built: it has every machine's")
    try:
        reason = (_DIRECTORY / "failure.txt").read_text(errors="replace").strip()
    except OSError:
        reason = "the package was built without it"
    raise AgentMissing(f"the guest agent was not compiled: {reason}", _COMPILE)

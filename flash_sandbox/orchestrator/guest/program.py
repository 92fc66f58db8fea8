"""The guest agent's program, as the build of the package compiled it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

__all__ = ["AgentMissing", "agent_program"]

_DIRECTORY: Final = Path(__file__).with_name("bin")


class AgentMissing(Exception):
    """There is no agent for a machine; the text says why and what to do."""


def agent_program(machine: str = "") -> Path:
    """Return the path of the agent's program.

    Args:
        machine: Machine that it runs on (uname -m); empty for this one.

    Raises:
        AgentMissing: The package was built without it.
    """
    program = _DIRECTORY / f"agent-{machine or platform.machine()}"
    if not program.is_file():
        raise AgentMissing(f"{program} is missing: install the package again, with a C compiler at hand")
    return program

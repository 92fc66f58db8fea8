"""Programs of another machine, run in an emulator."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["MACHINES", "Need", "command_line", "need_machine"]

Need = Callable[[str, str | None], None]

MACHINES = ["x86_64", "aarch64"]


def need_machine(machine: str, need: Need) -> None:
    """Skip where programs of a machine cannot be run here."""
    emulator, *_ = command_line(machine, Path())
    if machine != platform.machine():
        need("qemu", None if shutil.which(emulator) else f"{emulator} is not on PATH")


def command_line(machine: str, program: Path) -> list[str]:
    """Return how a program of a machine is run here."""
    return [str(program)] if machine == platform.machine() else [f"qemu-{machine}", str(program)]

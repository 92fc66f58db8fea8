"""An orchestrator's work that ends with SIGKILL at a chosen point, and what was acknowledged until then."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlived import kept_from

from flash_sandbox.orchestrator.runtimes.base import Kept

PROGRAM: Final = Path(__file__).with_name("programs") / "killed_at.py"
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Told:
    """What was acknowledged before the kill.

    Attributes:
        kept: Those that were started and not asked to stop, by ID.
        snapshots: Those that were made and not asked to be removed.
        removed: The snapshots that were removed.
    """

    kept: dict[str, Kept]
    snapshots: frozenset[str]
    removed: frozenset[str]


async def killed(state_dir: Path, kind: str, place: str, image: str, name: str, point: str) -> Told:
    """Run the program `killed_at` until it is killed; the arguments are its own."""
    arguments = (str(state_dir), kind, place, image, name, point)
    places = [ROOT, ROOT / "generated", PROGRAM.parents[1], PROGRAM.parents[2]]
    path = os.pathsep.join([*map(str, places), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    # To a file: of a pipe the end would come only with the last process that holds it.
    output = state_dir.with_name(f"{state_dir.name}.out")
    with output.open("w") as stdout:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), *arguments, env=environment, stdout=stdout, stderr=stdout
        )
        status = await process.wait()
    said = output.read_text()
    assert status == -signal.SIGKILL, said
    steps: dict[str, set[str]] = {}
    for line in said.splitlines():
        step, _, what = line.partition(" ")
        steps.setdefault(step, set()).add(what)
    started = map(kept_from, steps.get("started", set()))
    return Told(
        kept={one.id: one for one in started if one.id not in steps.get("stopping", set())},
        snapshots=frozenset(steps.get("snapshot", set()) - steps.get("removing", set())),
        removed=frozenset(steps.get("removed", set())),
    )

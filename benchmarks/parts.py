"""The table of parts: what each needs of the host, how many rounds it has, and who measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from . import (
    agent_rows,
    async_rows,
    call_rows,
    create_rows,
    density_rows,
    docker_rows,
    door_rows,
    embedded_rows,
    ended_rows,
    file_rows,
    floor_rows,
    fork_rows,
    gate_rows,
    growth_rows,
    gvisor_rows,
    import_rows,
    layer_rows,
    listing_rows,
    output_rows,
    port_rows,
    restart_rows,
    soak,
    warm_rows,
)
from .engines import lacks_docker, lacks_docker_program, lacks_gvisor, lacks_xfs
from .peers import lacks_peer
from .report import Report

__all__ = ["ALONE", "PARTS", "Part"]

Need = Callable[[], str | None]
"""Returns what the host lacks, or None."""


@dataclass(frozen=True, slots=True)
class Part:
    """One question, or a few of the same kind.

    Attributes:
        report: Measures it, in this many rounds; where True follows, with small numbers of everything.
        rounds: How many of them a whole run has.
        needs: What it cannot be measured without, by the name that $FLASH_SANDBOX_REQUIRE_ENGINES has for it.
    """

    report: Callable[[int, bool], Report]
    rounds: int
    needs: Mapping[str, Need] = field(default_factory=dict)

    def missing(self) -> tuple[str, str] | None:
        """Return what this host lacks to measure it, its name first, or None."""
        for name, lacks in self.needs.items():
            if (found := lacks()) is not None:
                return name, found
        return None


_ENGINE: Final = {"docker": lacks_docker}
_ENGINE_AND_PROGRAM: Final = {"docker": lacks_docker_program}

# In the order of RESULTS.md.
PARTS: Final[dict[str, Part]] = {
    "calls": Part(call_rows.report, 40, {"pypi": lambda: lacks_peer("published")}),
    "layers": Part(layer_rows.report, 4, {"py-spy": layer_rows.lacks_py_spy}),
    "async": Part(async_rows.report, 10),
    "import": Part(import_rows.report, 40, {"pypi": lambda: lacks_peer("alone")}),
    "doors": Part(door_rows.report, 40),
    "bubblewrap": Part(floor_rows.report, 150),
    "embedded": Part(embedded_rows.report, 40, _ENGINE | {"pypi": lambda: lacks_peer("llm-sandbox")}),
    "agent": Part(agent_rows.report, 20, _ENGINE),
    "create": Part(create_rows.report, 3),
    "density": Part(density_rows.report, 10),
    "growth": Part(growth_rows.report, 25),
    "forks": Part(fork_rows.report, 3),
    "reflinks": Part(fork_rows.report_sharing, 3, {"xfs": lacks_xfs}),
    "lists": Part(listing_rows.report, 30),
    "ended": Part(ended_rows.report, 60),
    "restart": Part(restart_rows.report, 5, _ENGINE),
    "docker": Part(docker_rows.report, 30, _ENGINE),
    "files": Part(file_rows.report, 5, _ENGINE_AND_PROGRAM),
    "output": Part(output_rows.report, 4, _ENGINE_AND_PROGRAM),
    "ports": Part(port_rows.report, 2, {"socat": port_rows.lacks_socat}),
    "gate": Part(gate_rows.report, 10),
    "warm": Part(warm_rows.report, 10, _ENGINE | {"gvisor": lacks_gvisor}),
    "gvisor": Part(gvisor_rows.report, 20, {"gvisor": lacks_gvisor}),
}

# What is too long for a whole run; the rounds are minutes.
ALONE: Final[dict[str, Part]] = {"soak": Part(soak.report, 15)}

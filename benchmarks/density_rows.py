"""What a thousand idle sandboxes take: memory, and the orchestrator's CPU."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

from flash_sandbox import HTTPClient

from .processes import agents_of, cpu_seconds, memory_by_kind
from .report import Answer, AnswersTable, Report, Stacks
from .serving import serving

__all__ = ["report"]

_MIB: Final = 1024 * 1024
_AIM_MIB: Final = 1.5
_AIM_SHARE: Final = 1.0
_AIM_AGENT_MIB: Final = 0.25
_AGENT: Final = "PID 1"
_TEXT: Final = """\
Embedded sandboxes of the host's /usr that idle, and would be stopped after an hour of it. Their memory is
proportional (PSS: what several processes share is divided among them) and that of everything of ours:
the orchestrator, the launcher, and of each sandbox bwrap and its PID 1, which is its main process here.
The CPU is that of the orchestrator and the launcher, in a time in which nothing is asked of it."""


def report(rounds: int, short: bool) -> Report:
    """Measure once, for `rounds` seconds of idling."""
    many = 10 if short else 1000
    with ExitStack() as stack:
        http, _, pid = stack.enter_context(serving())
        client = stack.enter_context(HTTPClient(address=http, timeout=60))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        ids = list(pool.map(lambda _: _start(client), range(many)))
        memory = memory_by_kind(pid)
        seconds = rounds if short else max(rounds, 5)
        agents = list(agents_of(pid))
        before, agents_before = _cpu(pid), sum(map(cpu_seconds, agents))
        time.sleep(seconds)
        share = 100 * (_cpu(pid) - before) / seconds
        agents_share = 100 * (sum(map(cpu_seconds, agents)) - agents_before) / seconds
        list(pool.map(client.stop_sandbox, ids))
    each = {kind: taken / many / _MIB for kind, taken in memory.items()}
    question = f"{many:,} idle sandboxes"
    answers = [
        Answer(question, "PSS of everything of ours, each", sum(each.values()), _AIM_MIB, "MiB"),
        Answer(question, "PSS of the guest agent, each", each[_AGENT], _AIM_AGENT_MIB, "MiB"),
        Answer(question, "CPU of all guest agents", agents_share, 0, "% of a core"),
        Answer(question, "orchestrator's CPU", share, _AIM_SHARE, "% of a core"),
    ]
    plot = Stacks("density", "Memory of an idle sandbox", "MiB", {f"one of {many:,}": each})
    return Report("Density", _TEXT, [AnswersTable(answers)], answers, [plot])


def _start(client: HTTPClient) -> str:
    return client.start_sandbox("bubblewrap", "host", memory_mb=64, idle_timeout=3600)


def _cpu(orchestrator: int) -> float:
    launchers = (child for child in _children(orchestrator))
    return cpu_seconds(orchestrator) + sum(map(cpu_seconds, launchers))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]

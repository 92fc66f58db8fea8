"""How sandboxes come, one after the other, a few a second, and many at once: the time to a first answer."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from flash_sandbox import AsyncHTTPClient, AsyncSandboxAPI, AsyncSandboxClient
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program

from .measure import Table, measured
from .peers import Worker, running_program
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

FLOOR: Final = "bare bwrap"
_STAGGER_SECONDS: Final = 0.2
_SEQUENTIAL: Final = "one after the other"
_STAGGERED: Final = f"one each {1000 * _STAGGER_SECONDS:.0f} ms"
_PATIENCE_SECONDS: Final = 120.0
_TEXT: Final = f"""\
The time from asking for a sandbox to the answer of its first command, `true`, for each of them;
stopping them is not in it. A burst is asked for by one client at once. The floor is {FLOOR}, from
fork to the end of `true` in it: no orchestrator, no limits, no layer, no second command."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    few, many = (2, 10) if short else (10, 100)
    with ExitStack() as stack:
        program = running_program(sys.executable, "bare_creates.py", str(installed_program()))
        worker = Worker(stack.enter_context(program))
        http, grpc, _ = stack.enter_context(serving())
        runner = stack.enter_context(asyncio.Runner())
        clients = (AsyncHTTPClient(address=http), AsyncSandboxClient(address=grpc))
        rows: dict[str, Callable[[], dict[str, list[float]]]] = {FLOOR: lambda: _bare(worker, few, many)}
        for client in clients:
            stack.callback(_close, runner, client)
            rows[type(client).__name__] = _ours(runner, client, few, many)
        table = measured(rows, rounds)
    ours = [type(client).__name__ for client in clients]
    answers = [answer for who in (*ours, FLOOR) for answer in _answers(table, who, many)]
    plot = Bars.of("create", "From asking for a sandbox to its first answer", table)
    return Report("Creation", _TEXT, [TimesTable(table, FLOOR)], answers, [plot])


def _answers(table: Table, who: str, many: int) -> list[Answer]:
    one, burst = table[_SEQUENTIAL][who], table[_burst(many)][who]
    cores = os.cpu_count() or 1
    # Three times as long as one alone, for each ten of them that come for each core.
    allowed = 3 * one.percentile(0.95) * max(many / cores / 10, 1)
    measure = f"burst p95 ÷ (sequential p95 · 3 · {many} / {cores} cores / 10)"
    question = f"create modes, {who}{' (the floor)' if who == FLOOR else ''}"
    share = 100 * min(by_who[who].success for by_who in table.values())
    return [
        Answer(question, measure, burst.percentile(0.95) / allowed, 1.0),
        Answer(question, "success", share, 100, "%", at_least=True),
    ]


def _burst(many: int) -> str:
    return f"burst of {many}"


def _close(runner: asyncio.Runner, client: Any) -> None:
    runner.run(client.close())


def _bare(worker: Worker, few: int, many: int) -> dict[str, list[float]]:
    def staggered() -> float:
        time.sleep(_STAGGER_SECONDS)
        return worker.measure(1)[0]

    return {
        _SEQUENTIAL: [worker.measure(1)[0] for _ in range(few)],
        _STAGGERED: [staggered() for _ in range(few)],
        _burst(many): worker.measure(many),
    }


def _ours(
    runner: asyncio.Runner, client: AsyncSandboxAPI, few: int, many: int
) -> Callable[[], dict[str, list[float]]]:
    async def created(ids: list[str], delay: float = 0.0) -> float:
        await asyncio.sleep(delay)
        began = time.perf_counter()
        sandbox_id = await client.start_sandbox("bubblewrap", "host", timeout=_PATIENCE_SECONDS)
        ids.append(sandbox_id)
        result = await client.exec_command(sandbox_id, ["true"], timeout=_PATIENCE_SECONDS)
        seconds = time.perf_counter() - began
        assert result.exit_code == 0, result
        return seconds

    async def all_of(delays: list[float]) -> list[float]:
        ids: list[str] = []
        try:
            return list(await asyncio.gather(*(created(ids, delay) for delay in delays)))
        finally:
            await asyncio.gather(*(client.stop_sandbox(each, timeout=_PATIENCE_SECONDS) for each in ids))

    async def once() -> dict[str, list[float]]:
        return {
            _SEQUENTIAL: [(await all_of([0.0]))[0] for _ in range(few)],
            _STAGGERED: await all_of([number * _STAGGER_SECONDS for number in range(few)]),
            _burst(many): await all_of([0.0] * many),
        }

    return lambda: runner.run(once())

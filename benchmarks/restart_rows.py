"""Restarts of an orchestrator whose sandboxes go on without it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient

from .engines import IMAGE, running_engine
from .measure import Times, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

EMPTY: Final = "no sandboxes"
_WHAT: Final = "restart until each answers"
_AIM_SECONDS: Final = 5.0
_THREADS: Final = 8
_TEXT: Final = """\
From the start of the process until each of its docker sandboxes, which an orchestrator before has started,
has run `true`. The floor has no sandboxes and answers one call."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    many = 3 if short else 200
    who = f"{many} docker sandboxes"
    with ExitStack() as stack:
        host = stack.enter_context(running_engine()).host
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
        full, empty = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        with serving(docker_host=host, state_dir=full) as server, _client(server.http) as client:
            start = lambda _: client.start_sandbox("docker", IMAGE, memory_mb=32, ttl_seconds=3600)  # noqa: E731
            ids = list(pool.map(start, range(many)))
        rows: dict[str, Callable[[], Times]] = {
            EMPTY: lambda: _restart(host, empty, pool, ()),
            who: lambda: _restart(host, full, pool, ids),
        }
        table = measured(rows, rounds)
        with serving(docker_host=host, state_dir=full) as server, _client(server.http) as client:
            list(pool.map(client.stop_sandbox, ids))
    found = table[_WHAT][who].percentile(0.5)
    answers = [Answer(f"restart with {who}", "p50 until each answers a call", found, _AIM_SECONDS, "s")]
    plot = Bars.of("restart", f"A restart with {who} beside one with none", table)
    return Report("Restart", _TEXT, [TimesTable(table, EMPTY)], answers, [plot])


def _client(address: str) -> HTTPClient:
    return HTTPClient(address=address, timeout=60)


def _restart(host: str, state_dir: Path, pool: ThreadPoolExecutor, ids: Sequence[str]) -> Times:
    began = time.perf_counter()
    with serving(docker_host=host, state_dir=state_dir) as server, _client(server.http) as client:
        client.list_sandboxes()
        for result in pool.map(lambda one: client.exec_command(one, ["true"]), ids):
            result.check()
        return {_WHAT: time.perf_counter() - began}

"""How the cost of a call grows with the sandboxes that there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .floor_rows import running_floor
from .measure import Table, Times, Watch, measured
from .report import Answer, Lines, Report, TimesTable
from .serving import serving

__all__ = ["report"]

_AIM: Final = 1.2
# The kernel takes down what a stop leaves while the next call is made.
_REST_SECONDS: Final = 0.03
_BARE: Final = "bare bwrap, setns"
_TEXT: Final = f"""\
What one call takes while so many sandboxes are there, one row for each count, beside the same with one.
`list page` is a page of one. A round begins 30 ms after the last stop, so that no call is held up by what
the kernel still takes down then. `{_BARE}` is bwrap, and a command in its sandbox, without an
orchestrator, on the same machine at the same time: what grows there is the kernel's."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times at each count."""
    counts = (1, 3, 10) if short else (1, 10, 100, 1000)
    by_count: dict[int, Table] = {}
    with ExitStack() as stack:
        http, grpc, _ = stack.enter_context(serving())
        over_http = stack.enter_context(HTTPClient(address=http, timeout=60))
        over_grpc = stack.enter_context(SandboxClient(address=grpc, timeout=60))
        floor = stack.enter_context(running_floor())
        pool = stack.enter_context(ThreadPoolExecutor(4))
        ids: list[str] = []
        for count in counts:
            ids += pool.map(lambda _: _start(over_http), range(count - len(ids)))
            middle = ids[count // 2]
            rows: dict[str, Callable[[], Times]] = {
                _BARE: lambda: {what: floor(what) for what in ("exec", "start")},
                "HTTPClient": _round(over_http, middle),
                "SandboxClient": _round(over_grpc, middle),
            }
            by_count[count] = measured(rows, rounds)
        list(pool.map(over_http.stop_sandbox, ids))
    return _told(by_count)


def _told(by_count: dict[int, Table]) -> Report:
    fewest, most = min(by_count), max(by_count)
    table: Table = {}
    for count, measured_there in by_count.items():
        for what, by_who in measured_there.items():
            for who, series in by_who.items():
                name, row = f"{what}, {who}", f"at {count:,}"
                aim = None if who == _BARE or count == fewest else _AIM
                table.setdefault(name, {})[row] = replace(series, what=name, who=row, aim=aim)
    floor = f"at {fewest:,}"
    found = Report("Growth", _TEXT, [TimesTable(table, floor)])
    for what, by_who in by_count[most].items():
        slower = max(
            (table[f"{what}, {who}"] for who in by_who if who != _BARE),
            key=lambda rows: rows[f"at {most:,}"].ratio(rows[floor]),
        )
        last = slower[f"at {most:,}"]
        measure = f"p50 at {most:,} ÷ p50 {floor}, {last.what.rpartition(', ')[2]}"
        found.answers.append(Answer(f"growth, {what}", measure, last.ratio(slower[floor]), _AIM))
    lines = {
        name: [(count, 1000 * rows[f"at {count:,}"].percentile(0.5)) for count in by_count]
        for name, rows in table.items()
    }
    found.plots.append(Lines("growth", "A call while there are many", "sandboxes", "ms", lines, by_ten=True))
    return found


def _start(client: SandboxAPI) -> str:
    return client.start_sandbox("bubblewrap", "host", memory_mb=64)


def _round(client: SandboxAPI, sandbox_id: str) -> Callable[[], Times]:
    def once() -> Times:
        time.sleep(_REST_SECONDS)
        watch = Watch()
        client.get_status(sandbox_id)
        watch("get_status")
        # Before the command, for the same reason.
        client.list_sandboxes(page_size=1)
        watch("list page")
        result = client.exec_command(sandbox_id, ["true"])
        watch("exec")
        one = _start(client)
        watch("start")
        client.stop_sandbox(one)
        assert result.exit_code == 0, result
        return watch.times

    return once

"""What sandboxes that have ended, and of which is still told, cost those that start."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient

from .measure import Times, Watch, aim_at, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

NONE: Final = "none has ended"
_AIM: Final = 1.1
_RUNNING: Final = 20


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    many = 100 if short else 10_000
    with ExitStack() as stack:
        rows: dict[str, Callable[[], Times]] = {}
        for who, count in ((NONE, 0), (f"{many:,} have ended", many)):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            http = stack.enter_context(serving(state_dir=directory)).http
            client = stack.enter_context(HTTPClient(address=http))
            _have_ended(client, directory, count)
            for _ in range(_RUNNING):
                client.start_sandbox("bubblewrap", "host", memory_mb=64)
            rows[who] = partial(_round, client)
        table = measured(rows, rounds)
    for by_who in table.values():
        aim_at(by_who, NONE, _AIM)
    answers = [Answer.slowest(f"{what} after {many:,} others", table, NONE, {what}, _AIM) for what in table]
    text = f"Two orchestrators with {_RUNNING} sandboxes; one has in its database {many:,} that have ended."
    plot = Bars.of("ended", f"Starts and lists after {many:,} other sandboxes", table)
    return Report("Ended sandboxes", text, [TimesTable(table, NONE)], answers, [plot])


def _have_ended(client: HTTPClient, directory: Path, many: int) -> None:
    """Have the database hold many copies of a sandbox that has ended."""
    one = client.start_sandbox("bubblewrap", "host", labels={"kept": "yes"}, memory_mb=64)
    client.exec_command(one, ["true"])
    client.stop_sandbox(one)
    with closing(sqlite3.connect(directory / "state.db")) as database, database:
        # It is told to have ended before that is on the disk.
        query = "SELECT * FROM sandboxes WHERE id = ? AND ended_at > 0"
        while (found := database.execute(query, (one,)).fetchone()) is None:
            time.sleep(0.01)
        copies = [
            [value.replace(one, f"{number:020}") if isinstance(value, str) else value for value in found]
            for number in range(many)
        ]
        database.executemany(f"INSERT INTO sandboxes VALUES ({', '.join('?' * len(found))})", copies)
    told = sum(1 for _ in client.sandboxes(status="ended"))
    assert told == many + 1, told


def _round(client: HTTPClient) -> Times:
    watch = Watch()
    one = client.start_sandbox("bubblewrap", "host", memory_mb=64)
    watch("start")
    found = client.list_sandboxes().sandboxes
    watch("list")
    client.stop_sandbox(one)
    watch("stop")
    assert len(found) == _RUNNING + 1, found
    return watch.times

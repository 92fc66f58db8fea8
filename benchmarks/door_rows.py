"""What the front doors cost a call, beside bare servers of the same libraries that know nothing."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import Final

from flash_sandbox import HTTPClient

from .measure import measured
from .peers import Worker, running_program
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

AIM: Final = 1.3
_CALLS: Final = 50
_DOORS: Final = {
    "HTTP": ("bare starlette on uvicorn", "raw_http_client"),
    "gRPC": ("bare grpclib", "bytes_over_grpcio"),
}
_TEXT: Final = f"""\
One call after the other, {_CALLS} a round, by the leanest client that there is for each: Python's
`http.client`, and grpcio with bytes that are ready beforehand. The floor is a server in a process of its
own, on uvloop, too, that parses the same request and answers the same bytes: one route of a starlette
application, one method of the generated base. The front doors have in addition who may call, from
where, for how long, under which number, on what, and a line of the log."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    calls = 5 if short else _CALLS
    found = Report("Front doors", _TEXT)
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        for transport, (floor, lean) in _DOORS.items():
            what = f"get_status over {transport}"
            with ExitStack() as stack:
                bare = running_program(sys.executable, "bare_doors.py", transport.lower())
                listening = stack.enter_context(bare).stdout
                assert listening is not None
                ours = server.http if transport == "HTTP" else server.grpc
                rows = {}
                for who, address in {floor: listening.readline().strip(), "the orchestrator": ours}.items():
                    program = running_program(sys.executable, "sync_calls.py", lean, address, sandbox_id)
                    rows[who] = partial(_round, what, Worker(stack.enter_context(program)), calls)
                table = measured(rows, rounds)
            table[what]["the orchestrator"].aim = AIM
            ratio = table[what]["the orchestrator"].ratio(table[what][floor])
            asked = f"the front doors, {transport}"
            found.blocks.append(TimesTable(table, floor))
            found.answers.append(Answer(asked, f"get_status p50 ÷ {floor}'s, same client", ratio, AIM))
            found.plots.append(Bars.of(f"doors-{transport.lower()}", asked, table))
        client.stop_sandbox(sandbox_id)
    return found


def _round(what: str, worker: Worker, calls: int) -> dict[str, list[float]]:
    return {what: worker.measure(calls)}

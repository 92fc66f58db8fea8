"""Many calls in flight: get_status by the asynchronous clients beside bare libraries."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import Final

from flash_sandbox import HTTPClient

from .measure import measured
from .peers import Worker, running_program
from .report import Answer, Bars, RatesTable, Report
from .serving import serving

__all__ = ["report"]

IN_FLIGHT: Final = 64
AIMS: Final = {"HTTP": 2.5, "gRPC": 0.85}
_CALLS: Final = 512
_WHATS: Final = {"HTTP": ("httpx", "AsyncHTTPClient"), "gRPC": ("grpclib", "AsyncSandboxClient")}
_TEXT: Final = f"""\
Calls of the same orchestrator for the same sandbox, {IN_FLIGHT} in flight, {_CALLS} a round, each row in a
process of its own, on uvloop. The floor is the bare library with as many in flight and the answer
parsed: an httpx.AsyncClient that keeps a connection for each, the generated stub on a grpclib channel.
The orchestrator has the same to do for all of them, and is in the time of all of them."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    calls = IN_FLIGHT if short else _CALLS
    found = Report(f"{IN_FLIGHT} in flight", _TEXT)
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        for transport, (library, ours) in _WHATS.items():
            what, floor = f"get_status over {transport}", f"raw {library}"
            functions = {floor: f"raw_{library}", ours: f"over_{transport.lower()}"}
            address = server.http if transport == "HTTP" else server.grpc
            with ExitStack() as stack:
                rows = {}
                for who, function in functions.items():
                    program = running_program(sys.executable, "async_calls.py", function, address, sandbox_id)
                    rows[who] = partial(_round, what, Worker(stack.enter_context(program)), calls)
                table = measured(rows, rounds)
            table[what][ours].aim = AIMS[transport]
            found.blocks.append(RatesTable(table, floor, 1, "calls/s"))
            share = table[what][floor].ratio(table[what][ours])
            measure = f"calls/s ÷ {floor}'s"
            asked = f"async, {IN_FLIGHT} in flight, {transport}"
            found.answers.append(Answer(asked, measure, share, AIMS[transport], at_least=True))
            found.plots.append(
                Bars.of(f"async-{transport.lower()}", f"A call of {IN_FLIGHT} in flight, {transport}", table)
            )
        client.stop_sandbox(sandbox_id)
    return found


def _round(what: str, worker: Worker, calls: int) -> dict[str, list[float]]:
    return {what: worker.measure(calls, IN_FLIGHT)}

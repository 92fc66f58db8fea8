"""What the SDK costs a call: get_status by its synchronous clients, the published ones and bare libraries."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import Final, NamedTuple

from flash_sandbox import HTTPClient

from .measure import measured
from .peers import Worker, environment, running_program
from .report import Answer, Bars, Report, TimesTable
from .serving import Serving, serving

__all__ = ["report"]

_CALLS: Final = 50
_TEXT: Final = f"""\
One call after the other of the same orchestrator for the same sandbox, {_CALLS} a round, each row in a
process of its own. The floor is the published release 0.1.0, over HTTP by requests, over gRPC by
grpcio. The bare libraries, to read the others by, have in addition to the bytes only the answer parsed:
`raw grpclib` by the generated stub, its loop run by the calling thread, `raw grpcio` by 0.1.0's stub."""


class _Question(NamedTuple):
    transport: str
    ours: str
    aim: float
    # By who: whose interpreter has it (empty: this one), and which function of the program it is.
    rows: dict[str, tuple[str, str]]

    @property
    def floor(self) -> str:
        """Who comes first."""
        return next(iter(self.rows))


_QUESTIONS: Final = (
    _Question(
        "HTTP",
        "HTTPClient",
        0.85,
        {
            "0.1.0's HTTPClient": ("published", "over_http"),
            "HTTPClient": ("", "over_http"),
            "raw httpx": ("", "raw_httpx"),
            "raw http.client": ("", "raw_http_client"),
        },
    ),
    _Question(
        "gRPC",
        "SandboxClient",
        1.15,
        {
            "0.1.0's SandboxClient": ("published", "over_grpc"),
            "SandboxClient": ("", "over_grpc"),
            "raw grpclib": ("", "raw_grpclib"),
            "raw grpcio": ("published", "raw_grpcio"),
        },
    ),
)


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    found = Report("Calls", _TEXT)
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        for question in _QUESTIONS:
            _answer(found, question, server, sandbox_id, rounds, 5 if short else _CALLS)
        client.stop_sandbox(sandbox_id)
    return found


def _answer(
    found: Report, question: _Question, server: Serving, sandbox_id: str, rounds: int, calls: int
) -> None:
    what = f"get_status over {question.transport}"
    address = server.http if question.transport == "HTTP" else server.grpc
    with ExitStack() as stack:
        rows = {}
        for who, (peer, function) in question.rows.items():
            python = environment(peer) if peer else sys.executable
            program = running_program(python, "sync_calls.py", function, address, sandbox_id)
            rows[who] = partial(_round, what, Worker(stack.enter_context(program)), calls)
        table = measured(rows, rounds)
    ours, floor = table[what][question.ours], table[what][question.floor]
    ours.aim = question.aim
    found.blocks.append(TimesTable(table, floor.who))
    asked = f"what does the SDK cost a call, sync {question.transport}?"
    measure = f"get_status p50 ÷ {floor.who}, same server"
    found.answers.append(Answer(asked, measure, ours.ratio(floor), question.aim))
    found.plots.append(Bars.of(f"calls-{question.transport.lower()}", asked, table))


def _round(what: str, worker: Worker, calls: int) -> dict[str, list[float]]:
    return {what: worker.measure(calls)}

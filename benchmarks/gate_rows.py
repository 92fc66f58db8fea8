"""What a network policy costs: a start with one, and requests beside those through a bare CONNECT proxy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import Final

from flash_sandbox import HTTPClient, Network, Sandbox, SandboxAPI, SandboxClient
from flash_sandbox.models.network import network_fields

from .measure import Table, aim_at, measured
from .peers import PROGRAMS, running_program
from .report import Answer, Bars, Report, TimesTable
from .serving import Serving, serving

__all__ = ["report"]

_PEER: Final = "bare proxy"
_NONE: Final = "no network"
_AIM_REQUEST: Final = 1.3
_AIM_START: Final = 1.15
_GATE_PORT: Final = 3128
_TEXT: Final = f"""\
Requests by `CONNECT` to a site on this machine, which answers two bytes: by a program in a bubblewrap sandbox
through the gate, and by the same program outside through a {_PEER}, which judges nothing (asyncio on uvloop).
Over TLS the gate looks at the first message, and copies then. Without TLS it judges each request, and makes a
connection for each.

A start with a policy of two names, beside a start without a network."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    with serving("--resolve", "site.test=127.0.0.1") as server:
        requests = _requests(server, rounds, 2 if short else 50)
        starts = _starts(server, rounds, 1 if short else 10)
    for by_who in requests.values():
        aim_at(by_who, _PEER, _AIM_REQUEST)
    answers = [
        Answer.slowest(f"a request through the gate, {what}", requests, _PEER, [what], _AIM_REQUEST)
        for what in requests
    ]
    answers.append(Answer.slowest("a start with a policy", starts, _NONE, starts, _AIM_START))
    return Report(
        "Network policies",
        _TEXT,
        [TimesTable(requests, _PEER), TimesTable(starts, _NONE)],
        answers,
        [Bars.of("gate", f"Requests through the gate beside a {_PEER}", requests)],
    )


def _requests(server: Serving, rounds: int, count: int) -> Table:
    with ExitStack() as stack:
        bare = stack.enter_context(running_program(sys.executable, "bare_connect.py"))
        assert bare.stdout is not None
        proxy, *ports = bare.stdout.readline().split()
        client = stack.enter_context(HTTPClient(address=server.http))
        policy = Network([f"site.test:{port}" for port in ports])
        sandbox = stack.enter_context(
            Sandbox.create(type="bubblewrap", network=policy, memory_mb=256, client=client)
        )
        program = (PROGRAMS / "connect_client.py").read_text()
        line = ["python3", "-c", program, proxy, *ports, str(count)]

        def outside() -> dict[str, list[float]]:
            return _read(subprocess.run(line, capture_output=True, text=True, check=True).stdout)

        def inside() -> dict[str, list[float]]:
            line_inside = [str(_GATE_PORT) if word is proxy else word for word in line]
            return _read(sandbox.run(line_inside, check=True).stdout)

        return measured({_PEER: outside, "the gate": inside}, rounds)


def _read(text: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = json.loads(text)
    return times


def _starts(server: Serving, rounds: int, count: int) -> Table:
    with HTTPClient(address=server.http) as http, SandboxClient(address=server.grpc) as grpc:
        rows = {
            _NONE: partial(_started, (http, grpc), None, count),
            "a policy": partial(
                _started, (http, grpc), Network(["pypi.org", "files.pythonhosted.org"]), count
            ),
        }
        table = measured(rows, rounds)
    for by_who in table.values():
        aim_at(by_who, _NONE, _AIM_START)
    return table


def _started(clients: tuple[SandboxAPI, ...], policy: Network | None, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for client in clients:
        for _ in range(count):
            began = time.perf_counter()
            sandbox_id = client.start_sandbox("bubblewrap", "host", **network_fields(policy))
            times.setdefault(f"start, {type(client).__name__}", []).append(time.perf_counter() - began)
            client.stop_sandbox(sandbox_id)
    return times

"""Embedded sandboxes beside docker-py's containers and llm-sandbox's bubblewrap backend, doing the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program

from .docker_rows import PEER as DOCKER_PY
from .docker_rows import peer_start
from .engines import IMAGE, running_engine
from .measure import Table, Times, Watch, measured
from .peers import Worker, environment, running_program
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

LLM_SANDBOX: Final = "llm-sandbox"
_ALL: Final = "start, exec, stop"
_WARM: Final = 2
_OURS: Final = ("HTTPClient", "SandboxClient")
_OURS_WARM: Final = tuple(f"{who}, --warm host={_WARM}" for who in _OURS)
# By floor, then by what is compared with it: p50 ÷ the floor's.
_AIMS: Final = {DOCKER_PY: {_ALL: 0.055, "exec": 0.05}, LLM_SANDBOX: {_ALL: 0.5}}
_TEXT: Final = f"""\
A sandbox is started, runs `true` and is stopped; the clients ask an orchestrator for an embedded one,
of the host's /usr. `{_ALL}` is all of that. {DOCKER_PY} asks a Docker Engine on the same machine for a
hardened busybox container (the rows of Docker have the same one), with exec_run and a forced removal.
{LLM_SANDBOX} is the bubblewrap backend of release 0.3.46, without setting up an environment; it calls
bwrap in its own process, once to open and once for each command, and limits no resource. `--warm
host={_WARM}` is an orchestrator that keeps so many sandboxes ready; while the others have their turn it makes
new ones."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    docker: Any = importlib.import_module("docker")
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        peer = docker.DockerClient(base_url=engine.host)
        stack.callback(peer.close)
        python = environment(LLM_SANDBOX)
        program = running_program(python, "llm_sandbox_round.py", str(installed_program()))
        worker = Worker(stack.enter_context(program))
        rows: dict[str, Callable[[], Times]] = {
            DOCKER_PY: lambda: _docker_round(peer),
            LLM_SANDBOX: lambda: _whole(dict(zip(("start", "exec", "stop"), worker.measure(), strict=True))),
        }
        for names, options in ((_OURS, ()), (_OURS_WARM, ("--warm", f"host={_WARM}"))):
            http, grpc, _ = stack.enter_context(serving(*options))
            clients = (HTTPClient(address=http), SandboxClient(address=grpc))
            for name, client in zip(names, clients, strict=True):
                rows[name] = _ours(stack.enter_context(client))
        table = measured(rows, rounds)
    return _told(table)


def _told(table: Table) -> Report:
    found = Report("Embedded", _TEXT)
    for floor, aims in _AIMS.items():
        other = DOCKER_PY if floor == LLM_SANDBOX else LLM_SANDBOX
        beside: Table = {}
        for what, by_who in table.items():
            beside[what] = {
                who: replace(series, aim=None if who == floor else aims.get(what))
                for who, series in by_who.items()
                if who != other
            }
        found.blocks.append(TimesTable(beside, floor))
        for what, aim in aims.items():
            for kind, ours in (("", _OURS), (f", --warm host={_WARM}", _OURS_WARM)):
                # What was handed out runs a command like any other.
                if kind and what == "exec":
                    continue
                slower = max((table[what][who] for who in ours), key=lambda series: series.percentile(0.5))
                found.answers.append(
                    Answer(
                        f"embedded {what}{kind}",
                        f"p50 of the slower of {' and '.join(_OURS)} ÷ {floor}'s",
                        slower.ratio(table[what][floor]),
                        aim,
                    )
                )
    title = f"An embedded sandbox beside {DOCKER_PY} and {LLM_SANDBOX}"
    found.plots.append(Bars.of("embedded", title, table))
    return found


def _whole(times: Times) -> Times:
    return {_ALL: sum(times.values()), **times}


def _ours(client: SandboxAPI) -> Callable[[], Times]:
    def once() -> Times:
        watch = Watch()
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        watch("start")
        result = client.exec_command(sandbox_id, ["true"])
        watch("exec")
        client.stop_sandbox(sandbox_id)
        watch("stop")
        assert result.exit_code == 0, result
        return _whole(watch.times)

    return once


def _docker_round(peer: Any) -> Times:
    watch = Watch()
    container = peer_start(peer, IMAGE)
    watch("start")
    result = container.exec_run(["true"], demux=True)
    watch("exec")
    container.remove(force=True, v=True)
    watch("stop")
    assert result.exit_code == 0, result
    return _whole(watch.times)

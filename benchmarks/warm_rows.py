"""Starts that are handed a sandbox of a warm pool, beside plain starts by the same runtime."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient, StartType

from .engines import IMAGE, running_engine
from .measure import Table, Times, Watch, aim_at, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

PLAIN: Final = "a plain start"
_IMAGES: Final[dict[StartType, str]] = {"docker": IMAGE, "gvisor": "host"}
_READY: Final = 2
_AIM: Final = 0.1
_PATIENCE_SECONDS: Final = 60.0
_TEXT: Final = f"""\
An orchestrator with `--warm RUNTIME:IMAGE={_READY}` and one without start a sandbox of the same image. The
pool is full before each start."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    pools = [f"--warm={type}:{image}={_READY}" for type, image in _IMAGES.items()]
    tables: list[Table] = []
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        plain = stack.enter_context(serving(docker_host=engine.host))
        warm = stack.enter_context(serving(*pools, docker_host=engine.host))
        floor = stack.enter_context(HTTPClient(address=plain.http))
        clients: list[SandboxAPI] = [
            stack.enter_context(HTTPClient(address=warm.http)),
            stack.enter_context(SandboxClient(address=warm.grpc)),
        ]
        for type in _IMAGES:
            rows: dict[str, Callable[[], Times]] = {PLAIN: partial(_start, floor, type)}
            for client in clients:
                rows[client.__class__.__name__] = partial(_warm, client, type, warm.http)
            tables.append(measured(rows, rounds))
    table = {what: by_who for table in tables for what, by_who in table.items()}
    for by_who in table.values():
        aim_at(by_who, PLAIN, _AIM)
    answers = [Answer.slowest(f"warm {what}", table, PLAIN, {what}, _AIM) for what in table]
    plot = Bars.of("warm", f"Starts from a warm pool beside {PLAIN}", table)
    return Report("Warm pools", _TEXT, [TimesTable(table, PLAIN)], answers, [plot])


def _start(client: SandboxAPI, type: StartType) -> Times:
    watch = Watch()
    sandbox_id = client.start_sandbox(type, _IMAGES[type])
    watch(f"{type} start")
    client.stop_sandbox(sandbox_id)
    return {f"{type} start": watch.times[f"{type} start"]}


def _warm(client: SandboxAPI, type: StartType, address: str) -> Times:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _ready(address) < _READY * len(_IMAGES):
        if time.monotonic() > deadline:
            raise TimeoutError("the pool is not filled")
        time.sleep(0.02)
    return _start(client, type)


def _ready(address: str) -> float:
    """Return how many sandboxes wait."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(r"^flash_sandbox_warm_ready\{.*\} (\S+)$", text, re.M)))

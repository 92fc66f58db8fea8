"""What ``import flash_sandbox`` takes beside ``import httpx``, and that it loads nothing that is not used."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import partial
from typing import Final

from .measure import Times, measured
from .peers import environment
from .report import Answer, AnswersTable, Report, Stacks, TimesTable

__all__ = ["report"]

AIM: Final = 1.2
_OURS: Final = "flash_sandbox"
_PEER: Final = "httpx"
_SHOWN: Final = 7
_LINE: Final = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| ( *)(\S+)")
_GRPC: Final = ("grpclib", "betterproto2", "flash_sandbox_grpc")
_HTTP: Final = ("httpx", "httpcore", "flash_sandbox_http")
_SERVER: Final = ("flash_sandbox.orchestrator", "starlette", "uvicorn", "typer", "structlog")
# What is done, and what is not used by it.
_UNUSED: Final = {
    # httpcore imports h2 wherever that is installed.
    "import flash_sandbox": ("h2", *_GRPC, *_HTTP, *_SERVER),
    "HTTPClient().close()": (*_GRPC, *_SERVER),
    "SandboxClient().close()": (*_HTTP, *_SERVER),
}
_TEXT: Final = f"""\
`python -X importtime`, each in an interpreter of its own, in an environment that has no extra: what it tells
of the module and of all that this imports. The floor is `import {_PEER}`. The second table counts the modules
that were loaded though what was done does not use them: gRPC's and HTTP's libraries and generated code, and
the orchestrator."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    own: dict[str, Counter[str]] = {_PEER: Counter(), _OURS: Counter()}
    table = measured({name: partial(_imported, name, own[name]) for name in own}, rounds)
    by_who = table["import"]
    by_who[_OURS].aim = AIM
    ratio = by_who[_OURS].ratio(by_who[_PEER])
    time = Answer("import", f"`import {_OURS}` p50 ÷ `import {_PEER}`", ratio, AIM)
    unused = [
        Answer("import", f"modules that `{done}` loads and does not use", _loaded(done, names), 0)
        for done, names in _UNUSED.items()
    ]
    plot = Stacks("import", "Where the time of an import goes", "ms", _largest(own, rounds + 1))
    return Report("Import", _TEXT, [TimesTable(table, _PEER), AnswersTable(unused)], [time, *unused], [plot])


def _imported(name: str, own: Counter[str]) -> Times:
    """Import a module once and add what each package took by itself, in microseconds, to `own`."""
    command = [str(environment("alone")), "-I", "-X", "importtime", "-c", f"import {name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = 0
    pending: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        pending[_package(found[4])] += int(found[1])
        if not found[3]:
            # The end of what was imported by nothing else: what came before it belongs to it.
            if found[4] == name:
                own += pending
                whole = int(found[2])
            pending.clear()
    return {"import": whole / 1e6}


def _package(module: str) -> str:
    return module.partition(".")[0]


def _largest(own: dict[str, Counter[str]], times: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of the packages that take longest, and of all the others together."""
    shown = [package for package, _ in (own[_PEER] + own[_OURS]).most_common(_SHOWN)]
    bars = {}
    for name, microseconds in own.items():
        largest = {package: microseconds[package] / times / 1000 for package in shown}
        others = microseconds.total() / times / 1000 - sum(largest.values())
        bars[f"import {name}"] = {**largest, "others": others}
    return bars


def _loaded(done: str, names: tuple[str, ...]) -> int:
    code = f"import sys\nfrom flash_sandbox import *\n{done}\nprint(*sys.modules)"
    command = [str(environment("alone")), "-I", "-c", code]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return sum(f"{module}.".startswith(f"{name}.") for module in modules for name in names)

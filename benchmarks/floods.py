"""What one client without a key can do to others: each flood of ``programs/flood.py``, for some seconds.

Not a part of a whole run: ``python -m benchmarks.floods`` takes 20 seconds for each kind, and
``python -m benchmarks.floods 5 pings`` five for one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final
from urllib.parse import urlsplit

from flash_sandbox import HTTPClient, SandboxClient
from flash_sandbox.errors import SandboxError

from .programs.flood import FLOODS, HELD, HTTP_FLOODS
from .serving import Serving, serving

__all__ = ["KEY", "KINDS", "Flooded", "flood"]

KEY: Final = "flooded"
"""The key of the orchestrator that is flooded."""

_PROGRAM: Final = Path(__file__).parent / "programs" / "flood.py"
_MIB: Final = 1024 * 1024
_SECONDS: Final = 20.0

KINDS: Final = {
    **dict.fromkeys(FLOODS, ("grpc",)),
    **dict.fromkeys(HTTP_FLOODS, ("http",)),
    "idle": ("grpc", "http"),
    "half heads": ("http",),
    "half headers": ("grpc",),
}
"""The kinds of floods, each with the front doors that it is aimed at."""
assert KINDS.keys() == FLOODS.keys() | HTTP_FLOODS.keys() | HELD.keys()


@dataclass(frozen=True)
class Flooded:
    """What a flood did.

    Attributes:
        before: Memory of the orchestrator before the flood, in MiB.
        peak: The most during the flood.
        after: That after it.
        usual: 95th percentile of the time that a call of others takes, without the flood, in milliseconds.
        slowest: The same during the flood.
        new: The same for callers that connect for every call.
        answered: How many calls were answered during the flood.
        failed: What calls that failed said.
        sent: Bytes that the flood sent.
        connections: Over how many connections.
    """

    before: float
    peak: float
    after: float
    usual: float
    slowest: float
    new: float
    answered: int
    failed: tuple[str, ...]
    sent: int
    connections: int


class _Callers:
    """Callers with the key: one a transport that stays, and one that connects for each call."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._clients = (
            HTTPClient(address=server.http, api_key=KEY, max_retries=0),
            SandboxClient(address=server.grpc, api_key=KEY, max_retries=0),
        )
        self._staying: list[Callable[[], object]] = [client.list_sandboxes for client in self._clients]
        self.failed: list[str] = []

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()

    def measure(self, is_over: Callable[[], bool]) -> tuple[float, float, int]:
        """Call until it is over; return the 95th percentiles of both kinds in ms, and the number of calls."""
        staying: list[float] = []
        new: list[float] = []
        while len(staying) < 20 or len(new) < 20 or not is_over():
            for call in self._staying:
                self._time(call, staying)
            self._time(self._anew_http, new)
            self._time(self._anew_grpc, new)
            time.sleep(0.005)
        return _p95(staying), _p95(new), len(staying) + len(new)

    def _time(self, call: Callable[[], object], into: list[float]) -> None:
        began = time.perf_counter()
        try:
            call()
        except SandboxError as error:
            self.failed.append(f"{type(error).__name__}: {error}")
        into.append((time.perf_counter() - began) * 1000)

    def _anew_http(self) -> None:
        with HTTPClient(address=self._server.http, api_key=KEY, max_retries=0) as client:
            client.list_sandboxes()

    def _anew_grpc(self) -> None:
        with SandboxClient(address=self._server.grpc, api_key=KEY, max_retries=0) as client:
            client.list_sandboxes()


def flood(server: Serving, kind: str, seconds: float) -> Flooded:
    """Flood an orchestrator that asks for `KEY` with one kind, at every door that the kind is aimed at.

    Args:
        server: The orchestrator.
        kind: One of `KINDS`.
        seconds: For how long.
    """
    callers = _Callers(server)
    end = time.monotonic() + seconds / 2
    usual, _, _ = callers.measure(lambda: time.monotonic() >= end)
    before = peak = _resident(server.pid)
    ports = {"http": urlsplit(server.http).port, "grpc": urlsplit(f"//{server.grpc}").port}
    floods = [
        subprocess.Popen(
            [sys.executable, str(_PROGRAM), kind, str(ports[door]), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for door in KINDS[kind]
    ]

    def is_over() -> bool:
        nonlocal peak
        peak = max(peak, _resident(server.pid))
        return all(each.poll() is not None for each in floods)

    slowest, new, answered = callers.measure(is_over)
    told = [json.loads(each.communicate()[0]) for each in floods]
    callers.measure(lambda: True)
    callers.close()
    return Flooded(
        before,
        peak,
        _resident(server.pid),
        usual,
        slowest,
        new,
        answered,
        tuple(callers.failed),
        sum(each["sent"] for each in told),
        sum(each["connections"] for each in told),
    )


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1]


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _main(seconds: float, kinds: Sequence[str]) -> None:
    print(
        "kind | MiB before, most, after | p95 in ms: usual, flooded, new | calls, failed | "
        "MiB sent, connections"
    )
    for kind in kinds:
        with serving("--api-key", KEY) as server:
            found = flood(server, kind, seconds)
        print(
            f"{kind} | {found.before:.0f} {found.peak:.0f} {found.after:.0f} | "
            f"{found.usual:.1f} {found.slowest:.1f} {found.new:.1f} | {found.answered} {len(found.failed)} | "
            f"{found.sent / _MIB:.1f} {found.connections}",
            flush=True,
        )
        for said in sorted(set(found.failed))[:3]:
            print("   ", said)


if __name__ == "__main__":
    _main(float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS, sys.argv[2:] or list(KINDS))

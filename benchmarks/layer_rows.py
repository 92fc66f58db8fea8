"""Where the time of one warm get_status goes, layer by layer, for each client."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from flash_sandbox import HTTPClient

from .counts import CLIENTS, warm_call
from .report import Report, SharesTable, Stacks
from .serving import Serving, serving

__all__ = ["lacks_py_spy", "report"]

_CALLS: Final = 1000
_RATE: Final = 400
_SERVER: Final = "the orchestrator"
_REST: Final = "waiting and waking up"
_OTHERS: Final = "others"
# By what the path of a file has in it; what is in none of them belongs to whoever called it.
_LAYERS: Final = {
    "/loop_thread.py": "event loop, threads",
    "flash_sandbox/codecs/": "codec",
    "/generated/": "codec",
    "/betterproto2/": "codec",
    "flash_sandbox/transports/": "transport",
    "/flash_sandbox/": "facade and models",
    "/httpx/": "httpx, httpcore",
    "/httpcore/": "httpx, httpcore",
    "/h11/": "h11",
    "/grpclib/": "grpclib",
    "/h2/": "h2, hpack",
    "/hpack/": "h2, hpack",
    "/hyperframe/": "h2, hpack",
    "/anyio/": "event loop, threads",
    "/asyncio/": "event loop, threads",
    "/concurrent/": "event loop, threads",
    "/threading.py": "event loop, threads",
    "/uvloop/": "event loop, threads",
}
_FRAME: Final = re.compile(r"\((.+?):\d+\)$")
_TEXT: Final = f"""\
The CPU time of one warm get_status, shared out by samples of which of the client's threads runs Python, and
what; what C and Python's own library do is their callers', the kernel's part is shared out in proportion.
`{_SERVER}` is the CPU time of its process for one call. The rest, up to the median of a call, is
`{_REST}`."""


def lacks_py_spy() -> str | None:
    """Return why a process cannot be sampled here, or None."""
    if _py_spy() is None:
        return "there is no py-spy beside this Python (pip install py-spy)"
    return None if os.geteuid() == 0 else "only root may look into another process"


def report(rounds: int, short: bool) -> Report:
    """Sample each client for as many seconds as there are `rounds`."""
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        calls = 50 if short else _CALLS
        bars = {name: _taken_apart(server, sandbox_id, name, calls, rounds) for name in CLIENTS}
        client.stop_sandbox(sandbox_id)
    plot = Stacks("layers", "Where the time of a get_status goes", "µs", bars)
    return Report("Where the time of a call goes", _TEXT, [SharesTable("µs", bars)], plots=[plot])


def _py_spy() -> str | None:
    return shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def _taken_apart(server: Serving, sandbox_id: str, client: str, calls: int, seconds: int) -> dict[str, float]:
    """Return the microseconds of each layer, of the orchestrator and of the rest."""
    before = _cpu_seconds(server.pid)
    line = warm_call("plain", server, sandbox_id, client, "get_status", calls)
    plain: dict[str, Any] = json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)
    # The calls that it warmed up with were the server's, too.
    at_server = (_cpu_seconds(server.pid) - before) / plain["calls"]
    samples = _sampled(warm_call("endless", server, sandbox_id, client, "get_status", calls), seconds)
    found = {layer: plain["cpu"] * samples[layer] / samples.total() for layer in (*_LAYERS.values(), _OTHERS)}
    found |= {_SERVER: at_server, _REST: max(plain["seconds"] - at_server - plain["cpu"], 0.0)}
    return {layer: 1e6 * share for layer, share in found.items()}


def _sampled(line: list[str], seconds: int) -> Counter[str]:
    """Return how often each layer of a program was seen at work."""
    with tempfile.NamedTemporaryFile("r") as file:
        with subprocess.Popen(line, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            program.stdout.readline()
            # Without the lock of the interpreter a thread waits, or is in the kernel.
            command = [str(_py_spy()), "record", "--gil", "--pid", str(program.pid)]
            command += [
                "--duration",
                str(seconds),
                "--rate",
                str(_RATE),
                "--format",
                "raw",
                "--full-filenames",
                "--output",
                file.name,
            ]
            subprocess.run(command, check=True, capture_output=True)
            program.kill()
        samples: Counter[str] = Counter()
        for text in file:
            stack, _, count = text.rpartition(" ")
            samples[_layer(stack)] += int(count)
    return samples


def _layer(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        found = _FRAME.search(frame)
        for part, layer in _LAYERS.items():
            if found is not None and part in found[1]:
                return layer
    return _OTHERS


def _cpu_seconds(pid: int) -> float:
    """Return what all threads of a process have run (Linux, Documentation/scheduler/sched-stats)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in threads) / 1e9

"""What commands print: the first byte, much of it, and answers of several sizes, beside ``docker exec``.

The floor is the program ``docker`` with the same container of the same engine, its output read from a pipe.
"""

from __future__ import annotations

import importlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .docker_rows import serving
from .measure import Series

__all__ = ["OUTPUT_PEER", "STREAM_HEADER", "STREAM_MIB", "output_rows"]

OUTPUT_PEER: Final = "docker exec"
STREAM_MIB: Final = 64
STREAM_HEADER: Final = (
    "| what | who | p50 MiB/s | of the floor's | p95 MiB/s | rounds |\n| --- | --- | --- | --- | --- | --- |"
)
_KIB: Final = (0, 1, 64, 1024)
_STREAM: Final = "stream"
_FIRST_BYTE: Final = "first byte"
_TESTS: Final = Path(__file__).resolve().parents[1] / "tests" / "integration"

Times = dict[str, float]


def output_rows(rounds: int) -> tuple[list[str], list[str]]:
    """Measure `rounds` times and return lines of two Markdown tables: of times, and of throughputs.

    They are empty where this host has no engine.
    """
    sys.path.insert(0, str(_TESTS))
    engines: Any = importlib.import_module("docker_engine")
    missing = engines.missing() or (None if shutil.which("docker") else "there is no docker on PATH")
    if missing:
        print(f"output rows skipped: {missing}")
        return [], []
    with ExitStack() as stack:
        engine = stack.enter_context(engines.running_engine())
        http, grpc = stack.enter_context(serving(engine.host))
        rows: dict[str, Callable[[], Times]] = {}
        for client in (HTTPClient(address=http, timeout=120), SandboxClient(address=grpc, timeout=120)):
            stack.enter_context(client)
            for runtime, image in (("docker", engines.IMAGE), ("bubblewrap", "host")):
                sandbox_id = client.start_sandbox(runtime, image)
                stack.callback(client.stop_sandbox, sandbox_id)
                if not rows:
                    line = ["docker", "--host", engine.host, "exec", f"flash-sandbox-{sandbox_id}"]
                    rows[OUTPUT_PEER] = _peer(line)
                rows[f"{type(client).__name__}, {runtime}"] = _client(client, sandbox_id)
        table = _measured(rows, rounds)
    floors = {what: by_who[OUTPUT_PEER] for what, by_who in table.items()}
    times = [
        series.row(floors[what])
        for what, by_who in table.items()
        for series in by_who.values()
        if what != _STREAM
    ]
    return times, [_throughput(series, floors[_STREAM]) for series in table[_STREAM].values()]


def _measured(rows: dict[str, Callable[[], Times]], rounds: int) -> dict[str, dict[str, Series]]:
    table: dict[str, dict[str, Series]] = {}
    # The first round fills caches and is not counted.
    for number in range(-1, rounds):
        for who in random.sample(list(rows), len(rows)):
            for what, seconds in rows[who]().items():
                by_who = table.setdefault(what, {each: Series(what, each) for each in rows})
                if number >= 0:
                    by_who[who].seconds.append(seconds)
    return table


def _script(kib: int) -> str:
    return f"yes | head -c {kib * 1024}"


def _client(client: SandboxAPI, sandbox_id: str) -> Callable[[], Times]:
    def once() -> Times:
        times: Times = {}
        began = time.perf_counter()
        with client.exec_stream(sandbox_id, "echo; cat", keep_stdin=True) as stream:
            assert [next(stream).type, next(stream).type] == ["started", "stdout"]
            times[_FIRST_BYTE] = time.perf_counter() - began
        for kib in _KIB:
            began = time.perf_counter()
            result = client.exec_command(sandbox_id, _script(kib))
            times[f"exec, {kib} KiB"] = time.perf_counter() - began
            assert len(result.stdout) == kib * 1024
        began = time.perf_counter()
        with client.exec_stream(sandbox_id, _script(STREAM_MIB * 1024)) as stream:
            size = sum(len(frame.data) for frame in stream)
        times[_STREAM] = time.perf_counter() - began
        assert size == STREAM_MIB * 1024 * 1024
        return times

    return once


def _peer(line: list[str]) -> Callable[[], Times]:
    def once() -> Times:
        times: Times = {}
        began = time.perf_counter()
        command = [*line[:-1], "-i", line[-1], "sh", "-c", "echo; cat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"\n"
            times[_FIRST_BYTE] = time.perf_counter() - began
            assert process.stdin is not None
            process.stdin.close()
        for kib in _KIB:
            began = time.perf_counter()
            done = subprocess.run([*line, "sh", "-c", _script(kib)], stdout=subprocess.PIPE, check=True)
            times[f"exec, {kib} KiB"] = time.perf_counter() - began
            assert len(done.stdout) == kib * 1024
        began = time.perf_counter()
        command = [*line, "sh", "-c", _script(STREAM_MIB * 1024)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            size = 0
            while chunk := process.stdout.read(65536):
                size += len(chunk)
        times[_STREAM] = time.perf_counter() - began
        assert size == STREAM_MIB * 1024 * 1024
        return times

    return once


def _throughput(series: Series, floor: Series) -> str:
    p50, p95 = (STREAM_MIB / series.percentile(share) for share in (0.5, 0.95))
    ratio = floor.percentile(0.5) / series.percentile(0.5)
    cells = (series.what, series.who, f"{p50:.0f}", f"{ratio:.2f}", f"{p95:.0f}", str(len(series.seconds)))
    return "| " + " | ".join(cells) + " |"

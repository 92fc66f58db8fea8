"""What commands print: the first byte, much of it, and answers of several sizes, beside ``docker exec``.

The floor is the program ``docker`` with the same container of the same engine, its output read from a pipe.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient
from flash_sandbox.models import StartType

from .engines import IMAGE, running_engine
from .measure import Times, aim_at, measured
from .report import Answer, Bars, RatesTable, Report, TimesTable
from .serving import serving

__all__ = ["report"]

PEER: Final = "docker exec"
_KIB: Final = (0, 1, 64, 1024)
_STREAM: Final = "stream"
_FIRST_BYTE: Final = "first byte"
_AIM_FIRST_BYTE: Final = 0.1
_AIM_STREAM: Final = 1.0
_TEXT: Final = f"""\
The floor is `{PEER}` in the same docker sandbox, read from a pipe: a process for each
command. The rows of the clients have in addition a request to the orchestrator, and what is
printed in frames that tell how the command ended: over HTTP as base64 in JSON."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    stream_mib = 4 if short else 512
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        http, grpc, _ = stack.enter_context(serving(docker_host=engine.host))
        rows: dict[str, Callable[[], Times]] = {}
        for client in (HTTPClient(address=http, timeout=120), SandboxClient(address=grpc, timeout=120)):
            stack.enter_context(client)
            images: dict[StartType, str] = {"docker": IMAGE, "bubblewrap": "host"}
            for runtime, image in images.items():
                sandbox_id = client.start_sandbox(runtime, image)
                stack.callback(client.stop_sandbox, sandbox_id)
                if not rows:
                    line = ["docker", "--host", engine.host, "exec", f"flash-sandbox-{sandbox_id}"]
                    rows[PEER] = _peer(line, stream_mib)
                rows[f"{type(client).__name__}, {runtime}"] = _client(client, sandbox_id, stream_mib)
        table = measured(rows, rounds)
    streams = {_STREAM: table.pop(_STREAM)}
    aim_at(table[_FIRST_BYTE], PEER, _AIM_FIRST_BYTE)
    aim_at(streams[_STREAM], PEER, _AIM_STREAM)
    answers = [
        Answer.slowest("first byte of a command", table, PEER, {_FIRST_BYTE}, _AIM_FIRST_BYTE),
        Answer.lowest_rate(f"{stream_mib} MiB of output", streams[_STREAM], PEER, _AIM_STREAM),
    ]
    return Report(
        "Output of commands",
        f"{_TEXT}\n\n`{_STREAM}` is {stream_mib} MiB by `exec_stream`.",
        [TimesTable(table, PEER), RatesTable(streams, PEER, stream_mib, "MiB/s")],
        answers,
        [
            Bars.of("output", f"What commands print, beside {PEER}", table),
            Bars.of("streams", f"A stream of {stream_mib} MiB, beside {PEER}", streams),
        ],
    )


def _script(kib: int) -> str:
    return f"yes | head -c {kib * 1024}"


def _client(client: SandboxAPI, sandbox_id: str, stream_mib: int) -> Callable[[], Times]:
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
        with client.exec_stream(sandbox_id, _script(stream_mib * 1024)) as stream:
            size = sum(len(frame.data) for frame in stream)
        times[_STREAM] = time.perf_counter() - began
        assert size == stream_mib * 1024 * 1024
        return times

    return once


def _peer(line: list[str], stream_mib: int) -> Callable[[], Times]:
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
        command = [*line, "sh", "-c", _script(stream_mib * 1024)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            size = 0
            while chunk := process.stdout.read(65536):
                size += len(chunk)
        times[_STREAM] = time.perf_counter() - began
        assert size == stream_mib * 1024 * 1024
        return times

    return once

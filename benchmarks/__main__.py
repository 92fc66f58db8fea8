"""Measure sandboxes beside their floors and peers (bare bwrap, docker-py), and write RESULTS.md.

Every round does each measure once, in a random order, so that whatever else the machine does meets
all of them alike. The orchestrator is a process of its own, as in real use.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from flash_sandbox import (
    AsyncHTTPClient,
    AsyncSandboxAPI,
    AsyncSandboxClient,
    HTTPClient,
    SandboxAPI,
    SandboxClient,
)
from flash_sandbox.orchestrator.sandboxing.bwrap import installed_program
from flash_sandbox.orchestrator.sandboxing.cgroups import CgroupError, find_hierarchy

from .docker_rows import PEER, docker_rows
from .file_rows import FILE_HEADER, FILE_PEER, SIZE_MIB, file_rows
from .gvisor_rows import BARE, BESIDE_START, gvisor_rows
from .listing_rows import MANY, STATIC, listing_rows
from .measure import HEADER, Series
from .output_rows import OUTPUT_PEER, STREAM_HEADER, STREAM_MIB, output_rows

T = TypeVar("T")
FLOOR = "bare bwrap, setns, kill"
AIMS = {"start": 4.0, "exec": 3.0, "stop": None}
# A round with Docker takes about a hundred times as long as one without.
_DOCKER_SHARE = 4
# To list them takes less time than to start them.
_LISTING_SHARE = 4
# One with files copies 384 MiB.
_FILE_SHARE = 20
# One with what commands print has 320 MiB of it.
_OUTPUT_SHARE = 10
# One with bare runsc takes three seconds, most of them for its end.
_GVISOR_SHARE = 8
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="how often each is measured (200)")
    parser.add_argument("--dry", action="store_true", help="print the table, write no file")
    parser.add_argument("--only", choices=_REPORTS, help="measure one part alone, and write no file")
    arguments = parser.parse_args()
    chosen = [arguments.only] if arguments.only else _REPORTS
    text = "".join(_REPORTS[part](arguments.rounds) for part in chosen)
    print(text)
    if not arguments.dry and not arguments.only:
        RESULTS.write_text(text)


def _bubblewrap_report(rounds: int) -> str:
    limits = _limits()
    with _serving(limits) as (http, grpc), _floor() as floor:
        return _report(asyncio.run(_measure(http, grpc, floor, rounds)), limits)


async def _measure(
    http: str, grpc: str, floor: Callable[[str], float], rounds: int
) -> dict[str, dict[str, Series]]:
    names = (FLOOR, "HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient")
    table = {
        what: {who: Series(what, who, None if who == FLOOR else AIMS[what]) for who in names} for what in AIMS
    }
    async with AsyncHTTPClient(address=http) as async_http, AsyncSandboxClient(address=grpc) as async_grpc:
        with HTTPClient(address=http) as sync_http, SandboxClient(address=grpc) as sync_grpc:
            sync = {"HTTPClient": sync_http, "SandboxClient": sync_grpc}
            other = {"AsyncHTTPClient": async_http, "AsyncSandboxClient": async_grpc}
            for number in range(-WARM_UP, rounds):
                # The first rounds fill caches and are not counted.
                counted = table if number >= 0 else None
                # The kernel takes namespaces down in the background: nobody always follows the same.
                for who in random.sample(names, len(names)):
                    if who in sync:
                        _sync_round(counted, who, sync[who])
                    elif who in other:
                        await _async_round(counted, who, other[who])
                    else:
                        for what in AIMS:
                            _add(counted, what, FLOOR, floor(what))
    return table


WARM_UP = 5


def _add(table: dict[str, dict[str, Series]] | None, what: str, who: str, seconds: float) -> None:
    if table is not None:
        table[what][who].seconds.append(seconds)


def _sync_round(table: dict[str, dict[str, Series]] | None, who: str, client: SandboxAPI) -> None:
    begun = time.perf_counter()
    sandbox_id = client.start_sandbox("bubblewrap", "host")
    started = time.perf_counter()
    result = client.exec_command(sandbox_id, ["true"])
    executed = time.perf_counter()
    client.stop_sandbox(sandbox_id)
    stopped = time.perf_counter()
    assert result.exit_code == 0, result
    for what, seconds in (
        ("start", started - begun),
        ("exec", executed - started),
        ("stop", stopped - executed),
    ):
        _add(table, what, who, seconds)


async def _async_round(table: dict[str, dict[str, Series]] | None, who: str, client: AsyncSandboxAPI) -> None:
    async def timed(call: Awaitable[T]) -> tuple[T, float]:
        begun = time.perf_counter()
        return await call, time.perf_counter() - begun

    sandbox_id, start = await timed(client.start_sandbox("bubblewrap", "host"))
    result, exec_ = await timed(client.exec_command(sandbox_id, ["true"]))
    _, stop = await timed(client.stop_sandbox(sandbox_id))
    assert result.exit_code == 0, result
    for what, seconds in (("start", start), ("exec", exec_), ("stop", stop)):
        _add(table, what, who, seconds)


def _limits() -> str:
    try:
        find_hierarchy().close()
    except CgroupError:
        return "best-effort"
    return "enforce"


@contextmanager
def _serving(limits: str) -> Iterator[tuple[str, str]]:
    """Serve in a process of its own and yield the two addresses."""
    with tempfile.TemporaryDirectory() as directory, open(os.devnull, "w") as nowhere:
        command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--limits", limits]
        command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", directory]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=nowhere, text=True)
        try:
            assert server.stdout is not None
            text = server.stdout.readline() + server.stdout.readline()
            found = re.fullmatch(r"HTTP\s+(\S+)\ngRPC\s+(\S+)\n", text)
            if found is None:
                raise SystemExit(f"the orchestrator did not start: {text!r}")
            yield found[1], found[2]
        finally:
            server.terminate()
            server.wait()


@contextmanager
def _floor() -> Iterator[Callable[[str], float]]:
    """Run the floor in a bare interpreter and yield what measures it once."""
    program = Path(__file__).with_name("floor.py")
    command = [sys.executable, "-I", "-S", str(program), str(installed_program())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def measure(what: str) -> float:
            stdin.write(what + "\n")
            stdin.flush()
            return float(stdout.readline())

        yield measure
        stdin.close()


def _listing_report(rounds: int) -> str:
    with _serving(_limits()) as (http, grpc):
        rows = listing_rows(http, grpc, max(rounds // _LISTING_SHARE, 1))
    return "\n".join(
        (
            "",
            "## Lists",
            "",
            f"{MANY:,} sandboxes in one page. The floor is {STATIC}, with the same bytes, from Python's own",
            "server, got by httpx and read by json. The rows of the clients have in addition what is known",
            "of each sandbox, checked at both ends, as a frozen model.",
            "",
            HEADER,
            *rows,
            "",
        )
    )


def _docker_report(rounds: int) -> str:
    rows = docker_rows(max(rounds // _DOCKER_SHARE, 1))
    if not rows:
        return ""
    return "\n".join(
        (
            "",
            "## Docker",
            "",
            f"The floor is {PEER} asking the same engine for the same. The rows of the clients have in",
            "addition a request to the orchestrator and its answer, and what is written down to go on",
            "after a kill. NOTES.md tells where the time goes.",
            "",
            HEADER,
            *rows,
            "",
        )
    )


def _file_report(rounds: int) -> str:
    rows = file_rows(max(rounds // _FILE_SHARE, 1))
    if not rows:
        return ""
    return "\n".join(
        (
            "",
            "## Files",
            "",
            f"The floor is `{FILE_PEER}` of the same {SIZE_MIB} MiB into and out of the same container. It",
            "hands the engine the archive, which root of the host unpacks; that of the clients is unpacked",
            "by the sandbox's own processes.",
            "",
            FILE_HEADER,
            *rows,
            "",
        )
    )


def _output_report(rounds: int) -> str:
    times, throughputs = output_rows(max(rounds // _OUTPUT_SHARE, 1))
    if not times:
        return ""
    return "\n".join(
        (
            "",
            "## Output of commands",
            "",
            f"The floor is `{OUTPUT_PEER}` in the same docker sandbox, read from a pipe: a process for each",
            "command. The rows of the clients have in addition a request to the orchestrator, and what is",
            "printed in frames that tell how the command ended: over HTTP as base64 in JSON.",
            "",
            HEADER,
            *times,
            "",
            f"`stream` is {STREAM_MIB} MiB by `exec_stream`.",
            "",
            STREAM_HEADER,
            *throughputs,
            "",
        )
    )


def _gvisor_report(rounds: int) -> str:
    rows = gvisor_rows(max(rounds // _GVISOR_SHARE, 1))
    if not rows:
        return ""
    return "\n".join(
        (
            "",
            "## gVisor",
            "",
            f"The floor is {BARE} doing the same with a bundle of the same kind, a process for each step.",
            "The rows of the clients have in addition limits and their reading back, and a snapshot that is",
            "authenticated, verified, and followed by a sandbox that can go on. `runsc delete` waits until",
            "the host's first process has reaped what it ended; the orchestrator reaps it itself.",
            "",
            f"The floor of `{BESIDE_START}` is the start by the same; NOTES.md tells what is in both.",
            "",
            HEADER,
            *rows,
            "",
        )
    )


def _report(table: dict[str, dict[str, Series]], limits: str) -> str:
    rows = [series.row(by_who[FLOOR]) for by_who in table.values() for series in by_who.values()]
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    return "\n".join(
        (
            "# Results",
            "",
            "Written by `make bench`; not edited. One run on one machine, every row beside its floor:",
            f"{machine}; limits: {limits}; user: {'root' if os.geteuid() == 0 else 'ordinary'}.",
            "",
            "The floor of `start` is bwrap with the same namespaces running `true` to its end; of `exec`,",
            "fork, setns, fork, dropping every privilege and execve of `true`; of `stop`, SIGKILL to PID 1",
            "until everything is reaped. The rows of the clients have in addition a request and its answer,",
            "limits and their reading back, a writable layer, the seccomp filter, output, and clean-up.",
            "",
            HEADER,
            *rows,
            "",
        )
    )


_REPORTS: dict[str, Callable[[int], str]] = {
    "bubblewrap": _bubblewrap_report,
    "lists": _listing_report,
    "docker": _docker_report,
    "files": _file_report,
    "output": _output_report,
    "gvisor": _gvisor_report,
}


if __name__ == "__main__":
    main()

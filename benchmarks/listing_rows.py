"""A list of many sandboxes beside the same bytes from a file: what it takes to know, besides carrying it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .measure import Times, measured
from .report import Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

STATIC: Final = "a file over HTTP"


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    many = 20 if short else 1000
    with (
        serving() as (http, grpc, _),
        HTTPClient(address=http, timeout=60) as over_http,
        SandboxClient(address=grpc, timeout=60) as over_grpc,
        ThreadPoolExecutor(4) as pool,
    ):
        ids = list(pool.map(lambda number: _start(over_http, number), range(many)))
        try:
            with _file_server(http, many) as file:
                rows: dict[str, Callable[[], Times]] = {
                    STATIC: _timed(many, file),
                    "HTTPClient": _timed(many, lambda: _list(over_http, many)),
                    "SandboxClient": _timed(many, lambda: _list(over_grpc, many)),
                }
                table = measured(rows, rounds)
        finally:
            list(pool.map(over_http.stop_sandbox, ids))
    text = "\n".join(
        (
            f"{many:,} sandboxes in one page. The floor is {STATIC}, with the same bytes, from Python's own",
            "server, got by httpx and read by json. The rows of the clients have in addition what is known",
            "of each sandbox, checked at both ends, as a frozen model.",
        )
    )
    plot = Bars.of("lists", f"A list of {many:,} sandboxes beside the same bytes", table)
    return Report("Lists", text, [TimesTable(table, STATIC)], plots=[plot])


def _start(client: SandboxAPI, number: int) -> str:
    return client.start_sandbox("bubblewrap", "host", labels={"number": str(number)}, memory_mb=64)


def _list(client: SandboxAPI, many: int) -> int:
    return len(client.list_sandboxes(page_size=many).sandboxes)


def _timed(many: int, count: Callable[[], int]) -> Callable[[], Times]:
    def once() -> Times:
        began = time.perf_counter()
        found = count()
        seconds = time.perf_counter() - began
        assert found == many, found
        return {f"list of {many:,}": seconds}

    return once


@contextmanager
def _file_server(http: str, many: int) -> Iterator[Callable[[], int]]:
    """Serve what the orchestrator answers as a file, and yield what gets and reads it once."""
    with tempfile.TemporaryDirectory() as directory, httpx.Client(trust_env=False) as client:
        answer = client.get(f"{http}/sandboxes", params={"page_size": many})
        Path(directory, "sandboxes").write_bytes(answer.content)
        command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
        command += ["--directory", directory]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            assert server.stdout is not None
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found is not None
            url = f"http://127.0.0.1:{found[1]}/sandboxes"
            try:
                yield lambda: len(json.loads(client.get(url).content)["sandboxes"])
            finally:
                server.terminate()

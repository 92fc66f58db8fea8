"""A list of many sandboxes beside the same bytes from a file: what it takes to know, besides carrying it."""

from __future__ import annotations

import json
import random
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

from .measure import Series

__all__ = ["MANY", "STATIC", "listing_rows"]

MANY: Final = 1000
STATIC: Final = "a file over HTTP"
_WHAT: Final = f"list of {MANY:,}"


def listing_rows(http: str, grpc: str, rounds: int) -> list[str]:
    """Measure `rounds` times and return lines of a Markdown table.

    Args:
        http: Where an orchestrator listens that has no sandbox.
        grpc: The same, for gRPC.
        rounds: How often each is measured.
    """
    with (
        HTTPClient(address=http, timeout=60) as over_http,
        SandboxClient(address=grpc, timeout=60) as over_grpc,
        ThreadPoolExecutor(4) as pool,
    ):
        ids = list(pool.map(lambda number: _start(over_http, number), range(MANY)))
        try:
            with _file_server(http) as file:
                rows: dict[str, Callable[[], int]] = {
                    STATIC: file,
                    "HTTPClient": lambda: _list(over_http),
                    "SandboxClient": lambda: _list(over_grpc),
                }
                table = _measure(rounds, rows)
        finally:
            list(pool.map(over_http.stop_sandbox, ids))
    return [series.row(table[STATIC]) for series in table.values()]


def _start(client: SandboxAPI, number: int) -> str:
    return client.start_sandbox("bubblewrap", "host", labels={"number": str(number)}, memory_mb=64)


def _list(client: SandboxAPI) -> int:
    return len(client.list_sandboxes(page_size=MANY).sandboxes)


def _measure(rounds: int, rows: dict[str, Callable[[], int]]) -> dict[str, Series]:
    table = {who: Series(_WHAT, who) for who in rows}
    # The first round fills caches and is not counted.
    for number in range(-1, rounds):
        for who in random.sample(list(rows), len(rows)):
            begun = time.perf_counter()
            found = rows[who]()
            seconds = time.perf_counter() - begun
            assert found == MANY, found
            if number >= 0:
                table[who].seconds.append(seconds)
    return table


@contextmanager
def _file_server(http: str) -> Iterator[Callable[[], int]]:
    """Serve what the orchestrator answers as a file, and yield what gets and reads it once."""
    with tempfile.TemporaryDirectory() as directory, httpx.Client(trust_env=False) as client:
        answer = client.get(f"{http}/sandboxes", params={"page_size": MANY})
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

"""Copies into docker sandboxes and out of them, beside ``docker cp`` of the same with the same engine."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .docker_rows import serving
from .measure import Series

__all__ = ["FILE_HEADER", "FILE_PEER", "SIZE_MIB", "file_rows"]

FILE_PEER: Final = "docker cp"
SIZE_MIB: Final = 64
FILE_HEADER: Final = (
    "| what | who | p50 MiB/s | of the floor's | p95 MiB/s | rounds |\n| --- | --- | --- | --- | --- | --- |"
)
_INSIDE: Final = "/root/file"
_TESTS: Final = Path(__file__).resolve().parents[1] / "tests" / "integration"

Times = dict[str, float]


def file_rows(rounds: int) -> list[str]:
    """Measure `rounds` times and return lines of a Markdown table; none where this host has no engine."""
    sys.path.insert(0, str(_TESTS))
    engines: Any = importlib.import_module("docker_engine")
    missing = engines.missing() or (None if shutil.which("docker") else "there is no docker on PATH")
    if missing:
        print(f"file rows skipped: {missing}")
        return []
    table: dict[str, dict[str, Series]] = {}
    with (
        engines.running_engine() as engine,
        serving(engine.host) as (http, grpc),
        HTTPClient(address=http, timeout=120) as over_http,
        SandboxClient(address=grpc, timeout=120) as over_grpc,
        tempfile.TemporaryDirectory() as directory,
    ):
        source, copy = Path(directory, "source"), Path(directory, "copy")
        source.write_bytes(os.urandom(SIZE_MIB * 1024 * 1024))
        sandbox_id = over_http.start_sandbox("docker", engines.IMAGE)
        inside = f"flash-sandbox-{sandbox_id}:{_INSIDE}"

        def peer(*paths: str) -> None:
            subprocess.run(["docker", "--host", engine.host, "cp", "--quiet", *paths], check=True)

        def client_round(client: SandboxAPI) -> Times:
            return _round(
                lambda: client.upload(sandbox_id, source, _INSIDE),
                lambda: client.download(sandbox_id, _INSIDE, copy),
            )

        rows: dict[str, Callable[[], Times]] = {
            FILE_PEER: lambda: _round(lambda: peer(str(source), inside), lambda: peer(inside, str(copy))),
            "HTTPClient": lambda: client_round(over_http),
            "SandboxClient": lambda: client_round(over_grpc),
        }
        for what in ("upload", "download"):
            table[what] = {who: Series(what, who) for who in rows}
        # The first round fills caches and is not counted.
        for number in range(-1, rounds):
            for who in random.sample(list(rows), len(rows)):
                for what, seconds in rows[who]().items():
                    if number >= 0:
                        table[what][who].seconds.append(seconds)
                assert copy.read_bytes() == source.read_bytes()
                copy.unlink()
        over_http.stop_sandbox(sandbox_id)
    return [_row(series, by_who[FILE_PEER]) for by_who in table.values() for series in by_who.values()]


def _round(upload: Callable[[], None], download: Callable[[], None]) -> Times:
    began = time.perf_counter()
    upload()
    uploaded = time.perf_counter()
    download()
    return {"upload": uploaded - began, "download": time.perf_counter() - uploaded}


def _row(series: Series, floor: Series) -> str:
    p50, p95 = (SIZE_MIB / series.percentile(share) for share in (0.5, 0.95))
    ratio = floor.percentile(0.5) / series.percentile(0.5)
    cells = (series.what, series.who, f"{p50:.0f}", f"{ratio:.2f}", f"{p95:.0f}", str(len(series.seconds)))
    return "| " + " | ".join(cells) + " |"

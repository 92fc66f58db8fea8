"""Copies into docker sandboxes and out of them, beside ``docker cp`` of the same with the same engine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .engines import IMAGE, running_engine
from .measure import Times, aim_at, measured
from .report import Answer, Bars, RatesTable, Report
from .serving import serving

__all__ = ["report"]

PEER: Final = "docker cp"
_AIM: Final = 1.0
_INSIDE: Final = "/root/file"


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    size_mib = 4 if short else 256
    with (
        running_engine() as engine,
        serving(docker_host=engine.host) as (http, grpc, _),
        HTTPClient(address=http, timeout=120) as over_http,
        SandboxClient(address=grpc, timeout=120) as over_grpc,
        tempfile.TemporaryDirectory() as directory,
    ):
        source, copy = Path(directory, "source"), Path(directory, "copy")
        source.write_bytes(os.urandom(size_mib * 1024 * 1024))
        sandbox_id = over_http.start_sandbox("docker", IMAGE)
        inside = f"flash-sandbox-{sandbox_id}:{_INSIDE}"

        def peer(*paths: str) -> None:
            subprocess.run(["docker", "--host", engine.host, "cp", "--quiet", *paths], check=True)

        def checked(upload: Callable[[], None], download: Callable[[], None]) -> Times:
            times = _round(upload, download)
            assert copy.read_bytes() == source.read_bytes()
            copy.unlink()
            return times

        def client_round(client: SandboxAPI) -> Times:
            return checked(
                lambda: client.upload(sandbox_id, source, _INSIDE),
                lambda: client.download(sandbox_id, _INSIDE, copy),
            )

        rows: dict[str, Callable[[], Times]] = {
            PEER: lambda: checked(lambda: peer(str(source), inside), lambda: peer(inside, str(copy))),
            "HTTPClient": lambda: client_round(over_http),
            "SandboxClient": lambda: client_round(over_grpc),
        }
        table = measured(rows, rounds)
        over_http.stop_sandbox(sandbox_id)
    text = "\n".join(
        (
            f"The floor is `{PEER}` of the same {size_mib} MiB into and out of the same container. It",
            "hands the engine the archive, which root of the host unpacks; that of the clients is unpacked",
            "by the sandbox's own processes.",
        )
    )
    for by_who in table.values():
        aim_at(by_who, PEER, _AIM)
    answers = [Answer.lowest_rate(f"docker {what}", by_who, PEER, _AIM) for what, by_who in table.items()]
    plot = Bars.of("files", f"Copies of {size_mib} MiB beside {PEER}", table)
    return Report("Files", text, [RatesTable(table, PEER, size_mib, "MiB/s")], answers, [plot])


def _round(upload: Callable[[], None], download: Callable[[], None]) -> Times:
    began = time.perf_counter()
    upload()
    uploaded = time.perf_counter()
    download()
    return {"upload": uploaded - began, "download": time.perf_counter() - uploaded}

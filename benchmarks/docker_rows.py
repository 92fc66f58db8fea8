"""Docker sandboxes beside docker-py, the engine's own Python library, doing the same with the same engine.

Both ask for the same container: the same limits, no capability, no network, an init. The engine is one of the
benchmark's own, as the tests start it.
"""

from __future__ import annotations

import importlib
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .measure import Series

__all__ = ["PEER", "docker_rows", "serving"]

PEER: Final = "docker-py"
AIM: Final = 1.05
WHATS: Final = ("start", "first exec", "exec", "metrics", "snapshot", "restore", "stop")
_IMAGE: Final = "busybox:latest"
_MEMORY_MB: Final = 256
_TESTS: Final = Path(__file__).resolve().parents[1] / "tests" / "integration"

Times = dict[str, float]


def docker_rows(rounds: int) -> list[str]:
    """Measure `rounds` times and return lines of a Markdown table; none where this host has no engine."""
    sys.path.insert(0, str(_TESTS))
    engines: Any = importlib.import_module("docker_engine")
    try:
        docker: Any = importlib.import_module("docker")
    except ModuleNotFoundError:
        print("docker rows skipped: pip install docker")
        return []
    missing = engines.missing()
    if missing:
        print(f"docker rows skipped: {missing}")
        return []
    table: dict[str, dict[str, Series]] = {}
    with engines.running_engine() as engine, serving(engine.host) as (http, grpc):
        peer = docker.DockerClient(base_url=engine.host)
        with HTTPClient(address=http) as over_http, SandboxClient(address=grpc) as over_grpc:
            rows: dict[str, Callable[[], Times]] = {
                PEER: lambda: _peer_round(peer),
                "HTTPClient": lambda: _round(over_http),
                "SandboxClient": lambda: _round(over_grpc),
            }
            for what in WHATS:
                table[what] = {who: Series(what, who, None if who == PEER else AIM) for who in rows}
            # The first round fills caches and is not counted.
            for number in range(-1, rounds):
                for who in random.sample(list(rows), len(rows)):
                    for what, seconds in rows[who]().items():
                        if number >= 0:
                            table[what][who].seconds.append(seconds)
        peer.close()
    return [series.row(by_who[PEER]) for by_who in table.values() for series in by_who.values()]


class _Watch:
    """Notes the time between one call of it and the next, under a name."""

    def __init__(self) -> None:
        self.times: Times = {}
        self._last = time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        self.times[what] = now - self._last
        self._last = time.perf_counter()


def _round(client: SandboxAPI) -> Times:
    watch = _Watch()
    sandbox_id = client.start_sandbox("docker", _IMAGE, memory_mb=_MEMORY_MB)
    watch("start")
    client.exec_command(sandbox_id, ["true"])
    watch("first exec")
    result = client.exec_command(sandbox_id, ["true"])
    watch("exec")
    client.get_metrics(sandbox_id)
    watch("metrics")
    path = client.snapshot_sandbox(sandbox_id).snapshot_path
    watch("snapshot")
    copy = client.start_sandbox("docker", snapshot_path=path, memory_mb=_MEMORY_MB)
    watch("restore")
    client.stop_sandbox(copy)
    watch("stop")
    client.stop_sandbox(sandbox_id)
    assert result.exit_code == 0, result
    return watch.times


def _peer_round(peer: Any) -> Times:
    watch = _Watch()
    container = _peer_start(peer, _IMAGE)
    watch("start")
    container.exec_run(["true"], demux=True)
    watch("first exec")
    result = container.exec_run(["true"], demux=True)
    watch("exec")
    container.stats(stream=False, one_shot=True)
    watch("metrics")
    container.pause()
    tag = secrets.token_hex(8)
    image = container.commit("peer", tag, pause=False)
    watch("snapshot")
    copy = _peer_start(peer, image.id)
    watch("restore")
    copy.remove(force=True, v=True)
    watch("stop")
    container.remove(force=True, v=True)
    peer.images.remove(f"peer:{tag}", force=True)
    assert result.exit_code == 0, result
    return watch.times


def _peer_start(peer: Any, image: str) -> Any:
    return peer.containers.run(
        image,
        ["tail", "-f", "/dev/null"],
        entrypoint=[],
        detach=True,
        cap_drop=["ALL"],
        cgroupns="private",
        init=True,
        ipc_mode="private",
        log_config={"Type": "local", "Config": {"max-size": "1m", "max-file": "1", "compress": "false"}},
        mem_limit=_MEMORY_MB * 1024 * 1024,
        memswap_limit=_MEMORY_MB * 1024 * 1024,
        nano_cpus=1_000_000_000,
        network_mode="none",
        pids_limit=512,
        security_opt=["no-new-privileges"],
    )


@contextmanager
def serving(docker_host: str) -> Iterator[tuple[str, str]]:
    """Serve in a process of its own and yield the two addresses."""
    with tempfile.TemporaryDirectory() as directory, open(os.devnull, "w") as nowhere:
        command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--limits", "best-effort"]
        command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", directory]
        environment = os.environ | {"DOCKER_HOST": docker_host}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=nowhere, text=True)
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

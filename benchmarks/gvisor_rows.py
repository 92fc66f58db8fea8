"""gVisor sandboxes beside bare ``runsc`` commands that do the same with the same bundle."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient
from flash_sandbox.orchestrator.runtimes.gvisor import GvisorRuntime

from .measure import Series

__all__ = ["BARE", "BESIDE_START", "gvisor_rows"]

BARE: Final = "bare runsc"
AIMS: Final[dict[str, float | None]] = {
    "start": 1.25,
    "first exec": None,
    "exec": 1.25,
    "metrics": None,
    "snapshot": None,
    "restore": 1.25,
    "stop": None,
}
# A snapshot that was just made, and is in memory still.
BESIDE_START: Final = "restore ÷ start"
AIM_BESIDE_START: Final = 1.0

Times = dict[str, float]


def gvisor_rows(rounds: int) -> list[str]:
    """Measure `rounds` times and return lines of a Markdown table; none where this host has no gVisor."""
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(GvisorRuntime(Path(directory) / "probe").check())
        if not found.available:
            print(f"gvisor rows skipped: {found.detail}")
            return []
        platform = re.search(r"platform (\w+)", found.detail)
        assert platform is not None
        bare = _Bare(Path(directory) / "bare", platform[1])
        with (
            _serving(Path(directory) / "state") as (http, grpc),
            HTTPClient(address=http, timeout=60) as over_http,
            SandboxClient(address=grpc, timeout=60) as over_grpc,
        ):
            measures: dict[str, Callable[[], Times]] = {
                BARE: bare.round,
                "HTTPClient": lambda: _round(over_http),
                "SandboxClient": lambda: _round(over_grpc),
            }
            table = _measure(rounds, measures)
    rows = [series.row(by_who[BARE]) for by_who in table.values() for series in by_who.values()]
    return rows + [_beside_start(table, who) for who in table["restore"]]


def _beside_start(table: dict[str, dict[str, Series]], who: str) -> str:
    aim = None if who == BARE else AIM_BESIDE_START
    return Series(BESIDE_START, who, aim, table["restore"][who].seconds).row(table["start"][who])


def _measure(rounds: int, rows: dict[str, Callable[[], Times]]) -> dict[str, dict[str, Series]]:
    table = {
        what: {who: Series(what, who, None if who == BARE else aim) for who in rows}
        for what, aim in AIMS.items()
    }
    # The first round fills caches and is not counted.
    for number in range(-1, rounds):
        for who in random.sample(list(rows), len(rows)):
            for what, seconds in rows[who]().items():
                if number >= 0:
                    table[what][who].seconds.append(seconds)
    return table


class _Watch:
    """Notes the time between one call of it and the next, under a name."""

    def __init__(self) -> None:
        self.times: Times = {}
        self._last = time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        self.times[what] = now - self._last
        self._last = now


def _round(client: SandboxAPI) -> Times:
    watch = _Watch()
    sandbox_id = client.start_sandbox("gvisor", "host")
    watch("start")
    assert client.exec_command(sandbox_id, ["true"]).exit_code == 0
    watch("first exec")
    assert client.exec_command(sandbox_id, ["true"]).exit_code == 0
    watch("exec")
    client.get_metrics(sandbox_id)
    watch("metrics")
    path = client.snapshot_sandbox(sandbox_id).snapshot_path
    watch("snapshot")
    restored = client.start_sandbox("gvisor", snapshot_path=path)
    watch("restore")
    client.stop_sandbox(restored)
    watch("stop")
    client.stop_sandbox(sandbox_id)
    return watch.times


class _Bare:
    """The same with ``runsc`` alone, one process for each step, in a bundle of the same kind."""

    def __init__(self, directory: Path, platform: str) -> None:
        self._bundle = directory / "bundle"
        self._images = directory / "images"
        self._line = ["runsc", f"--root={directory}/root", f"--platform={platform}", "--network=none"]
        self._line += ["--ignore-cgroups", "--overlay2=root:memory"]
        self._count = 0
        self._write_bundle()

    def round(self) -> Times:
        self._count += 1
        one, two, image = f"one{self._count}", f"two{self._count}", self._images / str(self._count)
        image.mkdir(parents=True)
        watch = _Watch()
        self._run("run", "--detach", f"--bundle={self._bundle}", one)
        watch("start")
        self._run("exec", one, "true")
        watch("first exec")
        self._run("exec", one, "true")
        watch("exec")
        self._run("events", "--stats", one)
        watch("metrics")
        self._run("checkpoint", f"--image-path={image}", one)
        watch("snapshot")
        self._run("restore", "--detach", f"--bundle={self._bundle}", f"--image-path={image}", two)
        watch("restore")
        self._run("delete", "--force", two)
        watch("stop")
        self._run("delete", "--force", one)
        shutil.rmtree(image)
        return watch.times

    def _run(self, *arguments: str) -> None:
        # A null device of its own: runsc gives the one that it gets to nobody, by a change of owner.
        path = self._bundle.with_name("null")
        if not path.exists():
            os.mknod(path, stat.S_IFCHR | 0o600, os.stat(os.devnull).st_rdev)
        with path.open("r+b", buffering=0) as nowhere:
            line = [*self._line, *arguments]
            subprocess.run(line, check=True, stdin=nowhere, stdout=nowhere, stderr=nowhere)

    def _write_bundle(self) -> None:
        root = self._bundle / "rootfs"
        for name in ("usr", "proc", "dev", "tmp", "etc", "root"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                (root / name).symlink_to(os.readlink(f"/{name}"))
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        ]
        process = {"args": ["tail", "-f", "/dev/null"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
        config = {
            "ociVersion": "1.0.2",
            "process": process | {"env": ["PATH=/usr/bin:/bin"], "capabilities": {}},
            "root": {"path": "rootfs"},
            "hostname": "bare",
            "mounts": mounts,
            "linux": {"namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")]},
        }
        (self._bundle / "config.json").write_text(json.dumps(config))


@contextmanager
def _serving(state_dir: Path) -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--http-port", "0", "--grpc-port", "0"]
    command += ["--state-dir", str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            text = server.stdout.readline() + server.stdout.readline()
            found = re.fullmatch(r"HTTP\s+(\S+)\ngRPC\s+(\S+)\n", text)
            if found is None:
                raise SystemExit(f"the orchestrator did not start: {text!r}")
            yield found[1], found[2]
        finally:
            server.terminate()

"""gVisor sandboxes beside bare ``runsc`` commands that do the same with the same bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient, SandboxAPI, SandboxClient

from .engines import gvisor_found
from .measure import Series, Table, Times, Watch, aim_at, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report"]

BARE: Final = "bare runsc"
AIM: Final = 1.15
# runsc starts anew for each command; the agent is there already.
AIM_EXEC: Final = 0.25
# A snapshot that was just made, and is in memory still.
AIM_BESIDE_START: Final = 1.0
_TEXT: Final = f"""\
The floor is {BARE} doing the same with a bundle of the same kind, a process for each step.
The rows of the clients have in addition limits and their reading back, and a snapshot that is
authenticated, verified, and followed by a sandbox that can go on. `runsc delete` waits until
the host's first process has reaped what it ended; the orchestrator reaps it itself.

The second table has restores beside starts by the same; NOTES.md tells what is in both."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    platform = re.search(r"platform (\w+)", gvisor_found()[1])
    assert platform is not None
    with (
        tempfile.TemporaryDirectory() as directory,
        serving() as (http, grpc, _),
        HTTPClient(address=http, timeout=60) as over_http,
        SandboxClient(address=grpc, timeout=60) as over_grpc,
    ):
        rows: dict[str, Callable[[], Times]] = {
            BARE: _Bare(Path(directory), platform[1]).round,
            "HTTPClient": lambda: _round(over_http),
            "SandboxClient": lambda: _round(over_grpc),
        }
        table = measured(rows, rounds)
    for what, by_who in table.items():
        aim_at(by_who, BARE, AIM_EXEC if "exec" in what else AIM)
    answers = [
        Answer.slowest("gvisor rows", table, BARE, table.keys() - {"first exec", "exec"}, AIM),
        Answer.slowest("gvisor exec", table, BARE, {"exec"}, AIM_EXEC),
    ]
    # Its end by bare runsc takes longer than all the rest.
    shown = {what: by_who for what, by_who in table.items() if what != "stop"}
    plot = Bars.of("gvisor", f"gVisor sandboxes beside {BARE}", shown)
    beside = TimesTable(_beside_start(table), "start")
    return Report("gVisor", _TEXT, [TimesTable(table, BARE), beside], answers, [plot])


def _beside_start(table: Table) -> Table:
    beside: Table = {}
    for who in table["restore"]:
        aim = None if who == BARE else AIM_BESIDE_START
        beside[who] = {
            "start": Series(who, "start", None, table["start"][who].seconds),
            "restore": Series(who, "restore", aim, table["restore"][who].seconds),
        }
    return beside


def _round(client: SandboxAPI) -> Times:
    watch = Watch()
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
        # Of all hosts' sandboxes that share a network namespace none may have the same.
        own = f"{os.getpid()}-{self._count}"
        one, two, image = f"one-{own}", f"two-{own}", self._images / str(self._count)
        image.mkdir(parents=True)
        watch = Watch()
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

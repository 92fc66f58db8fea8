"""Snapshots and forks of a sandbox that has changed much, beside a plain start and a plain copy."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flash_sandbox import HTTPClient

from .engines import sharing_disk
from .measure import Table, Times, measured
from .report import Answer, Bars, Report, TimesTable
from .serving import serving

__all__ = ["report", "report_sharing"]

START: Final = "a plain start"
COPY: Final = "cp -a"
_FORKS: Final = 10
FORK: Final = f"fork, each of {_FORKS}"
SHARE: Final = f"cp -a ÷ {_FORKS} + {START}"
_FILE_BYTES: Final = 20 * 1024
_PATIENCE_SECONDS: Final = 300.0
_START_AIM: Final = 1.5
_COPY_AIM: Final = 1.2
_SHARED_AIM: Final = 0.2


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    directories = 2 if short else 200
    with tempfile.TemporaryDirectory(prefix="copied-") as name:
        starts, copies = _tables(rounds, directories, Path(name))
    answers = _answers(starts, copies, _COPY_AIM)
    shared = starts[FORK]["HTTPClient"].ratio(starts[FORK][SHARE])
    answers.append(Answer(FORK, f"p50 ÷ {SHARE}", shared, _COPY_AIM))
    text = "\n".join(
        (
            f"A bubblewrap sandbox with {100 * directories:,} changed files of {_FILE_BYTES // 1024} KiB.",
            "A fork copies its files once, and all forks start from that: where the file system shares no",
            f"blocks (reflinks), none can take less than `{SHARE}`. A start from a snapshot is from one",
            "that something was started from before.",
        )
    )
    plot = Bars.of("forks", "Starts from a snapshot, and forks, beside a plain start", starts)
    return Report("Forks", text, [TimesTable(starts, START), TimesTable(copies, COPY)], answers, [plot])


def report_sharing(rounds: int, short: bool) -> Report:
    """Measure the same on a file system that shares blocks, `rounds` times."""
    directories = 2 if short else 200
    with tempfile.TemporaryDirectory(prefix="shared-") as name, sharing_disk(Path(name, "disk")) as disk:
        starts, copies = _tables(rounds, directories, disk)
    answers = _answers(starts, copies, _SHARED_AIM, " with reflinks")
    text = "\n".join(
        (
            "The same on an XFS with reflinks, in a file of this host's file system. `cp -a` shares blocks",
            "there, too.",
        )
    )
    plot = Bars.of("reflinks", "Starts from a snapshot, and forks, with reflinks", starts)
    blocks = [TimesTable(starts, START), TimesTable(copies, COPY)]
    return Report("Forks with reflinks", text, [*blocks], answers, [plot])


def _tables(rounds: int, directories: int, place: Path) -> tuple[Table, Table]:
    """Return the times of starts and of copies, with all files in a directory."""
    with (
        serving(state_dir=place / "state") as server,
        HTTPClient(address=server.http, timeout=_PATIENCE_SECONDS) as client,
    ):
        sandbox = client.start_sandbox("bubblewrap", "host")
        try:
            fill = f"mkdir /w && cd /w && head -c {_FILE_BYTES} /dev/urandom > /r && {_filled(directories)}"
            client.exec_command(sandbox, fill, timeout=_PATIENCE_SECONDS).check()
            tree = place / "tree"
            client.download(sandbox, "/w", tree)
            rows: dict[str, Callable[[], Times]] = {
                START: lambda: _start(client),
                SHARE: lambda: {FORK: _copy(tree)["snapshot"] / _FORKS + _start(client)[FORK]},
                "HTTPClient": lambda: _fork(client, sandbox),
            }
            starts = measured(rows, rounds)
            rows = {COPY: lambda: _copy(tree), "HTTPClient": lambda: _snapshot(client, sandbox)}
            return starts, measured(rows, rounds)
        finally:
            client.stop_sandbox(sandbox)


def _answers(starts: Table, copies: Table, copy_aim: float, where: str = "") -> list[Answer]:
    answers = []
    for what in ("a start from its snapshot", FORK):
        ours, floor = starts[what]["HTTPClient"], starts[what][START]
        ours.aim = _START_AIM
        answers.append(Answer(what + where, f"p50 ÷ {START}", ours.ratio(floor), _START_AIM))
    ours, floor = copies["snapshot"]["HTTPClient"], copies["snapshot"][COPY]
    ours.aim = copy_aim
    answers.append(Answer("a snapshot" + where, f"p50 ÷ {COPY}", ours.ratio(floor), copy_aim))
    return answers


def _filled(directories: int) -> str:
    files = "for j in $(seq 100); do cp /r d$i/f$j; done"
    return f"for i in $(seq {directories}); do mkdir d$i; {files}; done"


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _start(client: HTTPClient) -> Times:
    ids: list[str] = []
    seconds = _seconds(lambda: ids.append(client.start_sandbox("bubblewrap", "host")))
    client.stop_sandbox(ids[0])
    return {"a start from its snapshot": seconds, FORK: seconds}


def _fork(client: HTTPClient, sandbox: str) -> Times:
    ids: list[str] = []
    each = _seconds(lambda: ids.extend(client.fork_sandbox(sandbox, _FORKS))) / _FORKS
    path = client.snapshot_sandbox(ids[0]).snapshot_path
    client.stop_sandbox(client.start_sandbox("bubblewrap", snapshot_path=path))
    from_snapshot = _seconds(lambda: ids.append(client.start_sandbox("bubblewrap", snapshot_path=path)))
    for sandbox_id in ids:
        client.stop_sandbox(sandbox_id)
    client.remove_snapshot(path)
    return {"a start from its snapshot": from_snapshot, FORK: each}


def _snapshot(client: HTTPClient, sandbox: str) -> Times:
    paths: list[str] = []
    seconds = _seconds(lambda: paths.append(client.snapshot_sandbox(sandbox).snapshot_path))
    client.resume_sandbox(sandbox)
    client.remove_snapshot(paths[0])
    return {"snapshot": seconds}


def _copy(tree: Path) -> Times:
    copy = tree.with_name("copy")
    seconds = _seconds(lambda: subprocess.run(["cp", "-a", str(tree), str(copy)], check=True))
    shutil.rmtree(copy)
    return {"snapshot": seconds}

"""Programs in cgroups of version 2: what a kill reaches, and what stays of a cgroup."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import Host, running_agent


@pytest.fixture
def directory(need) -> Iterator[Path]:
    """Make a directory of cgroup v2."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        roots = [Path(line.split()[1]) for line in mounts if line.split()[2] == "cgroup2"]
    missing = None if roots and os.access(roots[0], os.W_OK) else "there is no cgroup v2 to write to"
    need("cgroup2", missing)
    made = roots[0] / f"agent-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


@pytest.fixture
def host(checked_agent: Path, directory: Path) -> Iterator[Host]:
    """Run an agent whose programs are in cgroups."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with running_agent(checked_agent, cgroup=descriptor) as running:
            yield running
    finally:
        os.close(descriptor)


def groups(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


def test_a_program_tells_how_it_ended(host: Host) -> None:
    assert host.sh("echo out; echo err >&2; exit 7").ended.status == 7
    ended = host.sh("kill -9 $$").ended
    assert ended is not None
    assert (ended.status, ended.signal, ended.unknown) == (128 + signal.SIGKILL, signal.SIGKILL, False)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"argv": [b"/no/such"]}, guest.NotRun.PROGRAM),
        ({"argv": [b"true"], "cwd": b"/no/such"}, guest.NotRun.DIRECTORY),
        ({"argv": [b"true"], "user": b"nobody-knows"}, guest.NotRun.USER),
    ],
)
def test_a_program_that_cannot_be_run_says_why(host: Host, options: dict, why: guest.NotRun) -> None:
    argv = options.pop("argv")
    result = host.run(*argv, **options)
    assert (result.ended.not_run, result.pid) == (why, 0)


def test_the_program_is_a_child_of_the_agent(host: Host) -> None:
    assert host.sh("echo $PPID").stdout == b"1\n"


def test_a_kill_reaches_what_a_program_has_hidden_and_nothing_else(host: Host, directory: Path) -> None:
    other = host.start("sh", "-c", "echo other; read x", takes_input=True)
    host.wait_for_output(other, b"other")
    task = host.start(
        "sh", "-c", "setsid sh -c '(setsid sleep 4714 &) & sleep 4714' & echo hidden; sleep 4714"
    )
    host.wait_for_output(task, b"hidden")
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL
    assert groups(directory) == [str(other)]
    assert host.sh("pgrep -fc '^sleep 4714'").stdout == b"0\n"
    host.write(other, b"", end=True)
    assert host.finish(other).status == 1


def test_a_kill_ends_what_forks_on(host: Host) -> None:
    go_on = 'setsid sh -c "$0" "$0" & exit'
    script = """echo go; for n in 1 2 3 4 5 6 7 8; do setsid sh -c 'eval "$0"' "$0" & done; sleep 4715"""
    task = host.start("sh", "-c", script, go_on)
    host.wait_for_output(task, b"go")
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL
    assert int(host.sh("ls -d /proc/[0-9]* | wc -l").stdout) < 10


def test_a_cgroup_goes_with_the_last_that_is_in_it(host: Host, directory: Path) -> None:
    left = host.sh("sleep 600 >/dev/null 2>&1 & echo $!")
    assert left.status == 0
    assert len(groups(directory)) == 1
    host.sh(f"kill {left.stdout.decode()}")
    while groups(directory):
        host.sh("true")

"""The agent answers although its sandbox has used up its processes or its memory."""

from __future__ import annotations

import asyncio
import errno
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import Host, running_agent

from flash_sandbox.orchestrator.linux.cgroups import find_hierarchy
from flash_sandbox.orchestrator.linux.limits import MIB, Limits

Need = Callable[[str, str | None], None]

_PIDS = 48
_SECONDS = 10.0


@pytest.fixture
def crowded(agent: Path, attacker: Path, limits: str, need: Need) -> Iterator[Host]:
    """Run an agent beside an attacker in a cgroup of 48 processes and 64 MiB."""
    need("cgroup", None if limits == "enforce" else "there is no cgroup")
    hierarchy = find_hierarchy()
    group = hierarchy.create("agent", Limits(memory_bytes=64 * MIB, cpu_cores=1.0, pids=_PIDS))
    join = "".join(f"echo 0 > {shlex.quote(file)}; " for file in group.join_files)
    mount = ("--ro-bind", str(attacker), "/tmp/attacker")
    try:
        with running_agent(agent, "/", *mount, before=["sh", "-ec", f'{join}exec "$@"', "sh"]) as host:
            yield host
    finally:
        asyncio.run(group.remove())
        hierarchy.close()


def _ping(host: Host) -> None:
    began = time.monotonic()
    host.ping()
    assert time.monotonic() - began < _SECONDS


def test_a_fork_bomb_leaves_the_agent_responsive(crowded: Host) -> None:
    bomb = crowded.start("/tmp/attacker", "fork")
    # It has taken every process that there is, when no other one can be started.
    while (refused := crowded.file(guest.FileKind.STAT, "/")).status == 0:
        pass
    assert refused.status == errno.EAGAIN
    _ping(crowded)
    program = crowded.run("true")
    assert (program.status, program.ended.not_run) == (126, guest.NotRun.PROGRAM)
    assert program.stderr == b"flash-sandbox: start a process: Resource temporarily unavailable\n"
    crowded.send(bomb, kill=guest.Kill())
    assert crowded.finish(bomb).ended.signal == signal.SIGKILL
    while crowded.run("echo", "hi").stdout != b"hi\n":
        pass


def test_programs_that_fill_memory_end_before_the_agent(crowded: Host) -> None:
    hogs = [crowded.start("/tmp/attacker", "fill") for _ in range(4)]
    for hog in hogs:
        assert crowded.finish(hog).ended.signal == signal.SIGKILL
        _ping(crowded)
    while crowded.run("echo", "hi").stdout != b"hi\n":
        pass

"""A sandbox whose image holds nothing."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import Host, agent_of, running_agent

from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an empty root."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def bare(agent: Path, attacker: Path, root: Path) -> Iterator[Host]:
    """Run an agent in a root without /dev, /proc and /tmp."""
    command = [str(installed_program()), "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid"]
    command += ["--die-with-parent", "--as-pid-1", "--clearenv", "--bind", str(root), "/"]
    command += ["--ro-bind", str(attacker), "/attacker", "--ro-bind", str(agent), "/agent", "/agent"]
    with agent_of(command) as host:
        yield host


def test_an_empty_root_has_files_and_programs(agent: Path, root: Path) -> None:
    for name in ("dev", "proc", "tmp"):
        (root / name).mkdir()
    with running_agent(agent, root) as host:
        assert host.file(guest.FileKind.WRITE, "/tmp/file", b"content").status == 0
        assert host.file(guest.FileKind.READ, "/tmp/file").content == b"content"
        assert host.file(guest.FileKind.ENTER, "/", list=True).status == 0
        assert host.run("sh").status == 127
        # A static program needs nothing else: the agent is one, and is not PID 1 here.
        started = host.run("/tmp/agent")
        assert (started.status, b"process 1" in started.stderr) == (2, True)


def test_without_anything_mounted_there_are_files_and_programs(bare: Host) -> None:
    assert bare.guarded
    assert bare.file(guest.FileKind.MAKE, "/a", mode=0o040755).status == 0
    assert bare.file(guest.FileKind.WRITE, "/a/file", b"content").status == 0
    assert bare.file(guest.FileKind.READ, "/a/file").content == b"content"
    assert bare.file(guest.FileKind.READ, "/b").status == errno.ENOENT
    assert bare.run("/attacker", "0", cwd=b"/a", user=b"0").status == 0
    assert bare.run("/attacker", "0", user=b"somebody").ended.not_run == guest.NotRun.USER
    assert bare.run("attacker", "0", path="/").status == 0


def test_without_proc_a_program_is_ended_all_the_same(bare: Host) -> None:
    task = bare.start("/attacker", "wait")
    while not bare.tasks[task].pid:
        bare.take()
    bare.send(task, kill=guest.Kill())
    assert bare.finish(task).ended.signal == signal.SIGKILL


def test_without_devices_a_terminal_is_refused_with_a_word(bare: Host) -> None:
    result = bare.run("/attacker", "0", terminal=guest.Terminal(rows=24, columns=80))
    assert (result.status, result.ended.not_run) == (126, guest.NotRun.PROGRAM)
    assert result.stderr == b"flash-sandbox: start a process: No such file or directory\n"

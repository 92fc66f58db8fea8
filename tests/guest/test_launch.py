"""What the agent's program does on the way to bwrap, and what it says of a step that fails."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

LIMIT = str(resource.RLIMIT_NOFILE)


def launch(agent: Path, *steps: str) -> subprocess.CompletedProcess[str]:
    command = [str(agent), "--launch", *steps]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_the_last_step_becomes_a_program_without_an_environment(agent: Path) -> None:
    done = launch(agent, "exec", "/usr/bin/env")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_limit_is_no_higher_than_it_was(agent: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    show = ("exec", "/bin/sh", "-c", "ulimit -S -n; ulimit -H -n")
    assert launch(agent, "limit", LIMIT, "60", "70", *show).stdout == "60\n70\n"
    assert launch(agent, "limit", LIMIT, "60", str(hard + 1), *show).stdout == f"60\n{hard}\n"


def test_it_runs_on_the_cpus_that_are_named(agent: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    done = launch(agent, "cpu", str(cpu), "exec", "/usr/bin/grep", "Cpus_allowed_list", "/proc/self/status")
    assert done.stdout.split()[1] == str(cpu)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (("join", "/nowhere/tasks"), "join /nowhere/tasks: No such file or directory"),
        (("exec", "/nowhere/bwrap"), "start /nowhere/bwrap: No such file or directory"),
        (("bind", "/nowhere", "/proc/bound"), "bind /nowhere: No such file or directory"),
        (("jump", "/nowhere"), "understand jump: Invalid argument"),
        (("limit", LIMIT, "60"), "understand limit: Invalid argument"),
        (("limit", LIMIT, "60", "70"), "do nothing: Invalid argument"),
    ],
)
def test_a_step_that_fails_is_told_and_the_last(agent: Path, steps: tuple[str, ...], said: str) -> None:
    done = launch(agent, *steps)
    assert (done.returncode, done.stdout, done.stderr) == (126, "", f"launcher: {said}\n")


def test_an_operand_may_hold_anything(agent: Path, tmp_path: Path) -> None:
    file = tmp_path / "a b\n'\"$;exec\\"
    file.write_text("")
    assert launch(agent, "join", str(file), "exec", "/bin/true").returncode == 0
    assert file.read_text() == "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts here")
def test_a_volume_is_what_was_opened_and_not_what_has_its_name_now(agent: Path, tmp_path: Path) -> None:
    volume, base = tmp_path / "volume", tmp_path / "base"
    base.mkdir()
    volume.mkdir()
    (volume / "file").write_text("opened")
    descriptor = os.open(volume, os.O_PATH | os.O_DIRECTORY)
    volume.rename(tmp_path / "moved")
    volume.mkdir()
    (volume / "file").write_text("another")
    steps = ["base", str(base), "volume", str(descriptor), f"{base}/0", "0", "run", "cat", f"{base}/0/file"]
    command = [str(agent), "--launch", *steps]
    done = subprocess.run(
        command, pass_fds=[descriptor], capture_output=True, text=True, check=False, timeout=30
    )
    os.close(descriptor)
    assert (done.stdout, done.stderr) == ("opened", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts here")
def test_a_volume_that_was_removed_is_told(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "volume").mkdir()
    descriptor = os.open(tmp_path / "volume", os.O_PATH | os.O_DIRECTORY)
    (tmp_path / "volume").rmdir()
    steps = ["base", f"{tmp_path}/base", "volume", str(descriptor), f"{tmp_path}/base/0", "0", "done"]
    command = [str(agent), "--launch", *steps]
    done = subprocess.run(
        command, pass_fds=[descriptor], capture_output=True, text=True, check=False, timeout=30
    )
    os.close(descriptor)
    assert (done.returncode, "find the directory of a volume again" in done.stderr) == (126, True)

"""The program that watches over a command's processes: run here, as it is run in a sandbox."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.gvisor import supervisor

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc") or platform.machine() != "x86_64", reason="it is for Linux on x86_64"
)
ENVIRONMENT = {"PATH": "/nonexistent:/usr/bin:/bin", "NAME": "value"}


@pytest.fixture
def installed(tmp_path) -> Path:
    assert supervisor.install(tmp_path / "supervisor")
    return tmp_path / "supervisor"


def run(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    line = supervisor.supervised(command, ENVIRONMENT)
    assert line[0] == supervisor.INSIDE
    return subprocess.run(
        [installed, *line[1:]], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize(
    ("command", "stdout", "stderr", "status"),
    [
        (["echo", "a b", "", "-x"], "a b  -x\n", "", 0),
        (["sh", "-c", "exit 7"], "", "", 7),
        (["sh", "-c", "exit 255"], "", "", 255),
        (["sh", "-c", "kill -9 $$"], "", "", 128 + 9),
        (["sh", "-c", "kill -15 $$"], "", "", 128 + 15),
        (["sh", "-c", "echo $0 $NAME"], "sh value\n", "", 0),
        (["/bin/sh", "-c", "echo $0"], "/bin/sh\n", "", 0),
        (["no-such-program"], "", "no-such-program: not found\n", 127),
        (["/no/such/program"], "", "/no/such/program: not found\n", 127),
        (["/etc/passwd"], "", "/etc/passwd: cannot be run\n", 126),
        (["/etc"], "", "/etc: cannot be run\n", 126),
    ],
)
def test_it_ends_as_the_command_ends(installed, command, stdout, stderr, status):
    done = run(installed, *command)
    assert (done.stdout, done.stderr, done.returncode) == (stdout, stderr, status)


ORPHAN = """
import os
read, write = os.pipe()
child = os.fork()
if child == 0:
    child = os.getpid()
    if os.fork() == 0:
        while os.getppid() == child:
            pass
        os.write(write, str(os.getppid()).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.getppid(), os.read(read, 20).decode())
"""


def test_it_takes_the_orphans_of_the_command(installed):
    supervising, new_parent = run(installed, sys.executable, "-c", ORPHAN).stdout.split()
    assert new_parent == supervising


def test_it_does_not_wait_for_what_the_command_leaves_behind(installed):
    done = run(installed, "sh", "-c", "sleep 30 > /dev/null 2>&1 & echo $!")
    assert done.returncode == 0
    os.kill(int(done.stdout), 9)


def test_without_arguments_it_is_idle(installed):
    process = subprocess.Popen([installed], env={})
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    finally:
        process.kill()
        process.wait()

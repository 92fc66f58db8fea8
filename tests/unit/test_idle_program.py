"""The program that idles in a sandbox tells that it runs, takes notice of its children's end, and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machines import MACHINES, Need, command_line, need_machine

from flash_sandbox.orchestrator.sandboxing import idle


@pytest.fixture(params=MACHINES)
def command(request: pytest.FixtureRequest, need: Need, tmp_path: Path) -> list[str]:
    """The program of a machine."""
    need_machine(request.param, need)
    path = tmp_path / "idle"
    path.write_bytes(idle.program(request.param))
    path.chmod(0o755)
    return command_line(request.param, path)


# Becomes the program; where it is to tell, with a pipe at its number, and a child that ends with its input.
START = """
import os, sys
told_by, number, *command = sys.argv[1:]
if int(told_by) >= 0:
    os.dup2(int(told_by), int(number))
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
os.closerange(int(number) + 1, 256)
os.execvp(command[0], command)
"""


@contextmanager
def started(command: list[str], told_by: int) -> Iterator[subprocess.Popen[bytes]]:
    start = [sys.executable, "-c", START, str(told_by), str(idle.READY_FD), *command]
    given = [told_by] if told_by >= 0 else []
    with subprocess.Popen(start, stdin=subprocess.PIPE, pass_fds=given) as process:
        try:
            yield process
        finally:
            process.kill()


def children(process: subprocess.Popen[bytes]) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def test_it_tells_that_it_runs_and_reaps_its_children(command: list[str]) -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as told, started(command, write_end) as process:
        os.close(write_end)
        assert len(told.read(1)) == 1
        assert len(children(process)) == 1
        assert process.stdin is not None
        process.stdin.close()
        while children(process):
            time.sleep(0.01)
        # Its end of the pipe is closed, and it runs on.
        assert told.read() == b""
        assert process.poll() is None


def test_it_runs_where_nobody_is_told(command: list[str]) -> None:
    with started(command, -1) as process:
        line = Path(f"/proc/{process.pid}/cmdline")
        while line.read_bytes().split(b"\0")[0] != command[0].encode():
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)

"""The agent as ziglang compiles it, for this machine and, run by an emulator, for the other."""

from __future__ import annotations

import platform
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import ROOT, Answers, Host, running_agent

from hatch_build import MACHINES, compile_agent, zig_compiler

Need = Callable[[str, str | None], None]

# The first test waits until the agent is compiled, with its libc.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=MACHINES)
def foreign(
    request: pytest.FixtureRequest, agent: Path, need: Need, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """Run an agent compiled by ziglang, where it is PID 1 of a sandbox that shows this host's files."""
    emulator = None
    if request.param != platform.machine():
        emulator = shutil.which(f"qemu-{request.param}")
        need("qemu", None if emulator else f"qemu-{request.param} is not on PATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZIG_GLOBAL_CACHE_DIR", str(ROOT / "build" / "zig"))
        target = tmp_path_factory.mktemp("foreign") / "agent"
        built = compile_agent(target, zig_compiler(request.param), "-static", "-s", "-Werror")
    # The emulator takes the place of the command, whose first argument the agent then is.
    with running_agent(built, "/", *filter(None, [emulator])) as host:
        yield host


def test_it_runs_programs(foreign: Host) -> None:
    result = foreign.sh("cat; echo problem >&2; exit 7", stdin=b"input", cwd=b"/usr")
    assert (result.status, result.stdout, result.stderr) == (7, b"input", b"problem\n")


def test_it_runs_programs_side_by_side(foreign: Host) -> None:
    started = [foreign.start("sh", "-c", f"head -c {number * 10_000} /dev/zero") for number in range(20)]
    for number, task in enumerate(started):
        assert len(foreign.finish(task).stdout) == number * 10_000


def test_it_gives_a_terminal(foreign: Host) -> None:
    result = foreign.run("stty", "size", terminal=guest.Terminal(rows=37, columns=111))
    assert result.stdout == b"37 111\r\n"


def test_it_sends_signals(foreign: Host) -> None:
    script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done"
    task = foreign.start("sh", "-c", script)
    foreign.wait_for_output(task, b"ready")
    foreign.send(task, signal=guest.Signal(number=signal.SIGUSR1))
    result = foreign.finish(task)
    assert (result.status, result.stdout) == (5, b"ready\ncaught\n")


def test_it_ends_all_that_a_program_has_started(foreign: Host) -> None:
    # Each has a parent that lives: the emulator knows no subreapers, to which others would fall.
    task = foreign.start("sh", "-c", "setsid sh -c 'sleep 4741 & echo started; wait' & wait")
    foreign.wait_for_output(task, b"started")
    foreign.send(task, kill=guest.Kill())
    assert foreign.finish(task).ended.signal == signal.SIGKILL
    while foreign.sh("pgrep -fc '^sleep 4741'").stdout != b"0\n":
        pass


def test_it_writes_and_reads_files(foreign: Host) -> None:
    content = bytes(range(256)) * 2000
    assert foreign.file(guest.FileKind.MAKE, "/tmp/a", mode=0o040755).status == 0
    assert foreign.file(guest.FileKind.WRITE, "/tmp/a/b", content, mode=0o640).status == 0
    assert foreign.file(guest.FileKind.READ, "/tmp/a/b").content == content
    entry = foreign.file(guest.FileKind.STAT, "/tmp/a/b").entry
    assert (entry.size, entry.mode & 0o7777) == (len(content), 0o640)
    listed = Answers(foreign.file(guest.FileKind.ENTER, "/tmp/a", list=True).stdout).entries()
    assert [entry.name for entry in listed] == [b"", b"b"]


def test_it_connects_to_ports(foreign: Host) -> None:
    server = "import socket; s = socket.create_server(('127.0.0.1', 8000)); print('up', flush=True); "
    task = foreign.start("python3", "-c", server + "s.accept()[0].sendall(b'hello')")
    foreign.wait_for_output(task, b"up")
    connection = foreign.new_task()
    foreign.send(connection, dial=guest.Dial(port=8000, window=1000))
    foreign.write(connection, b"", end=True)
    assert foreign.finish(connection).stdout == b"hello"
    foreign.finish(task)

"""Root of a sandbox cannot trace, signal, read, slow down or limit the agent, nor forge a result."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import flash_sandbox_guest as guest
import pytest
from agents import WINDOW, Host, running_agent

Need = Callable[[str, str | None], None]

_NUMBER_OF_ATTACKS: Final = 23


@pytest.fixture
def attacked(agent: Path, attacker: Path) -> Iterator[Host]:
    """Run an agent beside an attacker, which is root and finds itself as ``/tmp/attacker``."""
    with running_agent(agent, "/", "--ro-bind", str(attacker), "/tmp/attacker") as host:
        yield host


@pytest.fixture(params=["64", "32"])
def numbers(request: pytest.FixtureRequest, attacker: Path, need: Need) -> list[str]:
    """Return the attacker's arguments for one set of numbers of system calls."""
    if request.param == "64":
        return []
    works = subprocess.run([attacker], check=False).returncode == 0
    need("32-bit", None if works else "the kernel takes no system calls of 32-bit programs")
    return ["32"]


def _attack(host: Host, target: int, numbers: list[str]) -> dict[str, int]:
    result = host.run("/tmp/attacker", str(target), *numbers)
    assert (result.status, result.stderr) == (0, b"")
    lines = [line.split(": ") for line in result.stdout.decode().splitlines()]
    return {name: int(error) for name, error in lines}


def _python(host: Host, script: str) -> str:
    result = host.run("python3", "-c", script)
    assert (result.status, result.stderr) == (0, b"")
    return result.stdout.decode()


def test_no_call_reaches_the_agent(attacked: Host, numbers: list[str]) -> None:
    assert attacked.guarded
    state = "cat /proc/1/limits /proc/1/oom_score_adj; cut -d' ' -f 18,19,40,41 /proc/1/stat"
    before = attacked.sh(state).stdout
    errors = _attack(attacked, 1, numbers)
    assert errors == dict.fromkeys(errors, errno.EPERM)
    assert len(errors) == _NUMBER_OF_ATTACKS
    assert attacked.sh(state).stdout == before


def test_every_call_reaches_an_own_child(attacked: Host, numbers: list[str]) -> None:
    errors = _attack(attacked, 0, numbers)
    # It is traced already when it is attached to.
    assert [name for name, error in errors.items() if error == errno.EPERM] == ["ptrace, to attach"]


def test_a_number_of_x32_does_not_lead_around_the_filter(attacked: Host, need: Need) -> None:
    need("x86_64", None if os.uname().machine == "x86_64" else "only x86_64 has x32")
    script = f"""import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.syscall(0x40000000 | 62, 1, 9), ctypes.get_errno() == {errno.ENOSYS})"""
    assert _python(attacked, script.replace("\n    ", "\n")) == "-1 True\n"


@pytest.mark.parametrize("of", ["1", "$PPID"])
def test_nothing_of_the_agent_and_of_supervisors_can_be_read(attacked: Host, of: str) -> None:
    files = "mem environ maps smaps auxv io stack syscall personality fd/3 fd/4 fd/5 fdinfo/3"
    script = f"for f in {files}; do cat /proc/{of}/$f; done; "
    script += f"for f in root cwd exe fd/3 ns/pid; do readlink /proc/{of}/$f; done"
    assert attacked.sh(script).stdout == b""


def test_a_program_may_trace_its_children(attacked: Host, need: Need) -> None:
    need("strace", None if Path("/usr/bin/strace").exists() else "there is no strace")
    result = attacked.run("strace", "-f", "-e", "trace=execve", "sh", "-c", "true; env true")
    assert result.status == 0
    assert result.stderr.count(b"execve(") == 3


# What the agent connects to knows it by a descriptor, where the kernel has SO_PEERPIDFD (77).
_PEER = """
import ctypes, errno, os, signal, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind("/tmp/socket")
    listener.listen()
    print("listening", flush=True)
    connection, _ = listener.accept()
pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
print(pid)
pidfd = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, 77, 4))[0]
for number in range(3, 20):
    assert libc.syscall(438, pidfd, number, 0) == -1 and ctypes.get_errno() == errno.EPERM
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGCHLD):
    assert libc.syscall(424, pidfd, number, None, 0) == 0
print("tried")
"""


def test_whom_the_agent_connects_to_gets_no_hold_of_it(attacked: Host, need: Need) -> None:
    server = attacked.start("python3", "-c", _PEER)
    attacked.wait_for_output(server, b"listening")
    connection = attacked.new_task()
    attacked.send(connection, dial=guest.Dial(path=b"/tmp/socket", window=WINDOW))
    result = attacked.finish(server)
    need("SO_PEERPIDFD", "the kernel has no SO_PEERPIDFD" if b"not available" in result.stderr else None)
    assert (result.stdout, result.stderr) == (b"listening\n1\ntried\n", b"")
    attacked.ping()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT])
def test_signals_to_all_spare_the_agent(attacked: Host, number: signal.Signals) -> None:
    task = attacked.start("sh", "-c", f"kill -{int(number)} -1; exit 0")
    attacked.ping()
    # Its supervisor may stand still, too.
    attacked.send(task, kill=guest.Kill())
    ended = attacked.finish(task).ended
    assert ended.unknown or (ended.signal, ended.status) in [(0, 0), (signal.SIGKILL, 137)]
    assert attacked.run("echo", "hi").stdout == b"hi\n"


def test_an_ordinary_users_agent_is_guarded_as_well(agent: Path, attacker: Path, need: Need) -> None:
    need("root", None if os.geteuid() == 0 else "only root can act as another user")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    with tempfile.TemporaryDirectory() as shared, ExitStack() as stack:
        Path(shared).chmod(0o755)
        agent, attacker = (Path(shutil.copy(program, shared)) for program in (agent, attacker))
        mount = ("--ro-bind", str(attacker), "/tmp/attacker")
        host = stack.enter_context(running_agent(agent, "/", *mount, before=as_nobody))
        assert host.guarded
        assert set(_attack(host, 1, []).values()) == {errno.EPERM}
        assert host.sh("cat /proc/1/environ /proc/1/maps /proc/1/fd/3").stdout == b""
        assert host.sh("cat /proc/self/oom_score_adj /proc/1/oom_score_adj").stdout == b"500\n0\n"
        assert host.file(guest.FileKind.WRITE, "/tmp/file", b"content").status == 0


# Supervisors


@pytest.mark.parametrize("left", ["", "(setsid sleep 4713 &); ", "setsid sh -c 'sleep 4713 & wait' & "])
def test_who_kills_the_supervisor_gets_no_false_result(host: Host, left: str) -> None:
    result = host.sh(f"{left}kill -9 $PPID; sleep 4713; exit 0")
    assert (result.ended.unknown, result.ended.signal) == (True, signal.SIGKILL)
    while host.sh("pgrep -fc '^sleep 4713'").stdout != b"0\n":
        pass


def test_who_stops_the_supervisor_stops_no_result(host: Host) -> None:
    result = host.sh("kill -STOP $PPID; kill -STOP $PPID; echo stopped; exit 5")
    assert (result.status, result.stdout, result.ended.unknown) == (5, b"stopped\n", False)


def test_a_supervisor_that_is_being_stopped_is_ended_all_the_same(host: Host) -> None:
    task = host.start("sh", "-c", "echo stopping; while :; do kill -STOP $PPID; done")
    host.wait_for_output(task, b"stopping")
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL


def test_who_continues_what_was_stopped_is_ended_all_the_same(attacked: Host) -> None:
    task = attacked.start("sh", "-c", "/tmp/attacker continue & echo begun; wait")
    attacked.wait_for_output(task, b"begun")
    while attacked.sh("pgrep -xc attacker").stdout != b"4\n":
        pass
    attacked.send(task, kill=guest.Kill())
    assert attacked.finish(task).ended.signal == signal.SIGKILL
    while attacked.sh("pgrep -xc attacker").stdout != b"0\n":
        pass

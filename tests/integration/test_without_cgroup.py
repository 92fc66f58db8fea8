"""Where a host gives no cgroup: sandboxes are limited by what they use, paused and ended all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inside import running, wait_until

from flash_sandbox import ConflictError, HTTPClient, SandboxAPI, SandboxClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.linux import cgroups

MIB = 1024 * 1024
# Takes so many MiB, touches them all, and keeps them.
HOLD = "$x = 'x' x ($ARGV[0] * 1024 * 1024); $| = 1; print 'has it'; sleep 1000"


@pytest.fixture(scope="module")
def without_cgroup() -> Iterator[Orchestrator]:
    def find_none(*_: object) -> cgroups.Hierarchy:
        raise cgroups.CgroupError("this test gives none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroups, "find_hierarchy", find_none)
        with running_orchestrator(limits="best-effort") as running:
            yield running


@pytest.fixture(scope="module", params=[HTTPClient, SandboxClient], ids=["http", "grpc"])
def client(request: pytest.FixtureRequest, without_cgroup: Orchestrator) -> Iterator[SandboxAPI]:
    over_http = request.param is HTTPClient
    address = without_cgroup.http_address if over_http else without_cgroup.grpc_address
    with request.param(address=address) as client:
        yield client


def of_host(command: str) -> list[Path]:
    """Return the directories in /proc of this host's processes that have a command line."""
    line = command.replace(" ", "\0").encode() + b"\0"
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes() == line:
                found.append(path)
        except OSError:
            continue
    return found


def state(process: Path) -> str:
    """Return the letter of its state (proc_pid_stat(5))."""
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


def test_what_takes_too_much_memory_is_ended_and_that_is_told(client: SandboxAPI) -> None:
    with running(client, memory_mb=64) as sandbox_id:
        result = client.exec_command(sandbox_id, ["perl", "-e", HOLD, "256"])
        assert (result.exit_code, result.oom_killed) == (137, True)
        assert client.get_status(sandbox_id) == "running"
        assert client.exec_command(sandbox_id, ["echo", "on"]).stdout == "on\n"


def test_all_processes_together_are_limited(client: SandboxAPI) -> None:
    begun = "open(my $file, '>', qq(/tmp/begun.$$));"
    holders = 'for i in 1 2 3 4; do perl -e "$HOLD" 50 > /dev/null 2>&1 & done'
    look = "ls /tmp/begun.* | wc -l; grep -l perl /proc/[0-9]*/comm | wc -l"
    with running(client, memory_mb=128) as sandbox_id:
        client.exec_command(sandbox_id, ["sh", "-c", holders], env={"HOLD": begun + HOLD})

        def only_some_are_left() -> bool:
            begun, left = map(int, client.exec_command(sandbox_id, ["sh", "-c", look]).stdout.split())
            return begun == 4 and left <= 2

        wait_until(only_some_are_left, "at least two of four to be ended")
        metrics = client.get_metrics(sandbox_id)
        assert metrics.memory_usage_bytes <= metrics.memory_limit_bytes == 128 * MIB


def test_memory_that_processes_share_counts_once(client: SandboxAPI) -> None:
    sharing = "$x = 'x' x (40 * 1024 * 1024); for (1 .. 9) { fork || sleep 1000 } sleep 1000"
    with running(client, memory_mb=128) as sandbox_id:
        client.exec_command(sandbox_id, ["sh", "-c", 'perl -e "$IT" > /dev/null 2>&1 &'], env={"IT": sharing})

        def count() -> int:
            look = ["sh", "-c", "grep -l perl /proc/[0-9]*/comm | wc -l"]
            return int(client.exec_command(sandbox_id, look).stdout)

        wait_until(lambda: count() == 10, "each process to be there")
        # Sampled every few milliseconds meanwhile.
        for _ in range(20):
            client.exec_command(sandbox_id, ["true"])
        assert count() == 10
        metrics = client.get_metrics(sandbox_id)
        assert 40 * MIB < metrics.memory_usage_bytes <= metrics.memory_limit_bytes


@pytest.mark.parametrize(
    "program",
    {
        # As Node.js and a JVM do.
        "address space": "import mmap; mmap.mmap(-1, 8 << 30, mmap.MAP_PRIVATE, 0)",
        "stacks of threads": (
            "import threading as t; e = t.Event(); a = [t.Thread(target=e.wait) for _ in range(100)]; "
            "[b.start() for b in a]; e.set()"
        ),
    }.values(),
    ids=["address space", "stacks of threads"],
)
def test_what_is_reserved_and_not_used_does_not_count(client: SandboxAPI, program: str) -> None:
    with running(client, memory_mb=128) as sandbox_id:
        result = client.exec_command(sandbox_id, ["python3", "-c", program])
        assert result.exit_code == 0, result.stderr


def test_one_process_cannot_ask_for_far_too_much(client: SandboxAPI) -> None:
    with running(client, memory_mb=64) as sandbox_id:
        result = client.exec_command(sandbox_id, ["python3", "-c", "bytearray(2 << 30)"])
        assert "MemoryError" in result.stderr
        # Not touched, it takes none.
        untouched = 'ulimit -d unlimited; python3 -c "import mmap; mmap.mmap(-1, 8 << 30, mmap.MAP_PRIVATE)"'
        assert client.exec_command(sandbox_id, ["sh", "-c", untouched]).exit_code == 0


def test_pause_stops_every_process(client: SandboxAPI) -> None:
    with running(client) as sandbox_id:
        command = f"sleep 1000.{int(sandbox_id, 16) % 10**9}"
        client.exec_command(sandbox_id, ["sh", "-c", f"setsid {command} > /dev/null 2>&1 &"])
        wait_until(lambda: of_host(command), "the process to be there")
        (process,) = of_host(command)
        assert state(process) in "SR"
        client.pause_sandbox(sandbox_id)
        assert state(process) == "T"
        client.resume_sandbox(sandbox_id)
        assert state(process) in "SR"


def test_a_command_that_is_given_up_ends_with_all_it_has_started(client: SandboxAPI) -> None:
    with running(client) as sandbox_id:
        command = f"sleep 1000.{int(sandbox_id, 16) % 10**9}"
        # Its parent ends, and it is in another session.
        script = f"(setsid {command} > /dev/null 2>&1 &); touch /tmp/started; sleep 1000"
        for patience in (1, 4, 16):
            assert client.exec_command(sandbox_id, ["sh", "-c", script], timeout=patience).timed_out
            # A busy machine may not have come that far.
            if client.exec_command(sandbox_id, ["test", "-e", "/tmp/started"]).exit_code == 0:
                break
        else:
            pytest.fail("the command was not started")
        wait_until(lambda: not of_host(command), "what the command has started to be gone")


# Has a timer of its own wake it (a stopped process is woken by SIGCONT alone) to change its files meanwhile.
WAKES_ITSELF = """
import ctypes, os, signal, time
class Event(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("rest", ctypes.c_char * 52)]
class Times(ctypes.Structure):
    _fields_ = [("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2)]
libc = ctypes.CDLL(None)
signal.signal(signal.SIGCONT, lambda *_: None)
# Each of them once: what is pending of one when the process is stopped is taken back.
for number in range(1500):
    timer = ctypes.c_void_p()
    libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(Event(0, signal.SIGCONT)), ctypes.byref(timer))
    seconds, rest = divmod(number * 10, 1000)
    first = (ctypes.c_long * 2)(seconds, rest * 1000000 + 1)
    libc.timer_settime(timer, 0, ctypes.byref(Times((ctypes.c_long * 2)(0, 0), first)), None)
open("/root/ready", "w").close()
while True:
    try:
        os.rename("/root/file", "/root/aside")
        os.symlink("/etc/shadow", "/root/file")
        os.unlink("/root/file")
        os.rename("/root/aside", "/root/file")
    except OSError:
        pass
"""


def test_what_wakes_itself_is_not_saved_as_if_it_were_at_rest(client: SandboxAPI) -> None:
    with running(client) as sandbox_id:
        many = "cd /root && seq 1000 | split -a 4 -l 1 && seq 100000 > file"
        assert client.exec_command(sandbox_id, ["sh", "-c", many]).exit_code == 0
        before = client.list_snapshots()
        client.start_process(sandbox_id, ["python3", "-c", WAKES_ITSELF])
        ready = ["test", "-e", "/root/ready"]
        wait_until(lambda: client.exec_command(sandbox_id, ready).exit_code == 0, "the timers")
        with pytest.raises(ConflictError):
            client.snapshot_sandbox(sandbox_id)
        assert client.list_snapshots() == before
        assert client.exec_command(sandbox_id, ["echo", "on"]).stdout == "on\n"


def test_what_is_at_rest_is_saved(client: SandboxAPI) -> None:
    with running(client) as sandbox_id:
        client.exec_command(sandbox_id, ["sh", "-c", "echo kept > /root/file; (while :; do :; done) &"])
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with running(client, snapshot_path=path) as copy:
            assert client.exec_command(copy, ["cat", "/root/file"]).stdout == "kept\n"
        client.remove_snapshot(path)

"""How much memory the agent takes, busy and idle."""

from __future__ import annotations

from pathlib import Path

import flash_sandbox_guest as guest
from agents import Host, running_agent

_IDLE_KB = 160
_KEPT = 1_048_576


def _memory_kb(host: Host, script: str = "") -> int:
    """Return how many KiB the agent has of its own, as a program sees it."""
    task = host.start("sh", "-c", f"{script} grep RssAnon /proc/1/status", window=_KEPT)
    return int(host.finish(task).stdout.split()[1])


def _memory_when_idle(host: Host) -> int:
    # It gives memory back when it has had nothing to do for 100 ms.
    measured = [_memory_kb(host, "sleep 0.2;")]
    while measured[-1] > _IDLE_KB and len(measured) < 20:
        measured.append(_memory_kb(host, "sleep 0.2;"))
    return measured[-1]


def test_an_idle_agent_has_given_back_what_it_has_used(agent: Path) -> None:
    with running_agent(agent) as host:
        assert len(host.run("head", "-c", str(100 << 20), "/dev/zero").stdout) == 100 << 20
        assert host.run("cat", stdin=bytes(50 << 20)).status == 0
        assert host.file(guest.FileKind.WRITE, "/tmp/file", bytes(20 << 20)).status == 0
        variables = [b"PATH=/usr/bin", *(b"A%d=" % number + bytes([65]) * 100_000 for number in range(18))]
        assert host.run("true", env=variables).status == 0
        tasks = [host.start("cat", takes_input=True) for _ in range(30)]
        for task in tasks:
            host.write(task, bytes(200_000), end=True)
        for task in tasks:
            host.finish(task)
        assert _memory_when_idle(host) <= _IDLE_KB


def test_a_running_program_holds_no_memory_of_the_agents(agent: Path) -> None:
    with running_agent(agent) as host:
        variables = [b"PATH=/usr/bin", *(b"A%d=" % number + bytes([65]) * 100_000 for number in range(18))]
        task = host.start("sh", "-c", "echo $PPID; read x", env=variables, takes_input=True)
        host.wait_for_output(task, b"\n")
        supervisor = host.tasks[task].output[0].decode().strip()
        status = host.sh(f"grep RssAnon /proc/{supervisor}/status").stdout
        assert int(status.split()[1]) <= _IDLE_KB
        host.write(task, b"", end=True)
        host.finish(task)


def test_output_in_the_smallest_pieces_takes_little_more_than_its_size(agent: Path) -> None:
    with running_agent(agent) as host:
        script = (
            "import os\nfor n in range(60000): os.write(1 + n % 2, b'x')\nos.close(1); os.close(2); input()"
        )
        task = host.start("python3", "-c", script, takes_input=True, window=_KEPT)
        while host.tasks[task].received < 60_000:
            host.take(acknowledge=False)
        assert _memory_kb(host) <= 2048
        host.write(task, b"\n", end=True)
        assert host.finish(task).status == 0


def test_an_idle_agent_never_wakes_up(agent: Path) -> None:
    with running_agent(agent) as host:
        waits = "grep ^voluntary_ctxt_switches /proc/1/status"
        script = f"sleep 0.3; a=$({waits}); sleep 0.5; b=$({waits}); echo $a; echo $b"
        first, second = host.sh(script).stdout.splitlines()
        assert first == second

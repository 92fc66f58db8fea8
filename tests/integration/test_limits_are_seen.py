"""A sandbox can read what it may use, where programs look for it, and nothing of its neighbours'."""

from __future__ import annotations

import pytest
from every_runtime import Runtime

MIB = 1024 * 1024
MEMORY_MB = 192
# Names of version 2, then of version 1.
MEMORY = "cd /sys/fs/cgroup; cat memory.max 2> /dev/null || cat memory/memory.limit_in_bytes"
PIDS = "cd /sys/fs/cgroup; cat pids.max 2> /dev/null || cat pids/pids.max"
CPU = "cd /sys/fs/cgroup; cat cpu.max 2> /dev/null || cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us"
USED = "cd /sys/fs/cgroup; cat memory.current 2> /dev/null || cat memory/memory.usage_in_bytes"


@pytest.fixture(scope="module")
def limited(runtime: Runtime, limits: str):
    """One sandbox with limits of its own."""
    if runtime.type == "bubblewrap" and limits != "enforce":
        pytest.skip("there is no cgroup here")
    with runtime.sandbox(memory_mb=MEMORY_MB, cpu_cores=0.5) as sandbox_id:
        yield sandbox_id


@pytest.fixture(scope="module")
def grouped(runtime: Runtime, limited: str) -> str:
    if runtime.type == "gvisor":
        pytest.skip("gVisor's kernel has no cgroup with a limit in it")
    return limited


def test_the_memory_limit_is_seen(runtime: Runtime, limited: str) -> None:
    if runtime.type == "gvisor":
        total = runtime.sh(limited, "cat /proc/meminfo").split()
        assert total[:2] == ["MemTotal:", str(MEMORY_MB * 1024)]
    else:
        assert int(runtime.sh(limited, MEMORY)) == MEMORY_MB * MIB


def test_the_limits_of_cpu_and_processes_are_seen(runtime: Runtime, grouped: str) -> None:
    quota, period = map(int, runtime.sh(grouped, CPU).split())
    assert quota * 2 == period
    assert int(runtime.sh(grouped, PIDS)) == 512


def test_what_is_used_is_seen(runtime: Runtime, grouped: str) -> None:
    assert 0 < int(runtime.sh(grouped, USED)) < MEMORY_MB * MIB


def test_a_limit_cannot_be_lifted_from_inside(runtime: Runtime, grouped: str) -> None:
    script = (
        "cd /sys/fs/cgroup; for f in memory.max memory/memory.limit_in_bytes pids.max pids/pids.max; do "
        "[ ! -e $f ] || { echo max > $f; echo -1 > $f; }; done; mkdir memory/new pids/new"
    )
    runtime.client.exec_command(grouped, ["sh", "-c", script])
    assert int(runtime.sh(grouped, MEMORY)) == MEMORY_MB * MIB
    assert int(runtime.sh(grouped, PIDS)) == 512
    assert runtime.sh(grouped, "cd /sys/fs/cgroup; ls -d */new 2> /dev/null || true") == ""


def test_neither_the_host_nor_a_neighbour_is_seen_there(runtime: Runtime, grouped: str) -> None:
    with runtime.sandbox() as neighbour:
        script = "find /sys/fs/cgroup -type d; cat /proc/self/cgroup; grep cgroup /proc/self/mountinfo"
        names = runtime.sh(grouped, script)
    assert neighbour not in names
    assert grouped not in names.replace(f"/{grouped}/", "")
    assert "flash-sandbox" not in [name for line in names.splitlines() for name in line.split("/")]

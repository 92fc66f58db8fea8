"""Reading the kernel's figures: the tables of /proc and of the cgroup file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flash_sandbox.orchestrator.linux import cgroups
from flash_sandbox.orchestrator.linux.limits import Limits
from flash_sandbox.orchestrator.linux.network import parse_interfaces

NET_DEV = """\
Inter-|   Receive                                      |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier
    lo:  999    9  0  0  0  0  0  0    999    9  0  0  0  0  0  0
  eth0: 1000   10  0  0  0  0  0  0    200    2  0  0  0  0  0  0
  eth1:    5    1  0  0  0  0  0  0      7    1  0  0  0  0  0  0
"""


def test_network_bytes_are_those_of_all_interfaces_but_loopback():
    assert parse_interfaces(NET_DEV) == (1005, 207)


def test_the_own_network_namespace_can_be_read():
    received, sent = parse_interfaces(Path("/proc/self/net/dev").read_text())
    assert received >= 0
    assert sent >= 0


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def test_usage_of_cgroup_v2_is_read_from_its_files(tmp_path):
    write(
        tmp_path,
        memory__current="1000000\n",
        memory__stat="anon 1\ninactive_file 200000\n",
        memory__max="67108864\n",
        cpu__stat="usage_usec 2500000\nuser_usec 1\n",
        pids__current="7\n",
        io__stat="8:0 rbytes=4096 wbytes=100 rios=1 wios=1\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
    )
    usage = cgroups.CgroupV2(tmp_path).usage()
    assert (usage.memory_bytes, usage.memory_limit_bytes) == (800000, 67108864)
    assert (usage.cpu_seconds, usage.pids) == (2.5, 7)
    assert (usage.block_read_bytes, usage.block_write_bytes) == (4097, 102)


def test_usage_of_cgroup_v1_is_read_from_its_files(tmp_path):
    paths = {name: tmp_path / name for name in ("memory", "cpu", "cpuacct", "pids", "freezer", "blkio")}
    for path in paths.values():
        path.mkdir()
    write(
        paths["memory"],
        memory__usage_in_bytes="1000000\n",
        memory__stat="cache 5\ntotal_inactive_file 300000\n",
        memory__limit_in_bytes="67108864\n",
    )
    write(paths["cpuacct"], cpuacct__usage="1500000000\n")
    write(paths["pids"], pids__current="3\n")
    (paths["blkio"] / "blkio.throttle.io_service_bytes").write_text(
        "8:0 Read 4096\n8:0 Write 10\n8:0 Sync 0\n8:0 Async 0\n8:0 Total 4106\nTotal 4106\n"
    )
    usage = cgroups.CgroupV1(paths).usage()
    assert (usage.memory_bytes, usage.memory_limit_bytes) == (700000, 67108864)
    assert (usage.cpu_seconds, usage.pids) == (1.5, 3)
    assert (usage.block_read_bytes, usage.block_write_bytes) == (4096, 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes cgroups wherever it runs")
def test_a_cgroup_has_the_limits_that_it_was_made_with():
    hierarchy = cgroups.find_hierarchy()
    group = hierarchy.create("test", Limits(memory_bytes=32 * 1024 * 1024, cpu_cores=0.25, pids=20))
    try:
        assert group.usage().memory_limit_bytes == 32 * 1024 * 1024
        assert all(os.path.isdir(path) for path in group.directories)
    finally:
        import asyncio

        asyncio.run(group.remove())
        hierarchy.close()
    assert not any(os.path.exists(path) for path in group.directories)

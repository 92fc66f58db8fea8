"""Limits hold: for memory, CPU and PIDs, of one sandbox, with the others and the orchestrator going on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from inside import running, wait_until

from flash_sandbox import HTTPClient, InvalidArgumentError

# Perl takes the memory at once, and touches all of it.
HOG = "$x = 'x' x (256 * 1024 * 1024); print length $x"
# The same, and keeps it.
STAYING_HOG = "$x = 'x' x (256 * 1024 * 1024); sleep 1000"
enforced = pytest.mark.skipif(os.geteuid() != 0, reason="limits are enforced only where there is a cgroup")


@pytest.fixture(scope="module")
def client(orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


def test_a_memory_hog_is_ended_at_its_limit_and_the_others_go_on(client):
    with running(client, memory_mb=64) as hog, running(client, memory_mb=2048) as other:
        assert client.exec_command(hog, ["perl", "-e", STAYING_HOG]).exit_code == 128 + 9
        assert client.get_status(hog) == "running"
        assert client.exec_command(other, ["perl", "-e", HOG]).stdout == str(256 * 1024 * 1024)


@enforced
def test_a_memory_hog_is_killed_by_the_kernel(client):
    with running(client, memory_mb=64) as sandbox_id:
        assert client.exec_command(sandbox_id, ["perl", "-e", HOG]).exit_code == 128 + 9


@enforced
def test_memory_is_limited_for_all_processes_together(client):
    script = "for i in 1 2 3 4; do perl -e '$x = q(x) x (40 * 1024 * 1024); sleep 3' & done; wait"
    with running(client, memory_mb=64) as sandbox_id:
        client.exec_command(sandbox_id, ["sh", "-c", f"({script}) > /dev/null 2>&1 & sleep 1"])
        metrics = client.get_metrics(sandbox_id)
        assert 0 < metrics.memory_usage_bytes <= metrics.memory_limit_bytes == 64 * 1024 * 1024


@enforced
def test_what_is_written_to_shared_memory_counts(client):
    with running(client, memory_mb=32) as sandbox_id:
        result = client.exec_command(sandbox_id, ["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60"])
        assert result.exit_code != 0


def test_a_fork_bomb_stays_within_the_pid_limit_and_the_others_go_on(client):
    bomb = "perl -e 'while (1) { my $p = fork; sleep 1 if !defined $p; sleep 100 if defined $p && !$p }'"
    with running(client) as bombed, running(client) as other:
        client.exec_command(bombed, ["sh", "-c", f"({bomb}) > /dev/null 2>&1 &"])
        wait_until(lambda: client.get_metrics(bombed).pids_current > 400, "the bomb to reach its limit")
        for _ in range(20):
            assert client.get_metrics(bombed).pids_current <= 512 + 4
            assert client.exec_command(other, ["echo", "on"]).stdout == "on\n"


@enforced
def test_the_cpu_limit_holds_for_all_processes_together(client):
    with running(client, cpu_cores=0.2) as sandbox_id:
        client.exec_command(sandbox_id, ["sh", "-c", "(while :; do :; done) > /dev/null 2>&1 &"])
        client.exec_command(sandbox_id, ["sh", "-c", "(while :; do :; done) > /dev/null 2>&1 &"])
        client.get_metrics(sandbox_id)
        client.exec_command(sandbox_id, ["sleep", "1"])
        # 20 %, with room for the period in which a quota is handed out.
        assert 5 < client.get_metrics(sandbox_id).cpu_percent < 35


@enforced
def test_a_cpu_limit_that_the_kernel_cannot_enforce_is_refused(client):
    with pytest.raises(InvalidArgumentError, match="cpu_cores must be at least"):
        client.start_sandbox("bubblewrap", "host", cpu_cores=0.001)


@enforced
def test_the_limits_are_what_the_kernel_says(client):
    with running(client, memory_mb=100, cpu_cores=0.5) as sandbox_id:
        assert client.get_metrics(sandbox_id).memory_limit_bytes == 100 * 1024 * 1024


def test_metrics_are_the_kernels(client):
    with running(client) as sandbox_id:
        before = time.monotonic()
        client.get_metrics(sandbox_id)
        between = time.monotonic()
        client.exec_command(sandbox_id, ["perl", "-e", "1 while (times)[0] + (times)[1] < 1"])
        least = time.monotonic() - between
        metrics = client.get_metrics(sandbox_id)
        most = time.monotonic() - before
        assert metrics.memory_usage_bytes > 0
        assert metrics.pids_current >= 1
        # A second of CPU time and what it takes to start, however long the machine took for that.
        assert metrics.cpu_percent * most > 95
        assert metrics.cpu_percent * least < 150
        assert (metrics.net_rx_bytes, metrics.net_tx_bytes) == (0, 0)


def test_bytes_written_to_the_disk_are_counted(client):
    with running(client) as sandbox_id:
        before = client.get_metrics(sandbox_id).block_write_bytes
        command = ["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=4", "oflag=direct"]
        result = client.exec_command(sandbox_id, command)
        assert result.exit_code == 0, result.stderr
        if os.geteuid() == 0:
            assert client.get_metrics(sandbox_id).block_write_bytes - before >= 4 * 1024 * 1024


def test_a_memory_limit_below_what_a_program_needs_is_refused_or_held(client, limits):
    if limits == "enforce":
        with running(client, memory_mb=8) as sandbox_id:
            assert client.get_metrics(sandbox_id).memory_limit_bytes == 8 * 1024 * 1024
    else:
        with pytest.raises(InvalidArgumentError, match="memory_mb must be at least 16"):
            client.start_sandbox("bubblewrap", "host", memory_mb=8)

"""Orchestrators next to each other on one host, each of them where it cannot see the other's processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inside import wait_until

from flash_sandbox import HTTPClient, SandboxError
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.linux.cgroup_files import FAMILY
from flash_sandbox.orchestrator.linux.cgroups import find_hierarchy
from flash_sandbox.orchestrator.linux.id_range import IDS
from flash_sandbox.orchestrator.linux.users import UserPool, user_pool

STARTS = 15
# Whole only if something follows.
_ADDRESS = re.compile(r"http://[0-9.]+:[0-9]+(?=\s)")
# A process of its own PID namespace, which has a /proc of its own, too.
UNSHARED = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def unshare(need, limits) -> tuple[str, ...]:
    if limits != "enforce":
        need("cgroup", "there is none here")
    made = shutil.which("unshare") and subprocess.run([*UNSHARED, "true"], check=False).returncode == 0
    need("unshare", None if made else "this user cannot make a PID namespace")
    return UNSHARED


@contextmanager
def served(state_dir: Path, *prefix: str) -> Iterator[str]:
    """Run an orchestrator as a process of its own, behind a command, and give its address."""
    line = [*prefix, sys.executable, "-m", "flash_sandbox.cli", "serve", "--state-dir", str(state_dir)]
    line += ["--http-port", "0", "--grpc-port", "0"]
    log = state_dir.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            line, stdout=output, stderr=output, env=os.environ | {"DOCKER_HOST": "unix:///nowhere"}
        )
        try:
            wait_until(lambda: _ADDRESS.search(log.read_text()), "an orchestrator to listen", 60)
            found = _ADDRESS.search(log.read_text())
            assert found is not None
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM if not prefix else signal.SIGKILL)
            process.wait()


def start_and_stop(address: str, failures: list[Exception], times: int) -> None:
    with HTTPClient(address=address) as client:
        for _ in range(times):
            try:
                client.stop_sandbox(client.start_sandbox("bubblewrap", "host", memory_mb=64))
            except SandboxError as error:
                failures.append(error)


def test_orchestrators_that_cannot_see_each_other_start_and_stop_side_by_side(unshare, tmp_path):
    failures: list[Exception] = []
    with served(tmp_path / "one") as one, served(tmp_path / "other", *unshare) as other:
        working = [
            threading.Thread(target=start_and_stop, args=(address, failures, STARTS))
            for address in (one, other)
        ]
        for thread in working:
            thread.start()
        # A third one comes and goes meanwhile, and takes what is left over for its own to remove.
        while any(thread.is_alive() for thread in working):
            with running_orchestrator(state_dir=tmp_path / "third"):
                pass
        for thread in working:
            thread.join()
    assert failures == []


def owners_of(sandbox_id: str) -> set[Path]:
    """Return the cgroups of the orchestrator that has a sandbox."""
    return {path.parent for path in Path("/sys/fs/cgroup").rglob(f"{FAMILY}/*/{sandbox_id}")}


def test_a_cgroup_that_somebody_removed_is_made_again(unshare, tmp_path):
    failures: list[Exception] = []
    with (
        running_orchestrator(state_dir=tmp_path / "state") as running,
        HTTPClient(address=running.http_address) as client,
    ):
        sandbox_id = client.start_sandbox("bubblewrap", "host", memory_mb=64)
        mine = owners_of(sandbox_id)
        client.stop_sandbox(sandbox_id)
        for directory in mine:
            directory.rmdir()
        start_and_stop(running.http_address, failures, 1)
        assert (failures, bool(mine)) == ([], True)


def test_what_an_orchestrator_in_another_namespace_left_is_removed_once_it_is_gone(unshare, tmp_path):
    with served(tmp_path / "one", *unshare) as address, HTTPClient(address=address) as client:
        mine = owners_of(client.start_sandbox("bubblewrap", "host", memory_mb=64))
        with running_orchestrator(state_dir=tmp_path / "second"):
            assert all(directory.exists() for directory in mine)
    # Killed, together with its namespace, which takes its time. The next one looks once, when it starts.
    next_one = find_hierarchy()

    def are_removed() -> bool:
        next_one.remove_leftovers()
        return not any(directory.exists() for directory in mine)

    wait_until(are_removed, "the cgroups to be removed")
    next_one.close()
    assert mine


@pytest.fixture
def pools() -> Iterator[list[UserPool]]:
    made: list[UserPool] = []
    yield made
    for pool in made:
        pool.close()


def test_no_two_orchestrators_have_the_same_ids(need, pools):
    need("root", None if user_pool_here(pools) else "only root has IDs for its sandboxes")
    for _ in range(200):
        pool = user_pool()
        assert pool is not None
        pools.append(pool)
    ranges = {pool.take() for pool in pools}
    assert len(ranges) == len(pools)
    assert all(ids.base % IDS == 0 for ids in ranges)


def test_one_that_runs_many_sandboxes_takes_more_ids(need, pools):
    need("root", None if user_pool_here(pools) else "only root has IDs for its sandboxes")
    (pool,) = pools
    assert len({pool.take().base for _ in range(200)}) == 200


def user_pool_here(pools: list[UserPool]) -> bool:
    pool = user_pool()
    if pool is not None:
        pools.append(pool)
    return pool is not None


def test_ids_stay_taken_until_the_launcher_has_cleaned_up(need, pools):
    need("root", None if os.geteuid() == 0 else "only root has IDs for its sandboxes")
    pool = user_pool()
    assert pool is not None
    pool.take()
    (descriptor,) = pool.new_locks()
    assert pool.new_locks() == []
    lock = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor]) as launcher:
        os.close(descriptor)
        taken = subprocess.run(["flock", "--nonblock", lock, "true"], check=False).returncode
        launcher.communicate()
    free = subprocess.run(["flock", "--nonblock", lock, "true"], check=False).returncode
    lock.unlink()
    assert (taken, free) == (1, 0)

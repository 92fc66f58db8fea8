"""A limit of what a sandbox writes: it fills its own disk, and nobody else's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import docker_engine
import httpx
import pytest
from docker_engine import DockerEngine
from every_runtime import Runtime
from inside import wait_until
from served import Client, Serving, serve
from small_disk import small_disk

from flash_sandbox import AtCapacityError, InvalidArgumentError, UnsupportedError
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

every_kind = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID"],
    indirect=True,
    scope="session",
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has loop devices")

DISK_MB = 24
LIMIT = DISK_MB * 2**20
FULL = "No space left on device"


@pytest.fixture
def limited(runtime: Runtime) -> Iterator[str]:
    """A sandbox with a limit."""
    with runtime.sandbox(disk_mb=DISK_MB) as sandbox_id:
        yield sandbox_id


def fails_for_want_of_room(runtime: Runtime, sandbox_id: str, script: str) -> None:
    result = runtime.client.exec_command(sandbox_id, ["sh", "-c", script])
    assert result.exit_code != 0
    assert FULL in result.stderr


def used(runtime: Runtime, sandbox_id: str) -> int:
    return runtime.client.get_metrics(sandbox_id).disk_used_bytes


def loop_devices(state_dir: Path) -> list[str]:
    """Return the loop devices that have a file below a directory."""
    found = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [text for text in found if text.startswith(f"{state_dir}/")]


def nothing_is_left(state_dir: Path) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text()
    return not loop_devices(state_dir) and str(state_dir) not in mounts


@every_kind
def test_one_file_fills_its_own_disk_alone(runtime: Runtime, limited: str) -> None:
    fails_for_want_of_room(runtime, limited, "head -c 100m /dev/zero > /big")
    assert LIMIT * 0.8 < int(runtime.sh(limited, "wc -c < /big")) <= LIMIT
    metrics = runtime.client.get_metrics(limited)
    assert LIMIT * 0.8 < metrics.disk_used_bytes <= metrics.disk_limit_bytes <= LIMIT
    with runtime.sandbox(disk_mb=DISK_MB) as other, runtime.sandbox() as unlimited:
        for each in (other, unlimited):
            assert (
                runtime.sh(each, f"head -c {DISK_MB // 2}m /dev/zero > /half; wc -c < /half")
                == f"{LIMIT // 2}\n"
            )
    assert runtime.sh(limited, "rm /big; echo room > /file; cat /file") == "room\n"
    assert used(runtime, limited) < LIMIT * 0.1


@every_kind
def test_many_files_fill_it(runtime: Runtime, limited: str) -> None:
    fails_for_want_of_room(runtime, limited, "mkdir /many; cd /many; i=0; while : > $i; do i=$((i+1)); done")
    assert 1000 < int(runtime.sh(limited, "ls /many | wc -l")) < 100_000
    with runtime.sandbox(disk_mb=DISK_MB) as other:
        runtime.sh(other, "touch /one")
    runtime.sh(limited, "rm -r /many; touch /one")


@every_kind
def test_of_sparse_files_only_what_is_written_counts(runtime: Runtime, limited: str) -> None:
    runtime.sh(limited, "for i in 1 2 3; do truncate -s 10G /sparse-$i; done; test -s /sparse-3")
    assert used(runtime, limited) < LIMIT * 0.1
    fails_for_want_of_room(
        runtime, limited, "dd if=/dev/zero of=/sparse-1 bs=1M count=100 seek=5000 conv=notrunc"
    )
    assert used(runtime, limited) <= LIMIT


@every_kind
def test_it_is_told_and_goes_on_in_forks_and_what_is_restored(runtime: Runtime, limited: str) -> None:
    assert runtime.client.get_info(limited).disk_mb == DISK_MB
    runtime.sh(
        limited, "head -c 10m /dev/urandom > /ten; mkdir -p /etc/new; ln /ten /eleven; echo kept > /file"
    )
    digest = runtime.sh(limited, "sha256sum < /ten")
    forks = runtime.client.fork_sandbox(limited, 2)
    snapshot = runtime.client.snapshot_sandbox(limited)
    again = runtime.client.start_sandbox(runtime.type, snapshot_path=snapshot.id)
    larger = runtime.client.start_sandbox(runtime.type, snapshot_path=snapshot.id, disk_mb=DISK_MB * 2)
    for one in (*forks, again, larger):
        size = DISK_MB * 2 if one == larger else DISK_MB
        assert runtime.client.get_info(one).disk_mb == size
        assert runtime.sh(one, "cat /file; sha256sum < /eleven") == f"kept\n{digest}"
        fails_for_want_of_room(runtime, one, "head -c 100m /dev/zero > /big")
        assert size * 2**20 * 0.8 < used(runtime, one) <= size * 2**20
        runtime.client.stop_sandbox(one)
    runtime.client.remove_snapshot(snapshot.id)
    runtime.client.resume_sandbox(limited)
    assert runtime.sh(limited, "cat /file") == "kept\n"


@every_kind
def test_its_files_are_kept_as_long_as_it_is(runtime: Runtime, limited: str) -> None:
    runtime.sh(limited, "echo here > /file")
    upper = runtime.state_dir / "sandboxes" / limited / "upper"
    assert not upper.exists()
    runtime.client.stop_sandbox(limited, cleanup=False)
    if os.geteuid() == 0:
        assert (upper / "file").read_text() == "here\n"


@every_kind
def test_volumes_do_not_count(runtime: Runtime, volume_root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=volume_root) as directory:
        os.chown(directory, os.stat(runtime.state_dir).st_uid, -1)
        with runtime.sandbox(disk_mb=DISK_MB, volumes={"/work": directory}) as sandbox_id:
            runtime.sh(sandbox_id, f"head -c {DISK_MB + 1}m /dev/zero > /work/file")
            assert used(runtime, sandbox_id) < LIMIT * 0.1
        assert os.stat(f"{directory}/file").st_size > LIMIT


@every_kind
def test_the_smallest_holds_something(runtime: Runtime) -> None:
    with runtime.sandbox(disk_mb=1) as sandbox_id:
        runtime.sh(sandbox_id, "mkdir /d; echo some > /d/thing; chown 0:0 /d/thing; rm -r /srv; mkdir /srv")
        fails_for_want_of_room(runtime, sandbox_id, "head -c 2m /dev/zero > /big")


@every_kind
def test_nothing_is_left_of_a_start_that_fails(runtime: Runtime, volume_root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=volume_root) as directory:
        os.chown(directory, os.stat(runtime.state_dir).st_uid, -1)
        with (
            pytest.raises(InvalidArgumentError, match="/usr is the host's"),
            runtime.sandbox(disk_mb=DISK_MB, volumes={"/usr/work": directory}),
        ):
            pass
    with pytest.raises(InvalidArgumentError), runtime.sandbox(disk_mb=DISK_MB, command=["/no/such/program"]):
        pass
    wait_until(lambda: nothing_is_left(runtime.state_dir), "its disk to go")


@every_kind
def test_nothing_is_left_of_one_that_is_stopped(runtime: Runtime) -> None:
    with runtime.sandbox(disk_mb=DISK_MB) as sandbox_id:
        runtime.client.exec_command(sandbox_id, ["sh", "-c", "head -c 100m /dev/zero > /big"])
        on_loop = os.stat(runtime.state_dir).st_uid == 0
        assert bool(loop_devices(runtime.state_dir)) is on_loop
    wait_until(lambda: nothing_is_left(runtime.state_dir), "its disk to go")


def metric(address: str, name: str) -> float:
    """Return a figure of the bubblewrap runtime's."""
    text = httpx.get(f"{address}/metrics").text
    found = re.search(rf'^flash_sandbox_{name}{{runtime="bubblewrap"}} (\S+)$', text, re.M)
    assert found is not None
    return float(found[1])


def served(state_dir: Path, limits: Limits, *before: str) -> AbstractContextManager[Serving]:
    """Run an orchestrator of one test's own, by a command."""
    return serve(state_dir, limits=limits, command=[*before, sys.executable, "-W", "error"])


def test_what_is_used_is_a_metric(tmp_path: Path, limits: Limits) -> None:
    with served(tmp_path / "state", limits) as serving, serving.client("http") as client:
        client.start_sandbox("bubblewrap")
        assert metric(serving.http, "disk_limit_bytes") == 0
        one = client.start_sandbox("bubblewrap", memory_mb=128, disk_mb=DISK_MB)
        client.exec_command(one, ["sh", "-c", "head -c 10m /dev/zero > /ten"])
        last = client.get_metrics_history(one)[-1]
        assert 10 * 2**20 <= last.disk_used_bytes == metric(serving.http, "disk_used_bytes")
        assert last.disk_limit_bytes == metric(serving.http, "disk_limit_bytes") <= LIMIT


@as_root
def test_nothing_is_left_of_an_orchestrator_that_is_killed(tmp_path: Path, limits: Limits) -> None:
    state = tmp_path / "state"
    with served(state, limits) as serving, serving.client("http") as client:
        one = client.start_sandbox("bubblewrap", disk_mb=DISK_MB)
        halted = client.start_sandbox("bubblewrap", disk_mb=DISK_MB)
        client.stop_sandbox(halted, cleanup=False)
        client.exec_command(one, ["sh", "-c", "head -c 100m /dev/zero > /big"])
        assert len(loop_devices(state)) == 2
        serving.process.send_signal(signal.SIGKILL)
    wait_until(lambda: nothing_is_left(state), "both disks to go")
    with served(state, limits) as serving, serving.client("http") as client:
        client.start_sandbox("bubblewrap", disk_mb=DISK_MB)


@as_root
def test_what_is_promised_is_there(tmp_path: Path, limits: Limits) -> None:
    with small_disk(tmp_path / "disk", 400) as disk:
        state = disk.path / "state"
        with served(state, limits) as serving, serving.client("http") as client:
            one = client.start_sandbox("bubblewrap", disk_mb=100)
            with pytest.raises(AtCapacityError, match="no room for a disk of 100 MiB"):
                client.with_options(max_retries=0).start_sandbox("bubblewrap", disk_mb=100)
            assert len(loop_devices(state)) == 1
            client.exec_command(one, ["sh", "-c", "head -c 200m /dev/urandom > /big"])
            client.exec_command(client.start_sandbox("bubblewrap"), ["sh", "-c", "echo other > /file"])
            client.stop_sandbox(one)
            wait_until(lambda: nothing_is_left(state), "its disk to go")
            client.start_sandbox("bubblewrap", disk_mb=100)


@as_root
def test_a_host_without_loop_devices_refuses_it_and_says_why(tmp_path: Path, limits: Limits) -> None:
    hidden = [
        *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
        *('mount --bind /dev/full /dev/loop-control && exec "$@"', "sh"),
    ]
    with served(tmp_path / "state", limits, *hidden) as serving, serving.client("http") as client:
        with pytest.raises(UnsupportedError, match="/dev/loop-control"):
            client.start_sandbox("bubblewrap", disk_mb=DISK_MB)
        client.start_sandbox("bubblewrap")
    doctor = [*hidden, sys.executable, "-m", "flash_sandbox.cli", "doctor"]
    told = subprocess.run(doctor, capture_output=True, text=True, check=False).stdout
    assert "disk_mb" in told
    assert "/dev/loop-control" in told


@pytest.mark.parametrize("engine_orchestrator", ["bubblewrap with one ID"], indirect=True, scope="session")
def test_without_root_it_is_less_than_the_memory(runtime: Runtime) -> None:
    with (
        pytest.raises(InvalidArgumentError, match="disk_mb must be less than memory_mb, 128"),
        runtime.sandbox(disk_mb=128),
    ):
        pass


@pytest.fixture(scope="module")
def engine_with_limits(need: Callable[[str, str | None], None]) -> Iterator[DockerEngine]:
    """Run an engine that can limit what containers write."""
    need("docker", docker_engine.missing())
    need("btrfs", None if shutil.which("mkfs.btrfs") else "there is no mkfs.btrfs (Debian: btrfs-progs)")
    with docker_engine.running_engine(on_btrfs=True) as engine:
        yield engine


@pytest.fixture(params=["http", "grpc"])
def docker_client(
    request: pytest.FixtureRequest, engine_with_limits: DockerEngine, tmp_path: Path
) -> Iterator[Client]:
    environment = {"DOCKER_HOST": engine_with_limits.host}
    with (
        serve(tmp_path / "state", limits="best-effort", environment=environment) as serving,
        serving.client(request.param) as client,
    ):
        yield client


def test_docker_limits_it_where_the_engine_can(docker_client: Client) -> None:
    runtime = Runtime(docker_client, "docker", docker_engine.IMAGE, Path("/nowhere"))
    with runtime.sandbox(disk_mb=DISK_MB) as one, runtime.sandbox(disk_mb=DISK_MB) as other:
        assert docker_client.get_info(one).disk_mb == DISK_MB
        full = docker_client.exec_command(one, ["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=100"])
        assert full.exit_code != 0
        # With btrfs it is EDQUOT.
        assert "Disk quota exceeded" in full.stderr
        metrics = docker_client.get_metrics(one)
        assert LIMIT * 0.5 < metrics.disk_used_bytes <= metrics.disk_limit_bytes == LIMIT
        wait_until(
            lambda: docker_client.get_metrics_history(one)[-1].disk_used_bytes == metrics.disk_used_bytes,
            "a sample with what was counted last",
        )
        runtime.sh(other, "head -c 5m /dev/urandom > /five")
        snapshot = docker_client.snapshot_sandbox(other)
        with runtime.sandbox(snapshot_path=snapshot.id) as again:
            assert docker_client.get_info(again).disk_mb == DISK_MB
            assert runtime.sh(again, "wc -c < /five") == f"{5 * 2**20}\n"
            assert docker_client.exec_command(again, ["sh", "-c", "head -c 100m /dev/zero > /big"]).exit_code
        docker_client.remove_snapshot(snapshot.id)


@pytest.mark.parametrize("engine_orchestrator", ["docker"], indirect=True, scope="session")
def test_docker_refuses_it_where_the_engine_cannot(runtime: Runtime, docker_engine: DockerEngine) -> None:
    if docker_engine.call("GET", "/info")["Driver"] == "btrfs":
        pytest.skip("this engine can")
    before = docker_engine.containers(runtime="docker")
    with (
        pytest.raises(UnsupportedError, match="disk_mb cannot be enforced"),
        runtime.sandbox(disk_mb=DISK_MB),
    ):
        pass
    assert docker_engine.containers(runtime="docker") == before


@pytest.mark.parametrize("engine_orchestrator", ["gvisor"], indirect=True, scope="session")
def test_gvisor_refuses_it_and_says_what_limits_it_instead(runtime: Runtime) -> None:
    with pytest.raises(UnsupportedError, match="which memory_mb limits"), runtime.sandbox(disk_mb=DISK_MB):
        pass

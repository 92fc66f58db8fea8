"""How long sandboxes live and what is told of them, whatever runs them and whatever carries the calls."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from every_runtime import Runtime
from inside import wait_until
from served import serve
from test_serve import processes_with

from flash_sandbox import ConflictError, HTTPClient, SandboxAPI, SandboxClient, SandboxNotFoundError
from flash_sandbox.models import Event
from flash_sandbox.orchestrator.linux.cgroups import CgroupV1, CgroupV2

KEPT_OUTPUT = 64 * 1024
PRINTING = "echo printed; exec tail -f /dev/null"


@contextmanager
def started(runtime: Runtime, **options: Any) -> Iterator[str]:
    """Start a sandbox for the length of a block, in which it may go by itself."""
    with suppress(SandboxNotFoundError), runtime.sandbox(**options) as sandbox_id:
        yield sandbox_id


def is_gone(client: SandboxAPI, sandbox_id: str) -> bool:
    with suppress(SandboxNotFoundError):
        client.get_status(sandbox_id)
        return False
    return True


def events_of(events: Iterator[Event], sandbox_id: str, last: str) -> list[Event]:
    found: list[Event] = []
    for event in events:
        if event.id == sandbox_id:
            found.append(event)
            if event.type == last:
                break
    return found


class TestExpiry:
    def test_it_is_gone_after_its_time_and_not_before(self, runtime: Runtime) -> None:
        with started(runtime, ttl_seconds=1) as one:
            deadline = runtime.client.get_info(one).expires_at
            while time.time() < deadline - 0.1:
                asked = time.time()
                gone = is_gone(runtime.client, one)
                assert not gone or asked >= deadline
            wait_until(lambda: is_gone(runtime.client, one), "its end")
            assert time.time() < deadline + 20

    def test_a_paused_one_is_prolonged_and_expires(self, runtime: Runtime) -> None:
        with started(runtime, ttl_seconds=20) as one:
            runtime.client.snapshot_sandbox(one)
            runtime.client.keep_alive(one, 600)
            assert runtime.client.get_status(one) == "paused"
            deadline = runtime.client.keep_alive(one, 0.5)
            wait_until(lambda: is_gone(runtime.client, one), "its end")
            assert deadline <= time.time() < deadline + 20


class TestWhatIsKnown:
    def test_the_runtime_and_the_image_are_those_that_really_run(self, runtime: Runtime) -> None:
        with started(runtime, name="known", labels={"a": "b"}, cpu_cores=0.5) as one:
            info = runtime.client.get_info(one)
            assert (info.type, info.image, info.name) == (runtime.type, runtime.image, "known")
            assert (info.labels, info.memory_mb, info.cpu_cores) == (("a=b",), 128, 0.5)
            listed = runtime.client.list_sandboxes(type=runtime.type, labels={"a": "b"}).sandboxes
            assert listed == (info,)

    def test_the_logs_are_what_the_main_process_printed(self, runtime: Runtime) -> None:
        with started(runtime, command=["sh", "-c", f"echo out; echo err >&2; {PRINTING}"]) as one:
            wait_until(lambda: len(runtime.client.get_logs(one).output) == 16, "its output")
            # In which order the two streams are read, nobody says.
            assert sorted(runtime.client.get_logs(one).output.splitlines()) == [b"err", b"out", b"printed"]

    def test_the_logs_are_there_when_the_main_process_has_ended(self, runtime: Runtime) -> None:
        with started(runtime, command=["sh", "-c", "echo last words; exit 3"]) as one:
            wait_until(lambda: runtime.client.get_status(one) == "stopped", "its end")
            assert runtime.client.get_logs(one).output == b"last words\n"
            assert runtime.client.get_info(one).exit_code == 3

    def test_the_last_of_much_output_is_kept(self, runtime: Runtime) -> None:
        script = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo line $i; done; echo end; " + PRINTING
        with started(runtime, command=["sh", "-c", script]) as one:
            wait_until(lambda: runtime.client.get_logs(one).output.endswith(b"end\nprinted\n"), "its output")
            logs = runtime.client.get_logs(one)
            expected = b"".join(b"line %d\n" % number for number in range(1, 40001)) + b"end\nprinted\n"
            assert expected.endswith(logs.output)
            assert len(logs.output) == KEPT_OUTPUT
            assert 0 < logs.dropped <= len(expected) - KEPT_OUTPUT


class TestKeptAfterItsEnd:
    def test_it_is_stopped_and_tells_what_it_printed(self, runtime: Runtime) -> None:
        with started(runtime, command=["sh", "-c", PRINTING]) as one:
            wait_until(lambda: runtime.client.get_logs(one).output, "its output")
            runtime.client.stop_sandbox(one, cleanup=False)
            assert runtime.client.get_status(one) == "stopped"
            assert runtime.client.get_logs(one).output == b"printed\n"
            for call in (runtime.client.get_metrics, runtime.client.snapshot_sandbox):
                with pytest.raises(ConflictError, match="is stopped"):
                    call(one)
            with pytest.raises(ConflictError, match="is stopped"):
                runtime.client.exec_command(one, ["true"])
            runtime.client.stop_sandbox(one)
            assert is_gone(runtime.client, one)

    def test_a_paused_one_can_be_kept(self, runtime: Runtime) -> None:
        with started(runtime) as one:
            runtime.client.snapshot_sandbox(one)
            runtime.client.stop_sandbox(one, cleanup=False)
            assert runtime.client.get_status(one) == "stopped"

    def test_it_expires(self, runtime: Runtime) -> None:
        with started(runtime) as one:
            runtime.client.stop_sandbox(one, cleanup=False)
            runtime.client.keep_alive(one, 0.3)
            wait_until(lambda: is_gone(runtime.client, one), "its end")


class TestEvents:
    def test_they_tell_the_life_of_a_sandbox(self, runtime: Runtime) -> None:
        with runtime.client.watch_events() as events:
            with started(runtime) as one:
                runtime.client.snapshot_sandbox(one)
                runtime.client.resume_sandbox(one)
            found = events_of(events, one, "removed")
        assert [event.type for event in found] == ["created", "running", "paused", "running", "removed"]

    def test_they_tell_how_the_main_process_ended(self, runtime: Runtime) -> None:
        with runtime.client.watch_events() as events, started(runtime, command=["sh", "-c", "exit 3"]) as one:
            assert events_of(events, one, "stopped")[-1].detail == "exit code 3"

    def test_they_tell_that_a_sandbox_has_expired(self, runtime: Runtime) -> None:
        with runtime.client.watch_events() as events, started(runtime, ttl_seconds=0.2) as one:
            found = events_of(events, one, "removed")
            assert [event.type for event in found] == ["created", "running", "expired", "removed"]

    def test_they_tell_that_the_memory_did_not_do(self, runtime: Runtime, limits) -> None:
        if limits != "enforce":
            pytest.skip("without a cgroup the kernel refuses memory, and ends nothing for it")
        with (
            runtime.client.watch_events() as events,
            started(runtime, command=["tail", "/dev/zero"], memory_mb=96) as one,
        ):
            found = events_of(events, one, "stopped")
            assert [event.type for event in found][-2:] == ["out_of_memory", "stopped"]


@pytest.fixture
def many(request: pytest.FixtureRequest) -> int:
    """Tell how many sandboxes are many: a thousand take half a minute to start."""
    return 1000 if request.config.getoption("--hypothesis-profile") == "long" else 100


@dataclass
class Watcher:
    """What is told of many sandboxes, until their orchestrator is gone."""

    client: SandboxClient
    removed: dict[str, float] = field(default_factory=dict)

    def follow(self, events: Iterator[Event]) -> None:
        with suppress(ConnectionError):
            for event in events:
                if event.type == "removed":
                    self.removed[event.id] = event.at


def test_many_are_each_gone_within_two_seconds_of_their_deadline_and_none_before(
    tmp_path: Path, limits, many: int
) -> None:
    state_dir = tmp_path / "state"
    deadlines: dict[str, float] = {}
    with (
        serve(state_dir, limits=limits) as serving,
        HTTPClient(address=serving.http) as client,
        SandboxClient(address=serving.grpc) as other,
        ThreadPoolExecutor(5) as pool,
    ):
        watcher = Watcher(other)
        following = pool.submit(watcher.follow, other.watch_events())
        began = time.time()
        # The first ones are due while the last ones are started.
        spread = many / 50

        def start(number: int) -> None:
            one = client.start_sandbox(
                "bubblewrap",
                "host",
                ["sleep", "4750"],
                memory_mb=64,
                ttl_seconds=2 + spread * (number % 10) / 10,
            )
            deadlines[one] = client.get_info(one).expires_at
            if number % 3 == 0:
                deadlines[one] = client.keep_alive(one, 3 + spread)

        list(pool.map(start, range(many)))
        took = time.time() - began
        wait_until(lambda: len(watcher.removed) >= many // 2, "half of them to be gone", 60 + spread)
        serving.process.kill()
        serving.process.wait()
        killed = time.time()
        wait_until(lambda: not processes_with("sleep\x004750"), "the end of the others", 2)
        following.result()
    late = [watcher.removed[one] - deadlines[one] for one in watcher.removed]
    assert min(late) >= 0
    assert max(late) < 2
    overdue = [one for one, deadline in deadlines.items() if deadline + 2 < killed]
    assert set(overdue) <= watcher.removed.keys()
    print(f"{many} started in {took:.1f} s; {len(late)} gone {max(late) * 1000:.0f} ms late at most")
    with serve(state_dir, limits=limits) as serving, HTTPClient(address=serving.http) as client:
        assert client.list_sandboxes().sandboxes == ()
        assert list((state_dir / "sandboxes").iterdir()) == []
        directories = {os.path.basename(path) for path, _, _ in os.walk("/sys/fs/cgroup")}
        assert not directories & deadlines.keys()


def test_serve_allows_itself_as_many_descriptors_as_many_sandboxes_take(tmp_path: Path, limits) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with serve(tmp_path / "state", limits=limits) as serving:
            allowed = resource.prlimit(serving.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert allowed == (min(hard, 65536), hard)


def test_what_the_kernel_has_ended_is_counted_in_either_version_of_cgroups(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert CgroupV2(tmp_path).oom_kills() == 2
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert CgroupV1({"memory": tmp_path}).oom_kills() == 2

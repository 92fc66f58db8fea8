"""What becomes of sandboxes that do nothing, on every runtime and over both transports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import Event, InvalidArgumentError, SandboxNotFoundError, UnsupportedError, WrongStateError

TIMEOUT = 1.0


@pytest.fixture
def one(runtime: Runtime) -> Iterator[list[str]]:
    """Return a list whose sandboxes are stopped in the end."""
    started: list[str] = []
    yield started
    for sandbox_id in started:
        with suppress(SandboxNotFoundError):
            runtime.client.stop_sandbox(sandbox_id)


def start(runtime: Runtime, started: list[str], **options: object) -> str:
    asked = {"type": runtime.type, "image": runtime.image, "idle_timeout": TIMEOUT, **options}
    started.append(runtime.client.start_sandbox(**asked))
    return started[-1]


def wait_for(runtime: Runtime, sandbox_id: str, status: str) -> None:
    wait_until(lambda: runtime.client.get_info(sandbox_id).status == status, f"it to be {status}")


def until(events: Iterator[Event], sandbox_id: str, last: str) -> list[tuple[str, str]]:
    """Return the types and details of the events of a sandbox, to the first of a type."""
    found = []
    for event in events:
        if event.id == sandbox_id:
            found.append((event.type, event.detail))
            if event.type == last:
                break
    return found


def test_one_that_does_nothing_is_stopped(runtime: Runtime, one: list[str]) -> None:
    with runtime.client.watch_events() as events:
        idle = start(runtime, one)
        info = runtime.client.get_info(idle)
        assert (info.idle_timeout, info.on_idle, info.auto_resume) == (TIMEOUT, "stop", False)
        told = until(events, idle, "removed")
    assert [type for type, _ in told] == ["created", "running", "idle", "removed"]
    ended = runtime.client.get_info(idle)
    assert (ended.status, ended.end_cause) == ("ended", "idle")
    assert ended.ended_at - ended.created_at >= TIMEOUT


def test_one_is_paused_and_resumed_by_the_next_call(runtime: Runtime, one: list[str]) -> None:
    with runtime.client.watch_events() as events:
        idle = start(runtime, one, on_idle="pause", auto_resume=True)
        runtime.sh(idle, "echo kept > /tmp/file; sleep 9391 > /dev/null 2>&1 &")
        wait_for(runtime, idle, "paused")
        # Looking does not wake it.
        runtime.client.get_info(idle)
        runtime.client.get_metrics(idle)
        assert runtime.client.get_status(idle) == "paused"
        assert runtime.client.read_file(idle, "/tmp/file") == b"kept\n"
        assert runtime.count(idle, "sleep 9391") == 1
        # And it is paused anew.
        wait_for(runtime, idle, "paused")
        assert runtime.sh(idle, "echo again") == "again\n"
        told = until(events, idle, "paused")
        told += until(events, idle, "running")
    assert told[2:] == [
        ("idle", "pause"),
        ("paused", "idle for 1 seconds"),
        ("running", "a call uses it"),
    ]


def test_without_auto_resume_a_paused_one_refuses_calls(runtime: Runtime, one: list[str]) -> None:
    idle = start(runtime, one, on_idle="pause")
    wait_for(runtime, idle, "paused")
    with pytest.raises(WrongStateError):
        runtime.client.exec_command(idle, ["true"])
    runtime.client.resume_sandbox(idle)
    assert runtime.sh(idle, "echo awake") == "awake\n"


def test_one_is_suspended_with_its_memory_on_the_disk(runtime: Runtime, one: list[str]) -> None:
    if runtime.type != "gvisor":
        with pytest.raises(UnsupportedError, match="suspends"):
            start(runtime, one, on_idle="suspend")
        return
    idle = start(runtime, one, on_idle="suspend", auto_resume=True)
    runtime.sh(idle, "echo kept > /tmp/file; sleep 9392 > /dev/null 2>&1 &")
    wait_for(runtime, idle, "paused")
    checkpoint = runtime.state_dir / "gvisor" / "sandboxes" / idle / "saved"
    wait_until(checkpoint.is_dir, "it to be written to the disk")
    wait_until(lambda: not any(has(path, idle) for path in Path("/proc").glob("[0-9]*/cmdline")), "its end")
    assert runtime.client.get_metrics(idle).pids_current > 0
    assert runtime.client.get_status(idle) == "paused"
    assert runtime.client.read_file(idle, "/tmp/file") == b"kept\n"
    assert runtime.count(idle, "sleep 9392") == 1


def has(path: Path, word: str) -> bool:
    with suppress(OSError):
        return word.encode() in path.read_bytes()
    return False


@pytest.mark.parametrize(
    "work",
    ["while :; do :; done", "while :; do echo printed; sleep 0.2; done"],
    ids=["computes", "prints"],
)
def test_one_that_does_something_is_not_idle(runtime: Runtime, one: list[str], work: str) -> None:
    busy = start(runtime, one, command=["sh", "-c", work])
    time.sleep(2.5 * TIMEOUT)
    assert runtime.client.get_status(busy) == "running"


def test_one_that_a_call_waits_for_is_not_idle(runtime: Runtime, one: list[str]) -> None:
    used = start(runtime, one)
    assert runtime.client.exec_command(used, ["sleep", str(2.5 * TIMEOUT)]).exit_code == 0


def test_one_that_calls_use_now_and_then_is_not_idle(runtime: Runtime, one: list[str]) -> None:
    used = start(runtime, one)
    give_up = time.monotonic() + 3 * TIMEOUT
    while time.monotonic() < give_up:
        runtime.client.exec_command(used, ["true"])
        time.sleep(TIMEOUT / 4)


@pytest.mark.parametrize("options", [{"idle_timeout": -1}, {"idle_timeout": 1e9}, {"on_idle": "sleep"}])
def test_options_out_of_range_are_refused(
    runtime: Runtime, one: list[str], options: dict[str, object]
) -> None:
    with pytest.raises(InvalidArgumentError):
        start(runtime, one, **options)

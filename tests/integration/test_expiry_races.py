"""What becomes of deadlines when operations meet, steps fail, and timers are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from outlived import leave
from test_lifecycle_races import CREATED, SteppedRuntime, cancelled, started, state, status_is

from flash_sandbox.errors import AtCapacityError, ConflictError, SandboxNotFoundError, UnavailableError
from flash_sandbox.models import (
    Event,
    GetInfoRequest,
    KeepAliveRequest,
    SnapshotRequest,
    StartRequest,
    StopRequest,
    WatchEventsRequest,
)
from flash_sandbox.orchestrator.core import expiry
from flash_sandbox.orchestrator.core.admission import Admission
from flash_sandbox.orchestrator.core.lifetime import Lifetime
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.snapshots.store import Snapshots

# No sandbox can be given a deadline.
NO_SPACE = """
CREATE TRIGGER full BEFORE UPDATE OF expires_at ON sandboxes
BEGIN SELECT raise(FAIL, 'no space left'); END
"""


@pytest.fixture
async def runtime() -> AsyncIterator[SteppedRuntime]:
    runtime = SteppedRuntime()
    yield runtime
    for agent in runtime.agents:
        await agent.die()


@pytest.fixture
async def service(runtime: SteppedRuntime, tmp_path: Path) -> AsyncIterator[SandboxService]:
    service = SandboxService({"bubblewrap": runtime}, Snapshots(tmp_path))
    await service.open()
    yield service
    runtime.release()
    await service.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def keep_alive(service: SandboxService, sandbox: str, ttl: float) -> float:
    return (await service.keep_alive(KeepAliveRequest(sandbox, ttl))).expires_at


async def events_of(service: SandboxService) -> tuple[list[Event], asyncio.Task[None]]:
    """Follow a service; return the list to which its events are added, and the task that does so."""
    found: list[Event] = []

    async def follow() -> None:
        with suppress(UnavailableError):
            async for event in service.watch_events(WatchEventsRequest()):
                found.append(event)

    task = asyncio.create_task(follow())
    await until(lambda: found)
    return found, task


async def test_one_whose_time_is_prolonged_while_something_else_is_done_stays(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    sandbox = (await service.start_sandbox(StartRequest(ttl_seconds=0.2))).id
    runtime.hold("snapshot")
    snapshot = asyncio.create_task(service.snapshot_sandbox(SnapshotRequest(sandbox)))
    await runtime.reached("snapshot")
    renewal = asyncio.create_task(keep_alive(service, sandbox, 600))
    await asyncio.sleep(0.3)
    runtime.let_go("snapshot")
    await snapshot
    assert await renewal > time.time() + 500
    await asyncio.sleep(0.05)
    assert await state(service, sandbox) == "paused"


async def test_one_whose_time_ran_out_while_something_else_was_done_goes_afterwards(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    sandbox = (await service.start_sandbox(StartRequest(ttl_seconds=0.1))).id
    runtime.hold("snapshot")
    snapshot = asyncio.create_task(service.snapshot_sandbox(SnapshotRequest(sandbox)))
    await runtime.reached("snapshot")
    await asyncio.sleep(0.2)
    assert "stop" not in runtime.steps
    # Too late: its end waits already.
    renewal = asyncio.create_task(keep_alive(service, sandbox, 600))
    runtime.let_go("snapshot")
    await snapshot
    with pytest.raises(SandboxNotFoundError):
        await renewal
    assert not runtime.sandboxes


async def test_one_that_cannot_be_ended_now_does_not_hold_up_the_others(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    runtime.hold("snapshot")
    # Time enough for every snapshot to begin before the first of them expires.
    starts = [service.start_sandbox(StartRequest(ttl_seconds=1.5)) for _ in range(20)]
    busy = [answer.id for answer in await asyncio.gather(*starts)]
    other = (await service.start_sandbox(StartRequest(ttl_seconds=1.6))).id
    snapshots = [asyncio.create_task(service.snapshot_sandbox(SnapshotRequest(one))) for one in busy]
    await until(lambda: other not in runtime.sandboxes)
    assert set(busy) == set(runtime.sandboxes)
    runtime.let_go("snapshot")
    await asyncio.gather(*snapshots)
    await until(lambda: not runtime.sandboxes)


async def test_a_deadline_that_cannot_be_written_down_is_not_acknowledged(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    sandbox = (await service.start_sandbox(StartRequest(ttl_seconds=600))).id
    before = (await service.get_info(GetInfoRequest(sandbox))).sandbox.expires_at
    service.database.note((NO_SPACE, ()))
    with pytest.raises(UnavailableError, match="no space left"):
        await keep_alive(service, sandbox, 5)
    assert (await service.get_info(GetInfoRequest(sandbox))).sandbox.expires_at == before


async def test_a_start_whose_deadline_cannot_be_written_down_leaves_nothing(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    service.database.note((NO_SPACE, ()))
    with pytest.raises(UnavailableError, match="no space left"):
        await service.start_sandbox(StartRequest(ttl_seconds=600))
    assert (runtime.sandboxes, len(service.registry)) == ({}, 0)


async def test_a_renewal_whose_caller_goes_away_is_completed(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    sandbox = await started(service)
    found = service.registry.get(sandbox)
    async with found.lock:
        renewal = asyncio.create_task(keep_alive(service, sandbox, 600))
        await asyncio.sleep(0.01)
        await cancelled(renewal)
    await until(lambda: found.life.expires_at > time.time() + 500)


class TestSweep:
    @pytest.fixture(autouse=True)
    def _often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(expiry, "SWEEP_SECONDS", 0.05)

    async def test_it_finds_one_whose_timer_was_lost(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        # Nobody is told of it.
        service.registry.get(sandbox).life.expires_at = time.time() + 0.1
        await until(lambda: not runtime.sandboxes)

    async def test_it_ends_anew_what_could_not_be_ended_and_tells_of_that_once(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        events, following = await events_of(service)
        runtime.failing["stop"] = UnavailableError("the engine is away")
        sandbox = (await service.start_sandbox(StartRequest(ttl_seconds=0.05))).id
        await until(lambda: not runtime.sandboxes)
        await until(lambda: events[-1].type == "removed")
        types = [event.type for event in events if event.id == sandbox]
        assert types == ["created", "running", "failed", "expired", "removed"]
        await cancelled(following)

    async def test_it_tells_of_processes_that_the_kernel_has_ended(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        events, following = await events_of(service)
        await started(service)
        runtime.killed = 2
        await until(lambda: events[-1].type == "out_of_memory")
        sweeps = runtime.steps.count("oom_kills")
        await until(lambda: runtime.steps.count("oom_kills") > sweeps + 2)
        assert [event.type for event in events].count("out_of_memory") == 1
        await cancelled(following)

    async def test_one_that_takes_its_time_holds_up_no_end(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        watched = await started(service)
        runtime.hold("oom_kills")
        await runtime.reached("oom_kills")
        other = (await service.start_sandbox(StartRequest(ttl_seconds=0.1))).id
        await until(lambda: other not in runtime.sandboxes)
        assert set(runtime.sandboxes) == {watched}
        runtime.let_go("oom_kills")


class TestEnds:
    async def test_the_end_of_a_main_process_is_told_before_its_removal(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        events, following = await events_of(service)
        sandbox = await started(service)
        runtime.killed = 1
        runtime.hold("oom_kills")
        runtime.end_main(137)
        await status_is(service, sandbox, "stopped")
        stopping = asyncio.create_task(service.stop_sandbox(StopRequest(sandbox)))
        await runtime.reached("oom_kills")
        runtime.let_go("oom_kills")
        await stopping
        await until(lambda: events[-1].type == "removed")
        types = [event.type for event in events if event.id == sandbox]
        assert types == ["created", "running", "out_of_memory", "stopped", "removed"]
        await cancelled(following)

    async def test_one_that_cannot_be_halted_can_be_stopped(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.failing["halt"] = UnavailableError("the engine is away")
        with pytest.raises(UnavailableError):
            await service.stop_sandbox(StopRequest(sandbox, skip_cleanup=True))
        assert await state(service, sandbox) == "error"
        with pytest.raises(ConflictError):
            await service.stop_sandbox(StopRequest(sandbox, skip_cleanup=True))
        await service.stop_sandbox(StopRequest(sandbox))
        assert not runtime.sandboxes


class TestAdmission:
    async def test_a_start_that_is_under_way_takes_a_place(
        self, runtime: SteppedRuntime, tmp_path: Path
    ) -> None:
        service = SandboxService({"bubblewrap": runtime}, Snapshots(tmp_path), Admission(max_sandboxes=1))
        runtime.hold("start")
        first = asyncio.create_task(service.start_sandbox(StartRequest(), "a-key"))
        await runtime.reached("start")
        with pytest.raises(AtCapacityError):
            await service.start_sandbox(StartRequest())
        again = asyncio.create_task(service.start_sandbox(StartRequest(), "a-key"))
        await asyncio.sleep(0)
        runtime.let_go("start")
        assert await first == await again
        await service.close()

    async def test_a_name_is_taken_by_a_start_that_is_under_way(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        first = asyncio.create_task(service.start_sandbox(StartRequest(name="one")))
        await runtime.reached("start")
        with pytest.raises(ConflictError, match="is named 'one'"):
            await service.start_sandbox(StartRequest(name="one"))
        runtime.let_go("start")
        await first

    async def test_one_that_was_due_while_nobody_was_there_is_ended_at_once(
        self, runtime: SteppedRuntime, tmp_path: Path
    ) -> None:
        service = SandboxService({"bubblewrap": runtime}, Snapshots(tmp_path))
        leave(service, runtime, CREATED, "one", "paused", life=Lifetime(expires_at=time.time() - 1))
        runtime.outlived["one"] = "paused"
        await service.open()
        await until(lambda: not runtime.sandboxes)
        await service.close()

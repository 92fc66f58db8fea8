"""What the service core does when callers go away, steps fail and operations meet.

The runtime here is one whose every step waits until the test lets it go on: no real one can be made to
stop at a given point.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import flash_sandbox_guest as guest
import pytest
from fake_agent import FakeAgent
from outlived import leave

from flash_sandbox.errors import (
    AlreadyExistsError,
    CancelledByServerError,
    ConflictError,
    InternalServerError,
    RuntimeUnavailableError,
    SandboxEndedError,
    SandboxNotFoundError,
    SandboxTimeoutError,
    UnavailableError,
    UnsupportedError,
)
from flash_sandbox.models import (
    ExecRequest,
    GetInfoRequest,
    PauseRequest,
    ResumeRequest,
    SignalProcessRequest,
    SnapshotRequest,
    StartProcessRequest,
    StartRequest,
    StatusRequest,
    StopRequest,
    WaitProcessRequest,
    WatchEventsRequest,
)
from flash_sandbox.orchestrator.core import rows
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.doors.call import Call
from flash_sandbox.orchestrator.doors.calls import Calls
from flash_sandbox.orchestrator.doors.request_log import RequestLog
from flash_sandbox.orchestrator.guest.guest import Defaults
from flash_sandbox.orchestrator.guest.streams import AgentStream
from flash_sandbox.orchestrator.linux.limits import Usage
from flash_sandbox.orchestrator.runtimes.base import Adoption, Availability, Created, Kept
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.snapshots.manifest import Manifest, new_id
from flash_sandbox.orchestrator.snapshots.store import Snapshots

UNTIL_KILLED = ("until", "killed")
CREATED = Created("none", Defaults({}), ("main",))


class SteppedRuntime:
    """Keeps sandboxes in a set; a step that the test holds waits, one that it fails raises."""

    name = "bubblewrap"
    capabilities = replace(BubblewrapRuntime.capabilities, outlives=True)

    def __init__(self) -> None:
        self.sandboxes: dict[str, FakeAgent] = {}
        self.agents: list[FakeAgent] = []
        self.steps: list[str] = []
        self.main_ends_with: int | None = None
        self.ends_when_killed = False
        self.nothing_runs = asyncio.Event()
        self.answer: Callable[[FakeAgent, guest.ToGuest], bool] = lambda agent, message: False
        self.failing: dict[str, Exception] = {}
        self.outlived: dict[str, Literal["running", "paused", "stopped"]] = {}
        self.kept: list[Kept] = []
        self.is_away = False
        self.killed = 0
        self._held: dict[str, asyncio.Event] = {}
        self._reached: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def hold(self, step: str) -> None:
        self._held[step] = asyncio.Event()
        self._reached[step].clear()

    def release(self) -> None:
        """Hold and fail no step any more."""
        self.failing.clear()
        for step in list(self._held):
            self.let_go(step)

    def let_go(self, step: str) -> None:
        self._held.pop(step).set()

    async def reached(self, step: str) -> None:
        await self._reached[step].wait()

    async def _step(self, name: str) -> None:
        self.steps.append(name)
        self._reached[name].set()
        if name in self._held:
            await self._held[name].wait()
        if name in self.failing:
            raise self.failing.pop(name)

    async def check(self) -> Availability:
        await self._step("check")
        return Availability(self.name, True, "stepped")

    async def open(self, kept: Sequence[Kept] = ()) -> None:
        await self._step("open")
        self.kept = list(kept)

    async def adopt(self) -> Adoption:
        await self._step("adopt")
        for adopted in self.outlived:
            self.sandboxes[adopted] = FakeAgent(self._told, has_main=True)
            self.agents.append(self.sandboxes[adopted])
        if self.is_away:
            return Adoption(complete=False)
        return Adoption(self.outlived)

    async def close(self, *, end_sandboxes: bool = True) -> None:
        await self._step("close")

    async def create(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
    ) -> Created:
        await self._step("start")
        self.sandboxes[sandbox_id] = FakeAgent(self._told)
        self.agents.append(self.sandboxes[sandbox_id])
        return CREATED

    def _told(self, agent: FakeAgent, message: guest.ToGuest) -> bool:
        if message.run is not None and message.run.label != b"main":
            self.steps.append("exec")
            self._reached["exec"].set()
        if message.run is not None and message.run.label == b"main" and self.main_ends_with is not None:
            agent.say(message.task, started=guest.Started(pid=2))
            agent.say(message.task, ended=guest.Ended(status=self.main_ends_with))
            return True
        if message.kill is not None and self.ends_when_killed:
            agent.end(message.task, 128 + 9, 9)
            self.end_main(0)
            return True
        return self.answer(agent, message)

    def end_main(self, status: int) -> None:
        """Let the main process of the only sandbox end."""
        (agent,) = self.sandboxes.values()
        agent.end(agent.main, status)

    async def stream(self, sandbox_id: str) -> AgentStream:
        return await self.sandboxes[sandbox_id].connect()

    async def wait(self, sandbox_id: str) -> None:
        await self.nothing_runs.wait()

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        await self._step("usage")
        return Usage(1, 2, 3.0, 4, 5, 6)

    async def pause(self, sandbox_id: str) -> None:
        await self._step("pause")

    async def resume(self, sandbox_id: str) -> None:
        await self._step("resume")

    async def snapshot(self, sandbox_id: str, start: StartRequest, *, for_forks: bool = False) -> Manifest:
        await self._step("snapshot")
        made = new_id()
        return Manifest(made, Path("/nowhere", made), "bubblewrap", "host")

    def exporting(self, snapshot: Manifest) -> AbstractAsyncContextManager[Manifest]:
        return nullcontext(snapshot)

    async def import_snapshot(self, snapshot: Manifest) -> Manifest:
        await self._step("import_snapshot")
        return snapshot

    async def forget_snapshot(self, snapshot: Manifest) -> None:
        await self._step("forget_snapshot")

    async def oom_kills(self, sandbox_id: str) -> int:
        await self._step("oom_kills")
        return self.killed

    async def halt(self, sandbox_id: str) -> None:
        await self._step("halt")

    async def stop(self, sandbox_id: str) -> None:
        await self._step("stop")
        await self.sandboxes.pop(sandbox_id).die()


@pytest.fixture
async def runtime() -> AsyncIterator[SteppedRuntime]:
    runtime = SteppedRuntime()
    yield runtime
    for agent in runtime.agents:
        await agent.die()


@pytest.fixture
async def service(runtime: SteppedRuntime, tmp_path: Path) -> AsyncIterator[SandboxService]:
    service = SandboxService({"bubblewrap": runtime}, Snapshots(tmp_path))
    yield service
    runtime.release()
    await service.close()


async def started(service: SandboxService) -> str:
    return (await service.start_sandbox(StartRequest())).id


async def status_is(service: SandboxService, sandbox: str, status: str) -> None:
    async with asyncio.timeout(10):
        while await state(service, sandbox) != status:
            await asyncio.sleep(0)


async def state(service: SandboxService, sandbox: str) -> str:
    return (await service.get_status(StatusRequest(sandbox))).status


async def cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestStart:
    async def test_a_caller_that_goes_away_leaves_nothing(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        task = asyncio.create_task(service.start_sandbox(StartRequest()))
        await runtime.reached("start")
        await cancelled(task)
        assert (runtime.sandboxes, len(service.registry)) == ({}, 0)

    async def test_a_start_that_is_complete_when_its_caller_goes_away_is_undone(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        task = asyncio.create_task(service.start_sandbox(StartRequest()))
        await runtime.reached("start")
        runtime.let_go("start")
        while not runtime.sandboxes:
            await asyncio.sleep(0)
        await cancelled(task)
        assert (runtime.sandboxes, len(service.registry)) == ({}, 0)

    async def test_another_caller_with_the_same_key_keeps_it_going(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        first = asyncio.create_task(service.start_sandbox(StartRequest(), "key"))
        await runtime.reached("start")
        second = asyncio.create_task(service.start_sandbox(StartRequest(), "key"))
        await asyncio.sleep(0)
        await cancelled(first)
        runtime.let_go("start")
        assert {(await second).id} == runtime.sandboxes.keys()

    async def test_two_with_one_key_at_once_are_one(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("check")
        starts = [asyncio.create_task(service.start_sandbox(StartRequest(), "key")) for _ in range(2)]
        # Neither knows of the other yet.
        while runtime.steps.count("check") < 2:
            await asyncio.sleep(0)
        runtime.let_go("check")
        assert {result.id for result in await asyncio.gather(*starts)} == runtime.sandboxes.keys()
        assert len(service.registry) == len(runtime.sandboxes) == 1

    async def test_the_key_of_one_that_is_being_undone_starts_anew(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        given_up = asyncio.create_task(service.start_sandbox(StartRequest(), "key"))
        await runtime.reached("start")
        runtime.let_go("start")
        while not runtime.sandboxes:
            await asyncio.sleep(0)
        runtime.hold("stop")
        given_up.cancel()
        await runtime.reached("stop")
        again = await service.start_sandbox(StartRequest(), "key")
        runtime.let_go("stop")
        await cancelled(given_up)
        assert ({again.id}, await state(service, again.id)) == (set(runtime.sandboxes), "running")

    async def test_after_a_failure_the_key_starts_anew(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.failing["start"] = UnsupportedError("not this time")
        with pytest.raises(UnsupportedError):
            await service.start_sandbox(StartRequest(), "key")
        assert (await service.start_sandbox(StartRequest(), "key")).id in runtime.sandboxes

    async def test_a_main_process_that_ends_at_once_leaves_it_stopped(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        task = asyncio.create_task(service.start_sandbox(StartRequest()))
        await runtime.reached("start")
        runtime.main_ends_with = 0
        runtime.let_go("start")
        assert await state(service, (await task).id) == "stopped"


class TestPause:
    async def test_one_that_ends_meanwhile_is_not_paused(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("pause")
        task = asyncio.create_task(service.pause_sandbox(PauseRequest(sandbox)))
        await runtime.reached("pause")
        runtime.end_main(3)
        await status_is(service, sandbox, "stopped")
        runtime.let_go("pause")
        with pytest.raises(ConflictError, match="is stopped: its main process ended with exit status 3"):
            await task
        assert await state(service, sandbox) == "stopped"

    async def test_one_that_ends_while_it_is_resumed_stays_stopped(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        await service.pause_sandbox(PauseRequest(sandbox))
        runtime.hold("resume")
        task = asyncio.create_task(service.resume_sandbox(ResumeRequest(sandbox)))
        await runtime.reached("resume")
        runtime.end_main(3)
        await status_is(service, sandbox, "stopped")
        runtime.let_go("resume")
        await task
        assert await state(service, sandbox) == "stopped"

    async def test_one_that_is_stopped_meanwhile_is_not_there(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("stop")
        stop = asyncio.create_task(service.stop_sandbox(StopRequest(sandbox)))
        await runtime.reached("stop")
        pause = asyncio.create_task(service.pause_sandbox(PauseRequest(sandbox)))
        await asyncio.sleep(0)
        runtime.let_go("stop")
        await stop
        with pytest.raises(SandboxNotFoundError):
            await pause
        assert "pause" not in runtime.steps


class TestKill:
    async def test_one_that_was_asked_for_is_told_also_where_the_sandbox_ends_right_after(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.ends_when_killed = True
        process = (await service.start_process(StartProcessRequest(sandbox, UNTIL_KILLED))).process_id
        await runtime.reached("exec")
        await service.signal_process(SignalProcessRequest(sandbox, process, 9))
        result = await service.wait_process(WaitProcessRequest(sandbox, process))
        assert (result.signal, result.exit_code, result.timed_out) == (9, 137, False)

    async def test_one_whose_time_is_over_is_told_likewise(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.ends_when_killed = True
        result = await service.exec_command(ExecRequest(sandbox, UNTIL_KILLED, timeout_ms=1))
        assert (result.signal, result.exit_code, result.timed_out) == (9, 137, True)


class TestSnapshot:
    async def test_one_that_fails_leaves_the_sandbox_running(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.failing["snapshot"] = UnavailableError("disk full")
        with pytest.raises(UnavailableError):
            await service.snapshot_sandbox(SnapshotRequest(sandbox))
        assert (await state(service, sandbox), runtime.steps[-1]) == ("running", "resume")

    async def test_one_that_is_cancelled_leaves_the_sandbox_running(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("snapshot")
        task = asyncio.create_task(service.snapshot_sandbox(SnapshotRequest(sandbox)))
        await runtime.reached("snapshot")
        await cancelled(task)
        assert (await state(service, sandbox), runtime.steps[-1]) == ("running", "resume")

    async def test_one_of_a_paused_sandbox_that_fails_leaves_it_paused(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        await service.snapshot_sandbox(SnapshotRequest(sandbox))
        runtime.failing["snapshot"] = UnavailableError("disk full")
        with pytest.raises(UnavailableError):
            await service.snapshot_sandbox(SnapshotRequest(sandbox))
        assert await state(service, sandbox) == "paused"

    async def test_a_resume_meanwhile_waits_for_it(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("snapshot")
        snapshot = asyncio.create_task(service.snapshot_sandbox(SnapshotRequest(sandbox)))
        await runtime.reached("snapshot")
        resume = asyncio.create_task(service.resume_sandbox(ResumeRequest(sandbox)))
        runtime.let_go("snapshot")
        await asyncio.gather(snapshot, resume)
        assert runtime.steps[-3:] == ["pause", "snapshot", "resume"]


class TestStop:
    async def test_the_second_of_two_finds_nothing(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        stops = (service.stop_sandbox(StopRequest(sandbox)) for _ in range(2))
        outcomes = await asyncio.gather(*stops, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [
            SandboxNotFoundError
        ]

    async def test_it_is_completed_when_its_caller_goes_away(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("stop")
        task = asyncio.create_task(service.stop_sandbox(StopRequest(sandbox)))
        await runtime.reached("stop")
        await cancelled(task)
        runtime.let_go("stop")
        await service.close()
        assert runtime.steps.count("stop") == 1
        assert not runtime.sandboxes

    async def test_one_that_fails_can_be_repeated(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.failing["stop"] = InternalServerError("busy")
        with pytest.raises(InternalServerError):
            await service.stop_sandbox(StopRequest(sandbox))
        assert await state(service, sandbox) == "error"
        await service.stop_sandbox(StopRequest(sandbox))
        assert not runtime.sandboxes

    async def test_a_command_that_hangs_is_ended_as_a_conflict(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        sandbox = await started(service)
        runtime.hold("exec")
        command = asyncio.create_task(service.exec_command(ExecRequest(sandbox, ("sleep",))))
        await runtime.reached("exec")
        await service.stop_sandbox(StopRequest(sandbox))
        with pytest.raises(SandboxEndedError, match="was stopped while the command ran"):
            await command


class TestEnd:
    async def test_who_is_told_of_it_finds_the_sandbox_stopped(
        self, service: SandboxService, runtime: SteppedRuntime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def wait(sandbox_id: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                # Giving it up takes longer than telling the caller.
                for _ in range(100):
                    await asyncio.sleep(0)

        def hang_up(agent: FakeAgent, message: guest.ToGuest) -> bool:
            agent.hang_up()
            return True

        monkeypatch.setattr(runtime, "wait", wait)
        sandbox = await started(service)
        runtime.answer = hang_up
        with pytest.raises(SandboxEndedError):
            await service.exec_command(ExecRequest(sandbox, ("true",)))
        assert await state(service, sandbox) == "stopped"


class TestClose:
    async def test_it_stops_every_sandbox_and_closes_the_runtime_once(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        for _ in range(40):
            await started(service)
        await service.close()
        await service.close()
        assert (runtime.sandboxes, runtime.steps.count("stop"), runtime.steps.count("close")) == (
            {},
            40,
            1,
        )

    async def test_a_start_under_way_is_undone(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        runtime.hold("start")
        task = asyncio.create_task(service.start_sandbox(StartRequest()))
        await runtime.reached("start")
        await service.close()
        with pytest.raises(UnavailableError):
            await task
        assert not runtime.sandboxes

    async def test_nothing_starts_afterwards(self, service: SandboxService) -> None:
        await service.close()
        with pytest.raises(UnavailableError):
            await service.start_sandbox(StartRequest())

    async def test_a_runtime_that_cannot_be_opened_closes_the_others(self, tmp_path: Path) -> None:
        first, second = SteppedRuntime(), SteppedRuntime()
        second.failing["open"] = UnsupportedError("no")
        with pytest.raises(UnsupportedError):
            await SandboxService({"one": first, "two": second}, Snapshots(tmp_path)).open()
        assert (first.steps, second.steps) == (["open", "close"], ["open"])


class TestCalls:
    @pytest.fixture
    def calls(self) -> Calls:
        return Calls(RequestLog())

    @pytest.fixture
    def call(self) -> Call:
        return Call.begin("http", "the-request", "get_status")

    async def test_an_unexpected_failure_tells_nothing_but_is_logged(
        self, calls: Calls, call: Call, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def work() -> None:
            raise RuntimeError("secret")

        with caplog.at_level(logging.ERROR), pytest.raises(InternalServerError) as caught:
            await calls.perform(call, None, work)
        assert "secret" not in caught.value.detail
        assert "the-request" in caplog.text
        assert "RuntimeError: secret" in caplog.text

    async def test_the_deadline_ends_the_work(self, calls: Calls, call: Call) -> None:
        with pytest.raises(SandboxTimeoutError):
            await calls.perform(call, 0.01, asyncio.Event().wait)

    async def test_draining_lets_a_call_in_flight_end(self, calls: Calls, call: Call) -> None:
        go_on = asyncio.Event()
        task = asyncio.create_task(calls.perform(call, None, go_on.wait))
        await asyncio.sleep(0)
        draining = asyncio.create_task(calls.drain(10))
        go_on.set()
        await draining
        assert await task

    @pytest.mark.parametrize(
        # What can be asked again is worth asking the next orchestrator.
        ("operation", "error"),
        [("get_status", UnavailableError), ("exec_command", CancelledByServerError)],
    )
    async def test_after_the_grace_a_call_is_given_up_with_an_answer(
        self, calls: Calls, operation: str, error: type[Exception]
    ) -> None:
        call = Call.begin("http", "the-request", operation)
        task = asyncio.create_task(calls.perform(call, None, asyncio.Event().wait))
        await asyncio.sleep(0)
        await calls.drain(0.01)
        with pytest.raises(error):
            await task

    async def test_a_new_call_is_refused_meanwhile(self, calls: Calls, call: Call) -> None:
        await calls.drain(0)
        with pytest.raises(UnavailableError):
            await calls.perform(call, None, asyncio.Event().wait)


def outlived(
    service: SandboxService,
    runtime: SteppedRuntime,
    sandbox_id: str,
    state: Literal["running", "paused"] = "running",
    **more: Any,
) -> None:
    leave(service, runtime, CREATED, sandbox_id, state, **more)
    runtime.outlived[sandbox_id] = state


class TestAdoption:
    async def test_a_sandbox_that_outlived_its_orchestrator_goes_on(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        outlived(service, runtime, "old")
        await service.open()
        assert await state(service, "old") == "running"
        assert (await service.exec_command(ExecRequest("old", ("true",)))).stdout == "done"
        await service.stop_sandbox(StopRequest("old"))
        assert not runtime.sandboxes

    async def test_its_end_is_heard_of(self, service: SandboxService, runtime: SteppedRuntime) -> None:
        outlived(service, runtime, "old", "paused")
        await service.open()
        assert await state(service, "old") == "paused"
        runtime.nothing_runs.set()
        await status_is(service, "old", "stopped")

    async def test_one_whose_agent_does_not_answer_is_ended_and_kept(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        def hang_up(agent: FakeAgent, message: guest.ToGuest) -> bool:
            agent.hang_up()
            return True

        outlived(service, runtime, "old")
        runtime.answer = hang_up
        await service.open()
        await status_is(service, "old", "stopped")
        await service.stop_sandbox(StopRequest("old"))
        assert [step for step in runtime.steps if step in ("halt", "stop")] == ["halt", "stop"]

    async def test_the_runtime_is_told_of_no_start_that_was_not_completed_and_of_no_removal_that_was_begun(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        for state in ("creating", "error"):
            leave(service, runtime, CREATED, state, state)
        leave(service, runtime, CREATED, "half-removed")
        service.database.note(rows.removing("half-removed"))
        leave(service, runtime, CREATED, "ended", "stopped", StartRequest(memory_mb=7))
        await service.open()
        assert runtime.kept == [Kept("ended", StartRequest(memory_mb=7), CREATED, halted=True)]

    async def test_one_whose_runtime_is_away_is_neither_unknown_nor_started_anew(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        request = StartRequest(name="named", network="none")
        outlived(service, runtime, "old", request=request, idempotency_key="key")
        runtime.is_away = True
        await service.open()
        for call in (
            lambda: state(service, "old"),
            lambda: service.get_info(GetInfoRequest("old")),
            lambda: service.start_sandbox(request, "key"),
        ):
            with pytest.raises(UnavailableError, match="is away"):
                await call()
        with pytest.raises(AlreadyExistsError, match="named"):
            await service.start_sandbox(StartRequest(name="named"))
        runtime.is_away = False
        async with asyncio.timeout(10):
            while service.registry.unreachable:
                await asyncio.sleep(0.01)
        assert (await service.start_sandbox(request, "key")).id == "old"

    async def test_one_that_is_gone_is_told_of_as_removed(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        leave(service, runtime, CREATED, "old")
        async with aclosing(service.watch_events(WatchEventsRequest())) as events:
            await anext(events)
            await service.open()
            assert (await anext(events)).type == "removed"
        with pytest.raises(SandboxNotFoundError):
            await state(service, "old")
        assert list(rows.read(service.database)) == []

    async def test_all_are_gone_on_with_at_the_same_time(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        greeted: list[tuple[FakeAgent, guest.ToGuest]] = []

        def answer_all_at_once(agent: FakeAgent, message: guest.ToGuest) -> bool:
            if message.hello is None:
                return False
            greeted.append((agent, message))
            if len(greeted) == 20:
                for one, greeting in greeted:
                    one.respond(greeting)
            return True

        names = [f"old-{number}" for number in range(20)]
        for name in names:
            outlived(service, runtime, name)
        runtime.answer = answer_all_at_once
        await service.open()
        assert [await state(service, name) for name in names] == ["running"] * 20

    async def test_a_start_with_its_idempotency_key_finds_it(
        self, service: SandboxService, runtime: SteppedRuntime
    ) -> None:
        request = StartRequest(network="none")
        outlived(service, runtime, "old", request=request, idempotency_key="key")
        await service.open()
        assert (await service.start_sandbox(request, "key")).id == "old"

    async def test_nothing_is_adopted_before_every_runtime_is_open(
        self, runtime: SteppedRuntime, tmp_path: Path
    ) -> None:
        broken = SteppedRuntime()
        broken.failing["open"] = RuntimeUnavailableError("no")
        service = SandboxService({"bubblewrap": runtime, "docker": broken}, Snapshots(tmp_path))
        with pytest.raises(RuntimeUnavailableError):
            await service.open()
        assert runtime.steps == ["open", "close"]


async def test_closing_does_not_fail_for_an_engine_that_is_away(
    service: SandboxService, runtime: SteppedRuntime
) -> None:
    await started(service)
    runtime.failing["stop"] = UnavailableError("away")
    await service.close()
    assert runtime.steps[-1] == "close"

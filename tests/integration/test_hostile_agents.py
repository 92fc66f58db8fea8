"""Guest agents that lie, stall, flood or die harm only their own sandbox; callers get an error in time."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from fake_agent import FakeAgent, framed
from test_lifecycle_races import SteppedRuntime, started, state, status_is

from flash_sandbox.errors import InternalServerError, SandboxEndedError, SandboxError
from flash_sandbox.models import (
    ExecRequest,
    ExecStreamRequest,
    StartProcessRequest,
    StartRequest,
    StopRequest,
    WaitProcessRequest,
)
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.guest import channel
from flash_sandbox.orchestrator.snapshots.store import Snapshots

MIB = 1024 * 1024
Answer = Callable[[FakeAgent, guest.ToGuest], bool]


@dataclass
class World:
    """An orchestrator with an honest sandbox beside those whose agent lies."""

    service: SandboxService
    runtime: SteppedRuntime
    honest: str

    async def sandbox_of(self, answer: Answer) -> str:
        """Start a sandbox whose agent answers like this once it runs."""
        sandbox = await started(self.service)
        self.runtime.sandboxes[sandbox].answer = answer
        return sandbox

    async def require_honest(self) -> None:
        """Fail unless the honest sandbox works."""
        assert (await self.service.exec_command(ExecRequest(self.honest, ("true",)))).stdout == "done"


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[World]:
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 2.0)
    runtime = SteppedRuntime()
    service = SandboxService({"bubblewrap": runtime}, Snapshots(tmp_path))
    await service.open()
    yield World(service, runtime, await started(service))
    await service.close()
    for agent in runtime.agents:
        await agent.die()


def on_run(attack: Callable[[FakeAgent, int], object]) -> Answer:
    """Attack in place of running a program."""

    def answer(agent: FakeAgent, message: guest.ToGuest) -> bool:
        if message.run is None:
            return False
        attack(agent, message.task)
        return True

    return answer


def of_another_task(agent: FakeAgent, task: int) -> None:
    agent.say(task + 1000, ended=guest.Ended())


def too_much_output(agent: FakeAgent, task: int) -> None:
    agent.say(task, started=guest.Started(pid=2))
    for piece in range(100):
        agent.say(task, output=guest.Output(offset=piece * 65_000, data=bytes(65_000)))


def wrong_offset(agent: FakeAgent, task: int) -> None:
    agent.say(task, output=guest.Output(offset=2**63, data=b"x"))


def endless_frame(agent: FakeAgent, task: int) -> None:
    agent.send(b"\xf5\xff\xff\xff\xff" + bytes(10 * MIB))


def no_frames(agent: FakeAgent, task: int) -> None:
    agent.send(b"nonsense" * MIB)


def flood_of_pongs(agent: FakeAgent, task: int) -> None:
    agent.send(framed(bytes(guest.FromGuest(pong=guest.Pong()))) * 100_000)


def a_second_welcome(agent: FakeAgent, task: int) -> None:
    agent.say(welcome=guest.Welcome(nonce=bytes(16), version=1))


def a_credit_that_nobody_can_have(agent: FakeAgent, task: int) -> None:
    agent.say(task, credit=guest.Credit(limit=2**64 - 1))


def output_after_the_end(agent: FakeAgent, task: int) -> None:
    agent.say(task, started=guest.Started(pid=2))
    agent.say(task, ended=guest.Ended())
    agent.say(task, output=guest.Output(data=b"x"))


def unreadable(agent: FakeAgent, task: int) -> None:
    agent.send(framed(b"\xff" * 100))


def silence(agent: FakeAgent, task: int) -> None:
    pass


def death(agent: FakeAgent, task: int) -> None:
    agent.hang_up()


ATTACKS = [
    of_another_task,
    wrong_offset,
    endless_frame,
    no_frames,
    flood_of_pongs,
    a_second_welcome,
    a_credit_that_nobody_can_have,
    unreadable,
    silence,
    death,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_an_attack_ends_its_own_sandbox_alone(
    world: World, attack: Callable[[FakeAgent, int], object]
) -> None:
    sandbox = await world.sandbox_of(on_run(attack))
    async with asyncio.timeout(20):
        with pytest.raises(SandboxEndedError):
            await world.service.exec_command(ExecRequest(sandbox, ("true",)))
        await status_is(world.service, sandbox, "stopped")
        await world.require_honest()
        assert await state(world.service, world.honest) == "running"
        await world.service.stop_sandbox(StopRequest(sandbox))


async def test_more_output_than_is_allowed_ends_the_sandbox(world: World) -> None:
    sandbox = await world.sandbox_of(on_run(too_much_output))
    frames = world.service.exec_stream(ExecStreamRequest(sandbox, ("true",)))
    async with asyncio.timeout(20), aclosing(frames):
        assert (await anext(frames)).type == "started"
        # Nobody takes any more.
        await status_is(world.service, sandbox, "stopped")
        with pytest.raises(SandboxEndedError):
            async for _ in frames:
                pass


async def test_an_attack_is_heard_of_by_everybody_who_waits_for_the_sandbox(world: World) -> None:
    sandbox = await world.sandbox_of(lambda agent, message: False)
    process = await world.service.start_process(StartProcessRequest(sandbox, ("until", "killed")))
    waiting = asyncio.create_task(world.service.wait_process(WaitProcessRequest(sandbox, process.process_id)))
    world.runtime.sandboxes[sandbox].send(b"nonsense")
    async with asyncio.timeout(20):
        with pytest.raises(SandboxEndedError):
            await waiting


async def test_a_program_that_is_not_ended_when_its_time_is_over_ends_its_sandbox(world: World) -> None:
    def never_ended(agent: FakeAgent, message: guest.ToGuest) -> bool:
        return message.kill is not None

    sandbox = await world.sandbox_of(never_ended)
    async with asyncio.timeout(20):
        with pytest.raises(SandboxEndedError):
            await world.service.exec_command(ExecRequest(sandbox, ("until", "killed"), timeout_ms=10))
        await world.require_honest()


async def test_output_without_end_after_the_time_is_over_does_not_prolong_it(world: World) -> None:
    def trickle(agent: FakeAgent, message: guest.ToGuest) -> bool:
        async def say() -> None:
            offset = 0
            while True:
                agent.say(message.task, output=guest.Output(offset=offset, data=b"x"))
                offset += 1
                await asyncio.sleep(0.01)

        if message.kill is not None:
            agent.background(say())
            return True
        return False

    sandbox = await world.sandbox_of(trickle)
    async with asyncio.timeout(20):
        with pytest.raises(SandboxEndedError):
            await world.service.exec_command(ExecRequest(sandbox, ("until", "killed"), timeout_ms=10))


async def test_a_flood_of_zeros_holds_up_nobody_and_is_not_kept(world: World) -> None:
    sandbox = await world.sandbox_of(lambda agent, message: False)
    agent = world.runtime.sandboxes[sandbox]

    async def flood() -> None:
        while True:
            await agent.send_all(bytes(MIB))

    tracemalloc.start()
    agent.background(flood())
    for _ in range(200):
        await world.require_honest()
    assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    tracemalloc.stop()


@pytest.mark.parametrize("attack", [silence, no_frames, death], ids=lambda attack: attack.__name__)
async def test_an_agent_that_does_not_greet_fails_the_start_and_leaves_nothing(
    world: World, attack: Callable[[FakeAgent, int], object]
) -> None:
    def answer(agent: FakeAgent, message: guest.ToGuest) -> bool:
        attack(agent, 0)
        return True

    world.runtime.answer = answer
    async with asyncio.timeout(20):
        with pytest.raises(InternalServerError, match="guest agent"):
            await world.service.start_sandbox(StartRequest())
    assert set(world.runtime.sandboxes) == {world.honest}


async def test_a_result_for_somebody_elses_command_reaches_nobody(world: World) -> None:
    held: list[int] = []

    def swap(agent: FakeAgent, message: guest.ToGuest) -> bool:
        if message.run is None:
            return False
        held.append(message.task)
        agent.say(message.task, started=guest.Started(pid=2))
        if len(held) == 2:
            for task, status in zip(held, (2, 1), strict=True):
                agent.say(task, ended=guest.Ended(status=status))
        return True

    sandbox = await world.sandbox_of(swap)
    run = world.service.exec_command(ExecRequest(sandbox, ("true",)))
    again = world.service.exec_command(ExecRequest(sandbox, ("true",)))
    found = await asyncio.gather(run, again)
    assert [result.exit_code for result in found] == [2, 1]
    await world.require_honest()


async def test_programs_whose_label_nobody_wrote_are_left_alone(world: World) -> None:
    def lie(agent: FakeAgent, message: guest.ToGuest) -> bool:
        if message.hello is None:
            return False
        for number, label in enumerate((b"\xff", b"[]", b'{"process": []}', b"main"), 1):
            agent.say(number, known=guest.Known(credit=262_144, label=label))
        agent.say(welcome=guest.Welcome(nonce=message.hello.nonce, last_task=4, version=1))
        return True

    world.runtime.answer = lie
    sandbox = await started(world.service)
    agent = world.runtime.sandboxes[sandbox]
    async with asyncio.timeout(20):
        while {message.task for message in agent.asked if message.input is not None} != {1, 2, 3}:
            await asyncio.sleep(0.001)
    assert not list(world.service.registry.get(sandbox).processes)


async def test_every_error_is_one_of_the_interface(world: World) -> None:
    for attack in ATTACKS:
        sandbox = await world.sandbox_of(on_run(attack))
        outcome = await asyncio.gather(
            world.service.exec_command(ExecRequest(sandbox, ("true",))), return_exceptions=True
        )
        assert isinstance(outcome[0], SandboxError)

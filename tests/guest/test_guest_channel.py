"""The orchestrator's channel to guest agents: honest ones, and ones that lie."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import payloads, sandbox_command
from channels import PATH, Liar, channel_on, opened, printed, sh
from fake_agent import framed
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.orchestrator.guest import channel as channel_module
from flash_sandbox.orchestrator.guest import frames
from flash_sandbox.orchestrator.guest.channel import ChannelFailed, Task
from flash_sandbox.orchestrator.guest.frames import FrameReader

# An honest agent


async def test_programs_side_by_side(agent: Path) -> None:
    async with opened(agent) as channel:

        async def run(number: int) -> None:
            task = sh(channel, f"head -c {number * 20_000} /dev/zero; exit {number}")
            assert len(await printed(task)) == number * 20_000
            assert (await task.ended()).status == number

        await asyncio.gather(*map(run, range(40)))


async def test_input_of_any_size(agent: Path) -> None:
    async with opened(agent) as channel:
        task = channel.run(guest.Run(argv=[b"cat"], env=PATH, takes_input=True))
        sent = bytes(range(256)) * 10_000
        _, back = await asyncio.gather(task.write(sent, end=True), printed(task))
        assert back == sent


async def test_who_does_not_read_holds_up_its_own_task_alone(agent: Path) -> None:
    async with opened(agent) as channel:
        endless = sh(channel, "yes")
        await endless.started()
        assert await printed(sh(channel, "echo hi")) == b"hi\n"
        assert (await endless.end()).signal == signal.SIGKILL


async def test_a_connection_has_started_once_it_is_made(agent: Path) -> None:
    listen = "import socket; s = socket.create_server(('127.0.0.1', 8000)); print('up', flush=True); "
    accept = "exit(s.accept()[0].recv(1) != b'x')"
    async with opened(agent) as channel, asyncio.timeout(30):
        server = channel.run(guest.Run(argv=[b"python3", b"-c", f"{listen}{accept}".encode()], env=PATH))
        async for piece in server.output():
            assert piece.data == b"up\n"
            break
        connection = channel.dial(port=8000)
        await connection.started()
        assert not connection.has_ended
        await connection.write(b"x")
        assert (await server.ended()).status == 0


async def test_a_task_that_is_forgotten_ends(agent: Path) -> None:
    async with opened(agent) as channel:
        for _ in range(3):
            sh(channel, "yes & sleep 4714").forget()
        while await printed(sh(channel, "pgrep -c yes; pgrep -fc '^sleep 4714'")) != b"0\n0\n":
            pass


async def test_a_program_is_given_up_at_any_moment(agent: Path) -> None:
    async with opened(agent) as channel:
        for turns in range(12):
            task = sh(channel, "seq 100000")
            reading = asyncio.ensure_future(printed(task))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            task.forget()
        assert await printed(sh(channel, "echo hi")) == b"hi\n"


async def test_an_agent_that_dies_fails_its_tasks(agent: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [*sandbox_command(agent), "--inherited", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    told: list[ChannelFailed] = []
    async with channel_on(ours, on_failure=told.append) as channel:
        await channel.open()
        task = sh(channel, "sleep 600")
        await task.started()
        process.kill()
        with pytest.raises(ChannelFailed, match="gone"):
            await task.ended()
        with pytest.raises(ChannelFailed, match="gone"):
            sh(channel, "true")
    process.wait()
    assert len(told) == 1


# Agents that lie


def output(offset: int, size: int) -> dict[str, object]:
    return {"output": guest.Output(offset=offset, data=bytes(size))}


def ended(status: int = 0) -> dict[str, object]:
    return {"ended": guest.Ended(status=status)}


def credit(limit: int) -> dict[str, object]:
    return {"credit": guest.Credit(limit=limit)}


@pytest.mark.parametrize(
    "said",
    [
        [(99, ended())],
        [(0, ended())],
        [(1, output(1, 10))],
        [(1, output(0, 10)), (1, output(5, 10))],
        [(1, output(0, 0))],
        [(1, output(at * 60_000, 60_000)) for at in range(10)],
        [(1, ended()), (1, ended())],
        [(1, ended()), (1, output(0, 1))],
        [(1, credit(0))],
        [(1, credit(2**63))],
        [(1, {})],
        [(0, {"pong": guest.Pong()})],
        [(1, {"welcome": guest.Welcome()})],
        [(1, {"known": guest.Known()})],
    ],
)
async def test_an_agent_that_breaks_the_protocol_is_given_up(
    said: list[tuple[int, dict[str, object]]],
) -> None:
    liar = await Liar().opened()
    task = await liar.task()
    for number, body in said:
        liar.say(number, **body)
    assert len(liar.failures) == 1
    with pytest.raises(ChannelFailed):
        await liar.task()
    if not task.has_ended:
        with pytest.raises(ChannelFailed):
            await task.ended()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"x",
        b"\0\0x",
        framed(b"\xff" * 9),
        framed(b"")[:-1] + b"x",
        framed(b"")[:1] + b"\xff" * 5,
        framed(bytes(66_561)),
    ],
)
async def test_bytes_that_are_no_frame_fail_the_channel(nonsense: bytes) -> None:
    liar = await Liar().opened()
    liar.channel.received(nonsense + framed(b""))
    assert len(liar.failures) == 1


async def test_endless_bytes_are_not_kept() -> None:
    liar = await Liar().opened()
    for _ in range(100):
        liar.channel.received(framed(bytes(66_560))[:60_000])
    assert len(liar.failures) == 1


async def test_a_result_for_somebody_elses_task_reaches_nobody() -> None:
    liar = await Liar().opened()
    one, other = await liar.task(), await liar.task()
    liar.say(2, **ended(7))
    assert (one.has_ended, (await other.ended()).status) == (False, 7)


@pytest.mark.parametrize(
    "said",
    [
        [{"welcome": guest.Welcome(nonce=bytes(16), version=1)}],
        [{"pong": guest.Pong()}],
        [{"known": guest.Known(credit=5, input=6)}],
        [{"known": guest.Known()}] * 5000,
    ],
    ids=["nonce", "other", "credit", "many"],
)
async def test_a_greeting_that_is_wrong_fails_the_channel(said: list[dict[str, object]]) -> None:
    liar = Liar()
    opening = asyncio.ensure_future(liar.channel.open())
    await asyncio.sleep(0)
    for number, body in enumerate(said):
        liar.say(number, **body)
    with pytest.raises(ChannelFailed):
        await opening


async def test_an_agent_of_another_version_is_refused() -> None:
    liar = Liar()
    opening = asyncio.ensure_future(liar.channel.open())
    await asyncio.sleep(0)
    hello = liar.asked[0].hello
    assert hello is not None
    liar.say(welcome=guest.Welcome(nonce=hello.nonce, version=2))
    with pytest.raises(ChannelFailed, match="version 2"):
        await opening


@pytest.mark.parametrize(
    "wait",
    [
        lambda liar, task: liar.channel.ping(),
        lambda liar, task: task.end(),
        lambda liar, task: Liar().channel.open(),
    ],
    ids=["ping", "end", "open"],
)
async def test_an_agent_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[[Liar, Task], object]
) -> None:
    monkeypatch.setattr(channel_module, "ANSWER_SECONDS", 0.05)
    liar = await Liar().opened()
    with pytest.raises(ChannelFailed, match="within"):
        await wait(liar, await liar.task())  # type: ignore[misc]


# Frames


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(bytes(data.draw(st.integers(0, 3))) + framed(message) for message in messages)
    reader, found = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += payloads(reader, stream[:size])
        stream = stream[size:]
    assert (found, reader.skipped) == (messages, 0)


@given(st.binary(max_size=500), st.binary(max_size=50))
def test_zeros_end_whatever_was_left_unfinished(garbage: bytes, message: bytes) -> None:
    reader = FrameReader()
    zeros = bytes(frames.MAX_FROM_GUEST + 6)
    assert payloads(reader, garbage + zeros + framed(message))[-1:] == [message]


def test_a_message_may_be_as_large_as_both_sides_say() -> None:
    assert len(framed(bytes(frames.MAX_TO_GUEST))) == len(frames.SYNCHRONISING)
    with pytest.raises(ValueError, match="at most"):
        framed(bytes(frames.MAX_TO_GUEST + 1))
    header = (Path(__file__).resolve().parents[2] / "guest" / "stream.h").read_text()
    assert f"MAX_TO_GUEST = {frames.MAX_TO_GUEST}," in header
    assert f"MAX_FROM_GUEST = {frames.MAX_FROM_GUEST}," in header

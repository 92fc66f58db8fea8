"""The socket that an agent dials: who may connect, and that it is found again."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from fake_agent import framed

from flash_sandbox.orchestrator.runtimes.docker import agent_sockets
from flash_sandbox.orchestrator.runtimes.docker.agent_sockets import AgentSocket

SECRET = b"s" * 32


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory whose path is too long for that of a socket."""
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    return directory


def connected(directory: Path, sent: bytes) -> socket.socket:
    """Connect, and send something."""
    descriptor = os.open(directory, os.O_PATH)
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"/proc/self/fd/{descriptor}/socket")
    os.close(descriptor)
    client.sendall(sent)
    return client


def greeting(secret: bytes) -> bytes:
    return framed(bytes(guest.FromGuest(dialled=guest.Dialled(secret=secret))))


async def test_who_has_the_secret_is_the_agent_and_whatever_follows_is_left_to_read(directory: Path) -> None:
    agent = AgentSocket(directory, SECRET)
    agent.listen()
    with connected(directory, greeting(SECRET) + b"more"):
        stream = await agent.accept(lambda pid: pid == os.getpid(), again=True)
        assert os.read(stream.read, 100) == b"more"
        stream.close()
    assert os.listdir(directory) == []


async def test_the_first_time_there_is_no_secret_yet(directory: Path) -> None:
    agent = AgentSocket(directory, SECRET)
    agent.listen()
    with connected(directory, greeting(b"")):
        (await agent.accept(lambda pid: True, again=False)).close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        greeting(b""),
        greeting(b"guessed"),
        greeting(SECRET[:-1]),
        greeting(b"x" * 5000),
        greeting(SECRET)[:-1] + b"\0",
        framed(bytes(guest.FromGuest(pong=guest.Pong()))),
        framed(b"\xff\xff\xff"),
        b"\0" * 64,
    ],
    ids=range(9),
)
async def test_who_does_not_is_dropped(directory: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing but time ends what says nothing.
    monkeypatch.setattr(agent_sockets, "_GREETING_SECONDS", 0.1)
    agent = AgentSocket(directory, SECRET)
    agent.listen()
    with connected(directory, sent) as intruder, connected(directory, greeting(SECRET)):
        (await agent.accept(lambda pid: True, again=True)).close()
        intruder.settimeout(10)
        assert await asyncio.to_thread(_end_of, intruder)


async def test_another_process_is_dropped_whatever_it_shows(directory: Path) -> None:
    agent = AgentSocket(directory, SECRET)
    agent.listen()
    asked: list[int] = []

    def is_agent(pid: int) -> bool:
        asked.append(pid)
        return len(asked) == 2

    with connected(directory, greeting(SECRET)) as other, connected(directory, greeting(SECRET)):
        (await agent.accept(is_agent, again=True)).close()
        assert asked == [os.getpid()] * 2
        assert await asyncio.to_thread(_end_of, other)


async def test_it_takes_the_place_of_one_that_a_killed_orchestrator_has_left(directory: Path) -> None:
    left = AgentSocket(directory, b"")
    left.listen()
    agent = AgentSocket(directory, SECRET)
    agent.listen()
    with connected(directory, greeting(SECRET)):
        (await agent.accept(lambda pid: True, again=True)).close()
    left.close()


def _end_of(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True

"""Channels under test: to an agent in a sandbox, and to one that says whatever a test wants."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import flash_sandbox_guest as guest
from agents import payloads, sandbox_command
from fake_agent import framed

from flash_sandbox.orchestrator.guest.channel import Channel, ChannelFailed, Task
from flash_sandbox.orchestrator.guest.frames import FrameReader
from flash_sandbox.orchestrator.guest.streams import AgentStream, open_stream

PATH = [b"PATH=/usr/bin:/bin"]


@asynccontextmanager
async def channel_on(
    sock: socket.socket, *, on_failure: Callable[[ChannelFailed], None] | None = None
) -> AsyncIterator[Channel]:
    """Open a channel on a socket."""
    descriptor = sock.detach()
    channel = Channel(on_failure=on_failure)
    stream = await open_stream(AgentStream(descriptor, descriptor), channel)
    try:
        yield channel
    finally:
        channel.close()
        stream.close()


@asynccontextmanager
async def opened(agent: Path) -> AsyncIterator[Channel]:
    """Run an agent in a sandbox, and yield an open channel to it."""
    ours, theirs = socket.socketpair()
    command = [*sandbox_command(agent), "--inherited", str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        try:
            async with channel_on(ours) as channel:
                assert await channel.open() == {}
                yield channel
        finally:
            process.kill()


def sh(channel: Channel, script: str, **options: object) -> Task:
    """Run a script."""
    return channel.run(guest.Run(argv=[b"sh", b"-c", script.encode()], env=PATH, **options))


async def printed(task: Task) -> bytes:
    """Return what a task prints."""
    data = b"".join([piece.data async for piece in task.output()])
    task.forget()
    return data


class Liar:
    """An agent that says what the test wants."""

    def __init__(self) -> None:
        self.asked: list[guest.ToGuest] = []
        self.failures: list[ChannelFailed] = []
        self._reader = FrameReader()
        self.channel = Channel(on_failure=self.failures.append)
        self.channel.connect(self._take)

    def _take(self, parts: Sequence[bytes]) -> None:
        self.asked += map(guest.ToGuest.parse, payloads(self._reader, b"".join(parts)))

    async def opened(self) -> Liar:
        """Greet the host, and return itself."""
        opening = asyncio.ensure_future(self.channel.open())
        await asyncio.sleep(0)
        assert self.asked[0].hello is not None
        self.say(welcome=guest.Welcome(nonce=self.asked[0].hello.nonce, version=1))
        await opening
        return self

    def say(self, task: int = 0, **body: object) -> None:
        """Send a message."""
        self.channel.received(framed(bytes(guest.FromGuest(task=task, **body))))

    async def task(self) -> Task:
        """Have the host start a program."""
        return self.channel.run(guest.Run(argv=[b"true"]))

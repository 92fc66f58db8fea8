"""A stream that breaks off loses what was on its way to the agent; the guest sends it again."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from agents import sandbox_command

from flash_sandbox.orchestrator.guest.guest import Defaults, Guest
from flash_sandbox.orchestrator.guest.programs import Program
from flash_sandbox.orchestrator.guest.streams import AgentStream

DEFAULTS = Defaults({"PATH": "/usr/bin:/bin"})


class Lossy:
    """A sandbox whose first stream breaks off when something is to be lost, with what was sent last."""

    def __init__(self, agent: Path, directory: Path) -> None:
        self.opened = 0
        self.is_losing = False
        self._pipes = [directory / "to-agent", directory / "from-agent"]
        theirs = []
        for pipe in self._pipes:
            os.mkfifo(pipe)
            theirs.append(os.open(pipe, os.O_RDWR))
        self.process = subprocess.Popen(
            [*sandbox_command(agent), "--stdio"], stdin=theirs[0], stdout=theirs[1]
        )
        for descriptor in theirs:
            os.close(descriptor)

    async def connect(self) -> AgentStream:
        self.opened += 1
        if self.opened > 1:
            await asyncio.to_thread(self._thread.join)
        flags = os.O_NONBLOCK if self.opened > 1 else 0
        # A reader first: the agent has both ends open.
        read = os.open(self._pipes[1], os.O_RDONLY | flags)
        stream = AgentStream(read, os.open(self._pipes[0], os.O_WRONLY | flags), may_break=True)
        if self.opened > 1:
            return stream
        ours, theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._carry, args=(stream, ours), daemon=True)
        self._thread.start()
        descriptor = theirs.detach()
        return AgentStream(descriptor, descriptor, may_break=True)

    def _carry(self, stream: AgentStream, ours: socket.socket) -> None:
        with ours, suppress(OSError):
            while True:
                ready, _, _ = select.select([ours, stream.read], [], [])
                if stream.read in ready:
                    ours.sendall(os.read(stream.read, 65536))
                if ours in ready:
                    data = ours.recv(65536)
                    if self.is_losing or not data:
                        break
                    while data:
                        data = data[os.write(stream.write, data) :]
        stream.close()


async def no_kills() -> int:
    return 0


@pytest.mark.parametrize("lost", ["the program", "its input"])
async def test_what_is_lost_with_a_stream_is_sent_again(agent: Path, tmp_path: Path, lost: str) -> None:
    sandbox = Lossy(agent, tmp_path)
    guest = Guest("one", sandbox.connect, DEFAULTS, no_kills, reconnects=True)
    try:
        await guest.open()
        sandbox.is_losing = lost == "the program"
        program = Program(("sh", "-c", "echo before; cat; exit 3"))
        printed = b""
        async with guest.run(program, stdin=b"one\n", keep_stdin=True) as execution:
            async for output in execution.output():
                printed += output.data
                if printed == b"before\none\n":
                    sandbox.is_losing = True
                    await execution.write(b"two\n" + b"x" * 100_000)
                    await execution.write(b"\nthree\n", end=True)
            assert (await execution.exit()).exit_code == 3
        assert printed == b"before\none\ntwo\n" + b"x" * 100_000 + b"\nthree\n"
        assert sandbox.opened == 2
    finally:
        await guest.close()
        sandbox.process.kill()
        sandbox.process.wait()

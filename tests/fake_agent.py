"""A guest agent inside the test's own process: it says what an honest agent would, or what the test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import flash_sandbox_guest as guest

from flash_sandbox.orchestrator.guest.frames import frame
from flash_sandbox.orchestrator.guest.streams import AgentStream

__all__ = ["FakeAgent", "framed"]

_WINDOW: Final = 262_144


def framed(message: bytes) -> bytes:
    """Return a message in its frame."""
    return b"".join(frame([message]))


class FakeAgent:
    """One agent. Its programs print ``done`` and end; the main one, and ``until killed``, run on.

    Args:
        answer: Called with each message before it is answered. If it returns True, the agent does not answer.
        has_main: Whether it has had a main process before this host.
    """

    def __init__(
        self,
        answer: Callable[[FakeAgent, guest.ToGuest], bool] = lambda agent, message: False,
        *,
        has_main: bool = False,
    ) -> None:
        self.asked: list[guest.ToGuest] = []
        self.main = int(has_main)
        self.answer = answer
        self._background: set[asyncio.Task[None]] = set()
        self._labels: dict[int, bytes] = {1: b"main"} if has_main else {}
        self._serving: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> AgentStream:
        """Return a new stream to this agent."""
        ours, theirs = socket.socketpair()
        # Who waits for it may be cancelled.
        with ours:
            reader, self._writer = await asyncio.open_connection(sock=theirs)
            self._serving = asyncio.create_task(self._serve(reader))
            descriptor = ours.detach()
        return AgentStream(descriptor, descriptor)

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                head = await reader.readexactly(5)
                payload = await reader.readexactly(int.from_bytes(head[1:], "little") + 1)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            message = guest.ToGuest.parse(payload[:-1])
            self.asked.append(message)
            if not self.answer(self, message):
                self.respond(message)

    def respond(self, message: guest.ToGuest) -> None:
        """Answer a message as an honest agent would."""
        task = message.task
        if message.hello is not None:
            for number, label in self._labels.items():
                self.say(number, known=guest.Known(credit=_WINDOW, label=label))
            last = max(self._labels, default=0)
            self.say(welcome=guest.Welcome(nonce=message.hello.nonce, last_task=last, version=1))
        elif message.ping is not None:
            self.say(pong=guest.Pong())
        elif message.hold is not None:
            self.say(held=guest.Held())
        elif message.run is not None:
            self._run(task, message.run)
        elif message.kill is not None and task in self._labels:
            self.end(task, 128 + 9, 9)

    def _run(self, task: int, run: guest.Run) -> None:
        self._labels[task] = run.label
        self.say(task, started=guest.Started(pid=task + 1))
        if run.label == b"main":
            self.main = task
        elif list(run.argv) != [b"until", b"killed"]:
            self.say(task, output=guest.Output(data=b"done"))
            self.end(task, 0)

    def say(self, task: int = 0, **body: Any) -> None:
        """Send a message."""
        self.send(framed(bytes(guest.FromGuest(task=task, **body))))

    def send(self, data: bytes) -> None:
        """Send bytes."""
        assert self._writer is not None
        self._writer.write(data)

    async def send_all(self, data: bytes) -> None:
        """Send bytes, as fast as they are read."""
        self.send(data)
        assert self._writer is not None
        await self._writer.drain()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` until the agent ends."""
        self._background.add(asyncio.create_task(work))

    def hang_up(self) -> None:
        """Close the stream."""
        assert self._writer is not None
        self._writer.close()

    def end(self, task: int, status: int, signal: int = 0) -> None:
        """Let a program end."""
        del self._labels[task]
        self.say(task, ended=guest.Ended(status=status, signal=signal))

    async def die(self) -> None:
        """End the agent. Idempotent."""
        if self._serving is not None and self._writer is not None:
            tasks = {self._serving, *self._background}
            for task in tasks:
                task.cancel()
            self._writer.close()
            await asyncio.wait(tasks)
            with suppress(ConnectionError):
                await self._writer.wait_closed()

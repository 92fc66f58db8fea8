"""The channel to the guest agent of one sandbox: it begins tasks and hands out what the agent says of them.

The agent belongs to the sandbox. Everything it sends is bounded and checked. An agent that breaks the
protocol, or does not answer in time, fails its channel, and with it every task of its own sandbox.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import flash_sandbox_guest as guest

from .frames import SYNCHRONISING, FrameReader, frame
from .messages import parse, serialize
from .tasks import INPUT_WINDOW, MAX_KEPT, WINDOW, ChannelFailed, Known, Task

__all__ = ["ANSWER_SECONDS", "Channel", "ChannelFailed", "Known", "Task"]

ANSWER_SECONDS: Final = 30.0
"""How long the agent may take to answer. Nothing that a program does can hold it up for as long."""

FORGET_SECONDS: Final = 0.005
"""How long the agent keeps a task that has ended and is not needed any more."""

_NONCE_BYTES: Final = 16
_MAX_TASKS: Final = 4096
_MAX_UNSENT: Final = 4096
_VERSION: Final = 1


class Channel:
    """The tasks of one sandbox, over one stream at a time.

    `connect` begins on a stream, `received` is called with its bytes, and `lost` once it has ended.

    Args:
        on_failure: Called once, with the reason, when the channel fails.
        on_lost: Called when a stream ends: the tasks wait for another `connect`. None if there is no other
            stream to come: the channel fails.

    Attributes:
        idle_file_workers: Workers for files that have nothing to do.
        heard: How many messages of programs have come.
        listens: Whether the agent knows `listen`: one of an older release does not.
    """

    def __init__(
        self,
        *,
        on_failure: Callable[[ChannelFailed], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.idle_file_workers: list[Task] = []
        self.heard = 0
        self.listens = False
        self._on_failure = on_failure
        self._on_lost = on_lost
        self._write: Callable[[Sequence[bytes]], None] | None = None
        self._synchronise = False
        self._reader = FrameReader()
        self._nonce = b""
        self._is_welcomed = self._is_holding = False
        self._changed = asyncio.Event()
        self._pongs = self._pings = 0
        self._unsent: list[Sequence[bytes]] = []
        # Tasks whose first message is among the unsent ones.
        self._unsent_tasks: set[int] = set()
        self._tasks: dict[int, Task] = {}
        self._known: dict[int, Known] = {}
        self._last = 0
        self._failure: ChannelFailed | None = None
        self._is_frozen = False
        self._answering_since = 0.0

    # Streams

    def connect(
        self,
        write: Callable[[Sequence[bytes]], None],
        *,
        synchronise: bool = False,
        secret: bytes = b"",
    ) -> None:
        """Greet the agent on a new stream.

        Args:
            write: Sends bytes to the agent, at once or later, in order.
            synchronise: Whether the stream may have been broken off inside a frame, so that nothing counts
                before the agent has answered.
            secret: What the agent has to show when it connects again.
        """
        self._write = write
        self._synchronise = synchronise
        self._reader = FrameReader()
        self._is_welcomed = self._is_holding = False
        self._known = {}
        self._pongs = self._pings
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        if synchronise:
            write([SYNCHRONISING])
        self._write_message(0, hello=guest.Hello(nonce=self._nonce, secret=secret))

    async def open(self) -> Mapping[int, Known]:
        """Wait for the agent's greeting, and return the tasks that it knows and this channel does not.

        Raises:
            ChannelFailed: The agent does not answer in time, or breaks the protocol.
        """
        self._answering_since = asyncio.get_running_loop().time()
        await self.answered(self._changed, lambda: self._is_welcomed)
        return dict(self._known)

    async def hold(self) -> None:
        """Silence the stream: the agent sends nothing more, and nothing is sent to it. `connect` follows.

        Raises:
            ChannelFailed: The agent does not answer in time, or breaks the protocol.
        """
        self._write_message(0, hold=guest.Hold())
        self._is_holding = True
        await self.answered(self._changed, lambda: self._write is None)

    def received(self, data: bytes) -> None:
        """Take bytes of the stream."""
        if self._failure is not None or self._write is None:
            return
        try:
            for within, begin, end in self._reader.feed(data):
                self._take(within, begin, end)
            # Before the greeting there may be the rest of what was sent to another host.
            if self._reader.skipped and not (self._synchronise and not self._is_welcomed):
                raise ChannelFailed("the agent sent bytes that are no frame")
        except ChannelFailed as failure:
            self.fail(failure)

    def lost(self) -> None:
        """Note that the stream has ended."""
        self._write = None
        if self._on_lost is None:
            self.fail(ChannelFailed("the agent is gone"))
        elif self._failure is None:
            self._wake_all()
            self._on_lost()

    @property
    def is_connected(self) -> bool:
        """Whether the agent takes messages now."""
        return self._write is not None and self._is_welcomed and not self._is_holding

    # Tasks

    def run(self, program: guest.Run, *, keep: int = 0) -> Task:
        """Start a program.

        Args:
            program: The program.
            keep: Bytes of its last output that the agent keeps for a host that comes later, at most 512 KiB.
        """
        program.window = WINDOW
        return self._begin(keep, run=program)

    def files(self) -> Task:
        """Start a worker for files."""
        return self._begin(files=guest.FileWorker(window=WINDOW))

    def dial(self, *, port: int = 0, path: bytes = b"") -> Task:
        """Connect to a TCP port on the sandbox's loopback interface, or to a Unix socket."""
        return self._begin(dial=guest.Dial(port=port, path=path, window=WINDOW))

    def listen(self, address: int, port: int, *, datagrams: bool = False) -> Task:
        """Listen on an IPv4 address of the sandbox's loopback interface until it is ended."""
        return self._begin(listen=guest.Listen(address=address, port=port, datagrams=datagrams))

    def accept(self, listener: Task) -> Task:
        """Wait for the next connection, or datagram, of a program to where a task listens."""
        return self._begin(accept=guest.Accept(listener=listener.number, window=WINDOW))

    def adopt(self, number: int, *, received: int | None = None, keep: int = 0) -> Task:
        """Go on with a task that another host has begun.

        Args:
            number: Its number; one of those that `open` returned.
            received: Offset of its output to go on from; None is the oldest that the agent has.
            keep: As `run` takes it.
        """
        known = self._known.pop(number)
        start = known.received if received is None else max(received, known.received)
        task = Task(
            self,
            number,
            keep=keep,
            received=start,
            sent=known.input,
            credit=known.credit,
            produced=known.produced,
        )
        self._tasks[number] = task
        task.resume(start)
        return task

    def forget(self, task: Task) -> None:
        """Forget a task that has ended."""
        if self._tasks.pop(task.number, None) is not None:
            # Later, so that the caller's answer does not wait for it, and together with others.
            send = partial(self.send, task.number, forget=guest.Forget())
            asyncio.get_running_loop().call_later(FORGET_SECONDS, send)

    async def ping(self) -> None:
        """Return once the agent has answered.

        Raises:
            ChannelFailed: The agent does not answer in time, or breaks the protocol.
        """
        self._pings += 1
        wanted = self._pings
        self.send(0, ping=guest.Ping())
        await self.answered(self._changed, lambda: self._pongs >= wanted)

    async def confine(self, hostname: str) -> None:
        """Have an agent with more privileges than its programs may have give them up; return once it has.

        Args:
            hostname: Host name of the sandbox.

        Raises:
            ChannelFailed: The agent does not answer in time, or breaks the protocol.
        """
        self.send(0, confine=guest.Confine(hostname=hostname.encode()))
        await self.ping()

    def send(self, number: int, **body: Any) -> None:
        """Send a message, or keep it until there is a stream; nothing if the channel has failed."""
        if self._failure is not None:
            return
        if self.is_connected:
            self._write_message(number, **body)
        elif "window" not in body:
            # The windows are sent again in any case.
            self._unsent.append(frame(serialize(guest.ToGuest(task=number, **body))))
            if len(self._unsent) > _MAX_UNSENT:
                self.fail(ChannelFailed("too much waits for the agent to connect"))

    def repeat(self, message: Sequence[bytes]) -> None:
        """Send a message again that was lost with a stream."""
        assert self._write is not None
        self._write(message)

    # Failure and freezing

    @property
    def is_frozen(self) -> bool:
        """Whether the sandbox is frozen: the agent need not answer."""
        return self._is_frozen

    @is_frozen.setter
    def is_frozen(self, frozen: bool) -> None:
        self._is_frozen = frozen
        self._answering_since = asyncio.get_running_loop().time()
        self._wake_all()

    async def thawed(self) -> None:
        """Wait until the sandbox is not frozen."""
        while self._is_frozen:
            self._changed.clear()
            await self._changed.wait()

    def fail(self, failure: ChannelFailed) -> None:
        """Give the channel up, with all of its tasks, and report it."""
        if self._failure is None:
            self._give_up(failure)
            if self._on_failure is not None:
                self._on_failure(failure)

    def close(self) -> None:
        """Give the channel up, with all of its tasks. Idempotent."""
        if self._failure is None:
            self._give_up(ChannelFailed("the channel was closed"))

    def require_open(self) -> None:
        """Raise ChannelFailed if the channel has failed."""
        if self._failure is not None:
            raise ChannelFailed(str(self._failure)) from self._failure

    async def answered(self, changed: asyncio.Event, is_there: Callable[[], bool], waited: float = 0) -> None:
        """Wait for what the agent owes, and fail the channel if it is not there in time.

        Args:
            changed: Set whenever `is_there` may have changed.
            is_there: Whether the answer is there.
            waited: Seconds that count as waited for already.

        Raises:
            ChannelFailed: The channel failed.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not is_there():
            self.require_open()
            changed.clear()
            # While it is frozen, or has no stream, it cannot answer.
            limit = None
            if not self._is_frozen and self._write is not None:
                limit = max(begun, self._answering_since) + ANSWER_SECONDS - waited
            try:
                async with asyncio.timeout_at(limit):
                    await changed.wait()
            except TimeoutError:
                self.fail(ChannelFailed(f"the agent did not answer within {ANSWER_SECONDS:g} s"))
        self.require_open()

    def _give_up(self, failure: ChannelFailed) -> None:
        self._failure = failure
        self._write = None
        self._unsent.clear()
        self._wake_all()

    def _wake_all(self) -> None:
        self._changed.set()
        for task in self._tasks.values():
            task.wake()

    def _begin(self, keep: int = 0, **body: Any) -> Task:
        self.require_open()
        message = guest.ToGuest(task=self._last + 1, **body)
        data = frame(serialize(message))
        self._last += 1
        task = Task(self, self._last, keep=keep, beginning=data)
        self._tasks[task.number] = task
        if self.is_connected:
            assert self._write is not None
            self._write(data)
        else:
            self._unsent.append(data)
            self._unsent_tasks.add(task.number)
        return task

    def _write_message(self, number: int, **body: Any) -> None:
        assert self._write is not None
        self._write(frame(serialize(guest.ToGuest(task=number, **body))))

    # What the agent says

    def _take(self, data: bytes, begin: int, end: int) -> None:
        try:
            message = parse(guest.FromGuest, data, begin, end)
        except ValueError as error:
            raise ChannelFailed("the agent sent a message that cannot be read") from error
        if not self._is_welcomed:
            self._take_greeting(message)
        elif message.pong is not None:
            if self._pongs == self._pings:
                raise ChannelFailed("the agent answered what nobody has asked")
            self._pongs += 1
            self._changed.set()
        elif message.held is not None:
            if not self._is_holding:
                raise ChannelFailed("the agent answered what nobody has asked")
            self._write = None
            self._wake_all()
        elif (task := self._tasks.get(message.task)) is not None:
            self.heard += 1
            task.take(message)
        elif not 0 < message.task <= self._last:
            raise ChannelFailed("the agent spoke of a task that nobody has begun")

    def _take_greeting(self, message: guest.FromGuest) -> None:
        """Take what comes before the agent has answered: what it sent to another host does not count."""
        if message.known is not None:
            self._take_known(message.task, message.known)
        elif message.welcome is not None and message.welcome.nonce == self._nonce:
            self._take_welcome(message.welcome)
        elif not self._synchronise:
            raise ChannelFailed("the agent did not answer the greeting")

    def _take_known(self, number: int, known: guest.Known) -> None:
        if len(self._known) == _MAX_TASKS:
            raise ChannelFailed(f"the agent knows more than {_MAX_TASKS} tasks")
        if not known.input <= known.credit <= known.input + INPUT_WINDOW:
            raise ChannelFailed("the agent gave a credit that it cannot have")
        if not known.received <= known.produced <= known.received + MAX_KEPT:
            raise ChannelFailed("the agent has more output than it can have")
        self._known[number] = Known(
            known.received,
            known.produced,
            known.dropped,
            known.credit,
            known.ended,
            known.input,
            known.label,
        )

    def _take_welcome(self, welcome: guest.Welcome) -> None:
        if welcome.version != _VERSION:
            raise ChannelFailed(f"the agent speaks version {welcome.version} of its protocol")
        self._last = max(self._last, welcome.last_task)
        self._reader.skipped = 0
        self.listens = welcome.listens
        self._is_welcomed = True
        assert self._write is not None
        for number, task in self._tasks.items():
            if number not in self._unsent_tasks:
                task.reconnect(self._known.pop(number, None))
        for data in self._unsent:
            self._write(data)
        self._unsent.clear()
        self._unsent_tasks.clear()
        self._wake_all()

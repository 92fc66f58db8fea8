"""The channel to the guest agent of one sandbox: tasks in, what becomes of them out.

The agent belongs to the sandbox. Whatever it sends is bounded and checked. An agent that breaks the protocol,
or does not answer in time, fails its channel, and with it every task of its sandbox and of no other one.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import flash_sandbox_guest as guest

from .frames import SYNCHRONISING, FrameReader, frame

__all__ = ["ANSWER_SECONDS", "Channel", "ChannelFailed", "Known", "Task"]

ANSWER_SECONDS: Final = 20.0
"""How long the agent may take to answer. It waits for nothing that a program could hold up."""

WINDOW: Final = 262_144
"""Bytes of output that may be on their way to who reads a task."""

INPUT_WINDOW: Final = 262_144
"""Bytes of input that the agent takes before it gives the first credit."""

MAX_PIECE: Final = 65_536
"""Bytes of one piece of input or output."""

_NONCE_BYTES: Final = 16
_MOST_TASKS: Final = 4096
_VERSION: Final = 1


class ChannelFailed(Exception):
    """The agent broke the protocol, did not answer, or is gone."""


@dataclass(frozen=True, slots=True)
class Known:
    """A task that a channel before has begun.

    Attributes:
        received: Output before this offset was forgotten.
        produced: Offset behind the last byte of output.
        dropped: Bytes of output that nobody took in time.
        credit: Input up to this offset may be sent.
        ended: Whether it has ended.
        input: Offset behind the last byte of input that has come.
    """

    received: int
    produced: int
    dropped: int
    credit: int
    ended: bool
    input: int


class Task:
    """A program, a file operation or a connection, as `Channel` began it.

    Attributes:
        number: Its number, which it keeps for as long as the sandbox lives.
        pid: ID of a program's first process in the sandbox, once it has started.
        received: Offset behind the last byte of output that was taken.
    """

    def __init__(
        self, channel: Channel, number: int, *, received: int = 0, sent: int = 0, credit: int = INPUT_WINDOW
    ) -> None:
        self.number = number
        self.pid = 0
        self.received = received
        self._channel = channel
        self._credit = credit
        self._sent = sent
        self._is_started = False
        self._is_abandoned = False
        self._allowed = received + WINDOW
        self._arrived = received
        self._output: deque[guest.Output] = deque()
        self._ended: guest.Ended | None = None
        self._changed = asyncio.Event()

    async def output(self) -> AsyncIterator[guest.Output]:
        """Yield what it prints, to its end. Who does not take it holds up this task and no other one.

        Raises:
            ChannelFailed: The channel failed.
        """
        while True:
            while self._output:
                piece = self._output.popleft()
                self.received += len(piece.data)
                self._allow_more()
                yield piece
            if self._ended is not None:
                return
            await self._change()

    async def ended(self) -> guest.Ended:
        """Wait until it has ended, throw away what it still prints, and say how it ended.

        Raises:
            ChannelFailed: The channel failed.
        """
        async for _ in self.output():
            pass
        assert self._ended is not None
        return self._ended

    async def started(self) -> None:
        """Wait until it runs or has ended.

        Raises:
            ChannelFailed: The channel failed.
        """
        while not self._is_started and self._ended is None:
            await self._change()

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send input, as far as the task has read what was sent before; return once all is on its way.

        Input of a task that has ended is thrown away.

        Raises:
            ChannelFailed: The channel failed.
        """
        at = 0
        while at < len(data) and self._ended is None:
            size = min(len(data) - at, MAX_PIECE, self._credit - self._sent)
            if size <= 0:
                await self._change()
                continue
            self._send(input=guest.Input(data=data[at : at + size]))
            at += size
            self._sent += size
        if end and self._ended is None:
            self._send(input=guest.Input(end=True))

    def signal(self, number: int) -> None:
        """Send a signal to a program's first process."""
        self._send(signal=guest.Signal(number=number))

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of a program's terminal."""
        self._send(resize=guest.Resize(rows=rows, columns=columns))

    def kill(self) -> None:
        """End it with everything that it started. `ended` tells when that is done."""
        self._send(kill=guest.Kill())

    async def end(self) -> guest.Ended:
        """End it with everything that it started, and say how it ended.

        Raises:
            ChannelFailed: The channel failed, or the agent does not end it in time.
        """
        self.kill()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.ended()
        except TimeoutError:
            self._channel.fail(ChannelFailed(f"the agent did not end a task within {ANSWER_SECONDS:g} s"))
            self._channel.require_open()
            raise

    def forget(self) -> None:
        """Have the agent forget it, for which it is ended where it still runs."""
        if self._ended is None:
            self._is_abandoned = True
            self._output.clear()
            self.received = self._arrived
            self._allow_more()
            self.kill()
        else:
            self._channel.forget(self)

    # What the channel calls.

    def take(self, message: guest.FromGuest) -> None:
        """Take a message of the agent.

        Raises:
            ChannelFailed: It breaks the protocol.
        """
        if self._ended is not None:
            raise ChannelFailed("the agent spoke of a task after its end")
        if message.output is not None:
            self._take_output(message.output)
        elif message.started is not None:
            self._is_started, self.pid = True, message.started.pid
        elif message.credit is not None:
            limit = message.credit.limit
            if not self._credit <= limit <= self._sent + INPUT_WINDOW:
                raise ChannelFailed("the agent gave a credit that it cannot have")
            self._credit = limit
        elif message.ended is not None:
            self._ended = message.ended
            if self._is_abandoned:
                self._channel.forget(self)
        else:
            raise ChannelFailed("the agent sent a message of no known kind")
        self._changed.set()

    def wake(self) -> None:
        """Let who waits for it see that the channel has failed."""
        self._changed.set()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._ended is not None

    def resume(self) -> None:
        """Ask for everything from `received` on again, on a new channel."""
        self._send(window=guest.Window(received=self.received, limit=self._allowed, resend=True))

    def _take_output(self, output: guest.Output) -> None:
        size = len(output.data)
        if output.offset != self._arrived or not 0 < size <= MAX_PIECE:
            raise ChannelFailed("the agent sent output that does not follow what it sent before")
        self._arrived += size
        if self._arrived > self._allowed:
            raise ChannelFailed("the agent sent more output than it was allowed to")
        if self._is_abandoned:
            self.received = self._arrived
            self._allow_more()
        else:
            self._output.append(output)

    def _allow_more(self) -> None:
        # Not for every piece: half of it is on its way meanwhile.
        if self._ended is None and self._allowed - self.received <= WINDOW // 2:
            self._allowed = self.received + WINDOW
            self._send(window=guest.Window(received=self.received, limit=self._allowed))

    async def _change(self) -> None:
        self._changed.clear()
        self._channel.require_open()
        await self._changed.wait()
        self._channel.require_open()

    def _send(self, **body: Any) -> None:
        self._channel.send(self.number, **body)


class Channel:
    """The tasks of one sandbox, over one stream.

    `received` is called with what comes; `lost` once nothing comes any more.

    Args:
        write: Sends bytes to the agent, at once or later, in order.
        synchronise: Whether the stream may have been broken off inside a frame, so that nothing counts before
            the agent has answered.
        secret: What the agent has to show when it connects again.
        shows: What the agent has to show now, where it has connected itself: the secret of the channel
            before, nothing the first time. None where it has not connected itself.
        on_failure: Called once, with the reason, when the channel fails.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        synchronise: bool = False,
        secret: bytes = b"",
        shows: bytes | None = None,
        on_failure: Callable[[ChannelFailed], None] | None = None,
    ) -> None:
        self._write = write
        self._synchronise = synchronise
        self._secret = secret
        self._awaited = shows
        self._on_failure = on_failure
        self._reader = FrameReader()
        self._nonce = b""
        self._welcomed = asyncio.Event()
        self._pongs = self._pings = 0
        self._ponged = asyncio.Event()
        self._tasks: dict[int, Task] = {}
        self._known: dict[int, Known] = {}
        self._last = 0
        self._failure: ChannelFailed | None = None

    async def open(self) -> Mapping[int, Known]:
        """Greet the agent, and return the tasks that it knows from a channel before, by number.

        Raises:
            ChannelFailed: It does not answer in time, or breaks the protocol.
        """
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        if self._synchronise:
            self._write(SYNCHRONISING)
        self.send(0, hello=guest.Hello(nonce=self._nonce, secret=self._secret))
        await self._answered(self._welcomed)
        return dict(self._known)

    def run(self, program: guest.Run) -> Task:
        """Start a program."""
        program.window = WINDOW
        return self._begin(run=program)

    def file(self, operation: guest.FileTask) -> Task:
        """Do something to files."""
        operation.window = WINDOW
        return self._begin(file=operation)

    def dial(self, *, port: int = 0, path: bytes = b"") -> Task:
        """Connect to a TCP port on the sandbox's loopback interface, or to a Unix socket."""
        return self._begin(dial=guest.Dial(port=port, path=path, window=WINDOW))

    def adopt(self, number: int, *, received: int | None = None) -> Task:
        """Go on with a known task, from an offset of its output on; None is the oldest that is kept."""
        known = self._known.pop(number)
        start = known.received if received is None else max(received, known.received)
        task = Task(self, number, received=start, sent=known.input, credit=known.credit)
        self._tasks[number] = task
        task.resume()
        return task

    async def ping(self) -> None:
        """Return once the agent has answered.

        Raises:
            ChannelFailed: It does not answer in time, or breaks the protocol.
        """
        self._pings += 1
        wanted = self._pings
        self.send(0, ping=guest.Ping())
        while self._pongs < wanted:
            self._ponged.clear()
            await self._answered(self._ponged)

    # The stream

    def received(self, data: bytes) -> None:
        """Take what has come."""
        if self._failure is not None:
            return
        try:
            for payload in self._reader.feed(data):
                self._take(payload)
            # Before the answer there may be the rest of what was sent to somebody else.
            if self._reader.skipped and not (self._synchronise and not self._welcomed.is_set()):
                raise ChannelFailed("the agent sent bytes that are no frame")
        except ChannelFailed as failure:
            self.fail(failure)

    def lost(self) -> None:
        """Take note that the stream has ended."""
        self.fail(ChannelFailed("the agent is gone"))

    def fail(self, failure: ChannelFailed) -> None:
        """Give the channel up, with all of its tasks, and tell of it."""
        if self._failure is None:
            self._give_up(failure)
            if self._on_failure is not None:
                self._on_failure(failure)

    def close(self) -> None:
        """Give the channel up, with all of its tasks."""
        if self._failure is None:
            self._give_up(ChannelFailed("the channel was closed"))

    def _give_up(self, failure: ChannelFailed) -> None:
        self._failure = failure
        self._welcomed.set()
        self._ponged.set()
        for task in self._tasks.values():
            task.wake()

    def require_open(self) -> None:
        """Raise ChannelFailed where the channel has failed."""
        if self._failure is not None:
            raise ChannelFailed(str(self._failure)) from self._failure

    def send(self, number: int, **body: Any) -> None:
        """Send a message about a task; nothing where the channel has failed."""
        if self._failure is None:
            self._write(frame(bytes(guest.ToGuest(task=number, **body))))

    def forget(self, task: Task) -> None:
        """Forget a task."""
        if self._tasks.pop(task.number, None) is not None:
            self.send(task.number, forget=guest.Forget())

    def _begin(self, **body: Any) -> Task:
        self.require_open()
        self._last += 1
        task = Task(self, self._last)
        self._tasks[task.number] = task
        try:
            self.send(task.number, **body)
        except ValueError:
            del self._tasks[task.number]
            raise
        return task

    def _take(self, payload: bytes) -> None:
        try:
            message = guest.FromGuest.parse(payload)
        except Exception as error:
            raise ChannelFailed("the agent sent a message that cannot be read") from error
        if not self._welcomed.is_set():
            self._take_greeting(message)
        elif message.pong is not None:
            if self._pongs == self._pings:
                raise ChannelFailed("the agent answered what nobody has asked")
            self._pongs += 1
            self._ponged.set()
        elif (task := self._tasks.get(message.task)) is not None:
            task.take(message)
        elif not 0 < message.task <= self._last:
            raise ChannelFailed("the agent spoke of a task that nobody has begun")

    def _take_greeting(self, message: guest.FromGuest) -> None:
        """Take what comes before the agent has answered: what it sent to somebody else does not count."""
        if message.known is not None:
            if len(self._known) == _MOST_TASKS:
                raise ChannelFailed(f"the agent knows more than {_MOST_TASKS} tasks")
            known = message.known
            if not known.input <= known.credit <= known.input + INPUT_WINDOW:
                raise ChannelFailed("the agent gave a credit that it cannot have")
            self._known[message.task] = Known(
                known.received, known.produced, known.dropped, known.credit, known.ended, known.input
            )
        elif message.dialled is not None and self._awaited is not None:
            if not hmac.compare_digest(message.dialled.secret, self._awaited):
                raise ChannelFailed("what has connected does not have the agent's secret")
            self._awaited = None
        elif message.welcome is not None and message.welcome.nonce == self._nonce:
            if self._awaited is not None:
                raise ChannelFailed("what has connected does not show a secret")
            if message.welcome.version != _VERSION:
                raise ChannelFailed(f"the agent speaks version {message.welcome.version} of its protocol")
            self._last = message.welcome.last_task
            self._reader.skipped = 0
            self._welcomed.set()
        elif not self._synchronise:
            raise ChannelFailed("the agent did not answer the greeting")

    async def _answered(self, event: asyncio.Event) -> None:
        self.require_open()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await event.wait()
        except TimeoutError:
            self.fail(ChannelFailed(f"the agent did not answer within {ANSWER_SECONDS:g} s"))
        self.require_open()

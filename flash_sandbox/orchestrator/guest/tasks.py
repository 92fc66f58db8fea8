"""Tasks of a guest agent, as the host sees them: programs, workers for files and connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import flash_sandbox_guest as guest

from ...errors import InternalServerError

__all__ = ["INPUT_WINDOW", "ChannelFailed", "Known", "Task", "agent_errors"]

WINDOW: Final = 524_288
"""Bytes of output that may be on their way to the reader of a task."""

INPUT_WINDOW: Final = 262_144
"""Bytes of input that the agent takes before it gives the first credit."""

MAX_KEPT: Final = 1_048_576
"""Bytes of output that the agent keeps at most."""

MAX_PIECE: Final = 65_536
"""Bytes of one piece of input or output."""


class ChannelFailed(Exception):
    """The agent broke the protocol, did not answer, or is gone."""


@contextmanager
def agent_errors() -> Iterator[None]:
    """Raise a failure of the agent as an error of the interface."""
    try:
        yield
    except ChannelFailed as failure:
        raise InternalServerError(f"the sandbox's guest agent failed: {failure}") from failure


@dataclass(frozen=True, slots=True)
class Known:
    """A task that the agent knows when a stream begins.

    Attributes:
        received: The agent has forgotten the output before this offset.
        produced: Offset behind the last byte of output.
        dropped: Bytes of output that the agent dropped.
        credit: Input up to this offset may be sent.
        ended: Whether it has ended.
        input: Offset behind the last byte of input that the agent has received.
        label: What its `run` called it.
    """

    received: int
    produced: int
    dropped: int
    credit: int
    ended: bool
    input: int
    label: bytes = b""


class Sender(Protocol):
    """What a task needs of its channel."""

    @property
    def is_connected(self) -> bool:
        """Whether the agent takes messages now."""

    def send(self, number: int, **body: Any) -> None:
        """Send a message about a task, once the agent takes messages."""

    def repeat(self, message: Sequence[bytes]) -> None:
        """Send a message again that was lost with a stream."""

    def forget(self, task: Task) -> None:
        """Forget a task that has ended."""

    async def answered(self, changed: asyncio.Event, is_there: Callable[[], bool], waited: float = 0) -> None:
        """Wait for what the agent owes, and fail the channel if it is not there in time."""

    def require_open(self) -> None:
        """Raise ChannelFailed if the channel has failed."""


class Task:
    """A program, a worker for files or a connection, as `Channel` began it.

    Attributes:
        number: Its number, which it keeps for as long as the sandbox lives.
        pid: ID of a program's first process in the sandbox, once it has started.
        received: Offset behind the last byte of output that its reader took.
        has_started: Whether the program was executed, or the connection made.
    """

    def __init__(
        self,
        channel: Sender,
        number: int,
        *,
        keep: int = 0,
        received: int = 0,
        sent: int = 0,
        credit: int = INPUT_WINDOW,
        produced: int = 0,
        beginning: Sequence[bytes] = (),
    ) -> None:
        self.number = number
        self.pid = 0
        self.received = received
        self.has_started = False
        self._channel = channel
        self._keep = keep
        self._credit = credit
        self._sent = sent
        # What may be lost with a stream: the message that began it, and the input since this offset.
        self._beginning = beginning
        self._unread_from = sent
        self._unread: deque[bytes] = deque()
        self._input_ends = False
        self._is_abandoned = self._is_killed = False
        # Seconds that were spent waiting for the agent since it was told to end the task.
        self._waited = 0.0
        # What the agent has already, it sends in any case.
        self._allowed = max(received + WINDOW, produced)
        self._arrived = self._expected = received
        self._output: deque[guest.Output] = deque()
        self._output_has_ended = False
        self._ended: guest.Ended | None = None
        self._failure: ChannelFailed | None = None
        self._changed = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._ended is not None

    @property
    def not_run(self) -> guest.NotRun:
        """Why the program was not executed, once it has ended."""
        return guest.NotRun.UNSPECIFIED if self._ended is None else self._ended.not_run

    async def output(self) -> AsyncIterator[guest.Output]:
        """Yield its output, to the end. A slow reader holds up this task and no other one.

        Raises:
            ChannelFailed: The channel failed.
        """
        while (piece := await self.next_output()) is not None:
            yield piece

    async def next_output(self, most: int = MAX_PIECE) -> guest.Output | None:
        """Return the next piece of its output; None at the end. Cancelling loses nothing.

        Args:
            most: How many bytes are enough for one piece, where more have come.

        Raises:
            ChannelFailed: The channel failed.
        """
        while not self._output:
            if self._ended is not None or self._output_has_ended:
                return None
            await self._news()
        piece = self._joined_output(most)
        self.received += len(piece.data)
        self._allow_more()
        return piece

    def _joined_output(self, most: int) -> guest.Output:
        """Take the pieces of one stream that have arrived one after the other, as one piece."""
        first = self._output.popleft()
        parts, size = [first.data], len(first.data)
        while self._output and self._output[0].stream == first.stream and size < most:
            parts.append(self._output.popleft().data)
            size += len(parts[-1])
        if len(parts) == 1:
            return first
        return guest.Output(stream=first.stream, offset=first.offset, data=b"".join(parts))

    async def ended(self) -> guest.Ended:
        """Wait until it has ended, discard the rest of its output, and return how it ended.

        Raises:
            ChannelFailed: The channel failed.
        """
        async for _ in self.output():
            pass
        # The other direction of a connection may go on.
        while self._ended is None:
            await self._news()
        return self._ended

    async def started(self) -> None:
        """Wait until it runs or has ended. `has_started` says which.

        Raises:
            ChannelFailed: The channel failed, or the agent does not answer in time.
        """
        await self._channel.answered(
            self._changed,
            lambda: self.has_started or self._is_over(),
        )
        self._require_known()

    async def begun(self) -> None:
        """Wait until it runs or has ended, however long that takes: a connection's peer may let it wait.

        Raises:
            ChannelFailed: The channel failed.
        """
        while not self.has_started and self._ended is None:
            await self._change()

    async def write(self, data: bytes, *, end: bool = False) -> bool:
        """Send input, as fast as the task reads it.

        Returns:
            Whether all of it was sent before the task ended.

        Raises:
            ChannelFailed: The channel failed.
        """
        left = memoryview(data)
        while self._ended is None and (left or end):
            size = min(len(left), MAX_PIECE)
            # Not less, since more credit comes for what is on its way.
            if not self._channel.is_connected or size > self._credit - self._sent:
                await self._change()
                continue
            last = end and size == len(left)
            piece = cast(bytes, left[:size])
            self._unread.append(piece)
            self._input_ends = last
            self._send(input=guest.Input(data=piece, end=last))
            left = left[size:]
            self._sent += size
            end = end and not last
        return not left and not end

    def signal(self, number: int) -> None:
        """Send a signal to a program's first process."""
        self._send(signal=guest.Signal(number=number))

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of a program's terminal."""
        self._send(resize=guest.Resize(rows=rows, columns=columns))

    def kill(self) -> None:
        """End it with everything that it started. `ended` waits for that."""
        self._is_killed = True
        self._send(kill=guest.Kill())
        # Its reader waits on, but no longer for ever.
        self._changed.set()

    async def end(self) -> guest.Ended:
        """End it with everything that it started, and return how it ended.

        Raises:
            ChannelFailed: The channel failed, or the agent does not end it in time.
        """
        self.kill()
        # Its output must not hold it up, nor count as the agent's silence.
        self._discard_output()
        await self._channel.answered(self._changed, self._is_over)
        self._require_known()
        return await self.ended()

    def forget(self) -> None:
        """Let the agent forget it. A task that still runs is ended."""
        if self._is_over():
            self._channel.forget(self)
        else:
            self._discard_output()
            self.kill()

    def abandon(self) -> None:
        """Let it run on, without input, and discard its output. Its end is not waited for."""
        self._discard_output()
        self._input_ends = True
        self._send(input=guest.Input(end=True))

    # For the channel

    def take(self, message: guest.FromGuest) -> None:
        """Take a message of the agent.

        Raises:
            ChannelFailed: It breaks the protocol.
        """
        if self._ended is not None:
            raise ChannelFailed("the agent spoke of a task after its end")
        self._beginning = ()
        if message.output is not None:
            self._take_output(message.output)
        elif message.started is not None:
            self.has_started, self.pid = True, message.started.pid
        elif message.credit is not None:
            limit = message.credit.limit
            if not self._credit <= limit <= self._sent + INPUT_WINDOW:
                raise ChannelFailed("the agent gave a credit that it cannot have")
            self._credit = limit
            self._forget_input(limit - INPUT_WINDOW)
        elif message.output_end is not None:
            self._output_has_ended = True
        elif message.ended is not None:
            self._ended = message.ended
            if self._is_abandoned:
                self._channel.forget(self)
        else:
            raise ChannelFailed("the agent sent a message of no known kind")
        self._changed.set()

    def wake(self) -> None:
        """Wake those who wait for it: the channel has changed."""
        self._changed.set()

    def reconnect(self, known: Known | None) -> None:
        """Go on over a new stream.

        Args:
            known: What the agent knows of it; None for nothing.
        """
        if self._ended is not None:
            return
        if known is None and self._beginning:
            self._channel.repeat(self._beginning)
            known = Known(0, 0, 0, INPUT_WINDOW, False, 0)
        if known is None or not self._unread_from <= known.input <= self._sent:
            self._failure = ChannelFailed("the agent knows nothing more of a task")
        else:
            self._credit = known.credit
            self._allowed = max(self._allowed, known.produced)
            # Output that the agent dropped meanwhile never comes.
            lost = max(known.received - self._arrived, 0)
            self._arrived += lost
            self.received += lost
            self.resume(known.received)
            self._repeat_input(known.input)
            if self._is_killed:
                self.kill()
        self.wake()

    def _forget_input(self, offset: int) -> None:
        """Forget the input before an offset: the task has read it."""
        while self._unread and self._unread_from + len(self._unread[0]) <= offset:
            self._unread_from += len(self._unread.popleft())

    def _repeat_input(self, offset: int) -> None:
        """Send the input from an offset on again."""
        at = self._unread_from
        for piece in self._unread:
            if missing := piece[max(offset - at, 0) :]:
                self._send(input=guest.Input(data=missing))
            at += len(piece)
        if self._input_ends:
            self._send(input=guest.Input(end=True))

    def resume(self, oldest: int = 0) -> None:
        """Ask for the output from the acknowledged offset on, or from the oldest that the agent has."""
        self._expected = max(self._acknowledged, oldest)
        self._send(window=guest.Window(received=self._expected, limit=self._allowed, resend=True))

    @property
    def _acknowledged(self) -> int:
        """What the agent may forget: a host that comes later can have the rest again."""
        return max(self.received - self._keep, 0)

    def _take_output(self, output: guest.Output) -> None:
        size = len(output.data)
        if output.offset != self._expected or not 0 < size <= MAX_PIECE:
            raise ChannelFailed("the agent sent output that does not follow what it sent before")
        self._expected += size
        if self._expected > self._allowed:
            raise ChannelFailed("the agent sent more output than it was allowed to")
        # Output that is sent again after a reconnect has arrived already.
        new = self._expected - self._arrived
        if new <= 0:
            return
        self._arrived = self._expected
        if self._is_abandoned:
            self.received = self._arrived
            self._allow_more()
        else:
            if new < size:
                output = guest.Output(output.stream, self._arrived - new, output.data[-new:])
            self._output.append(output)

    def _discard_output(self) -> None:
        self._is_abandoned = True
        self._keep = 0
        self._output.clear()
        self.received = self._arrived
        self._allow_more()

    def _allow_more(self) -> None:
        # Not for every piece: half of the window is on its way meanwhile.
        if self._ended is None and self._allowed - self.received <= WINDOW // 2:
            self._allowed = self.received + WINDOW
            self._send(window=guest.Window(received=self._acknowledged, limit=self._allowed))

    async def _change(self) -> None:
        self._changed.clear()
        self._channel.require_open()
        self._require_known()
        await self._changed.wait()
        self._channel.require_open()
        self._require_known()

    async def _news(self) -> None:
        """Wait for output or the end; of a killed task, no longer than the agent may take to end it."""
        if not self._is_killed:
            await self._change()
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._channel.answered(self._changed, self._has_news, self._waited)
        self._waited += loop.time() - began
        self._require_known()

    def _has_news(self) -> bool:
        return bool(self._output) or self._is_over()

    def _is_over(self) -> bool:
        return self._ended is not None or self._failure is not None

    def _require_known(self) -> None:
        if self._failure is not None:
            raise ChannelFailed(str(self._failure)) from self._failure

    def _send(self, **body: Any) -> None:
        self._channel.send(self.number, **body)

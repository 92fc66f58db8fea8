"""Programs that run in sandboxes, as the service core holds them: what is sent to one, and its time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

from ..errors import ConflictError, InternalServerError, SandboxEndedError, SandboxError
from ..models import ExecResult
from .runtimes.base import Control, Ended, Happening, Kill, Printed, Program, Runtime
from .sandboxing.output import BoundedBytes

__all__ = ["HEARD_SECONDS", "Execution", "Place", "ended_within", "interruption"]

_Item = TypeVar("_Item")

HEARD_SECONDS: Final = 1.0
"""How much later than of a command's end may be heard of that of its sandbox."""


def interruption(sandbox_id: str, *, oom_killed: bool = False) -> str:
    """Return what is said of a command whose sandbox has ended."""
    how = "ended for want of memory" if oom_killed else "was stopped"
    return f"sandbox {sandbox_id} {how} while the command ran"


class Place(Protocol):
    """The sandbox that a program runs in."""

    @property
    def id(self) -> str:
        """Its ID."""

    @property
    def runtime(self) -> Runtime:
        """What runs it."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing runs in it any more."""


async def ended_within(place: Place, patience: float = HEARD_SECONDS) -> bool:
    """Tell whether a sandbox has ended, or is heard of to have within so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while not place.has_ended:
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(0.005)
    return True


class _Mailbox(Generic[_Item]):
    """What is put into it, in order, for one reader, until it is closed."""

    def __init__(self, room: int = 0) -> None:
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue(room)

    async def put(self, item: _Item | None) -> None:
        """Put something in, once there is room; None is the end."""
        await self._queue.put(item)

    def put_now(self, item: _Item | None) -> None:
        """Put something in, where there is room for anything."""
        self._queue.put_nowait(item)

    async def __aiter__(self) -> AsyncIterator[_Item]:
        while (item := await self._queue.get()) is not None:
            yield item


class Execution:
    """One program in one sandbox.

    Args:
        place: Where it runs.
        program: What runs.
        stdin: The beginning of its input.
        keep_stdin: Whether more input may come.
        timeout: Seconds after which it is ended with all that it started; None for no limit.

    Attributes:
        program: What runs.
        started: When it was started, in seconds of `time.monotonic`.
        ended: Done once it has ended.
        timed_out: Whether its time ran out.
    """

    def __init__(
        self,
        place: Place,
        program: Program,
        *,
        stdin: bytes = b"",
        keep_stdin: bool = False,
        timeout: float | None = None,
    ) -> None:
        self.program = program
        self.started = monotonic()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timed_out = self._killed = False
        self._place = place
        self._timeout = timeout
        self._controls: _Mailbox[Control] = _Mailbox()
        self._input: _Mailbox[bytes] | None = None
        self._input_open = keep_stdin
        # Two: a write waits until the one before it has been taken.
        room: Final = 2
        if stdin or keep_stdin:
            self._input = _Mailbox(room)
            if stdin:
                self._input.put_now(stdin)
            if not keep_stdin:
                self._input.put_now(None)

    async def happenings(self) -> AsyncGenerator[Happening]:
        """Run it, and tell what becomes of it. Leaving the iterator ends it with all that it started."""
        loop = asyncio.get_running_loop()
        timer = None if self._timeout is None else loop.call_later(self._timeout, self._time_out)
        stdin = None if self._input is None else aiter(self._input)
        running = self._place.runtime.run(self._place.id, self.program, stdin, aiter(self._controls))
        try:
            async with aclosing(running):
                async for happening in running:
                    if isinstance(happening, Ended):
                        was_ended = happening.signal == signal.SIGKILL and not self._killed
                        await self._require_alive(HEARD_SECONDS if was_ended else 0)
                    yield happening
        except SandboxError as error:
            may_have_ended = isinstance(error, ConflictError | InternalServerError)
            await self._require_alive(HEARD_SECONDS if may_have_ended else 0)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if not self.ended.done():
                self.ended.set_result(None)

    async def result(self, max_output_bytes: int) -> ExecResult:
        """Run it to its end and return what it printed, up to so many bytes of each stream."""
        kept = {"stdout": BoundedBytes(max_output_bytes), "stderr": BoundedBytes(max_output_bytes)}
        end = Ended(0)
        happenings = self.happenings()
        async with aclosing(happenings):
            async for happening in happenings:
                if isinstance(happening, Printed):
                    kept[happening.stream].add(happening.data)
                else:
                    end = happening
        return self.conclude(end, kept["stdout"], kept["stderr"], duration_ms=self.duration_ms())

    def conclude(
        self, end: Ended, stdout: BoundedBytes, stderr: BoundedBytes, *, duration_ms: int
    ) -> ExecResult:
        """Return the result of a program that has ended."""
        return ExecResult.of(
            stdout.kept,
            stderr.kept,
            end.exit_code,
            signal=end.signal,
            timed_out=self.timed_out,
            duration_ms=duration_ms,
            stdout_dropped=stdout.dropped,
            stderr_dropped=stderr.dropped,
            oom_killed=end.oom_killed,
        )

    def duration_ms(self) -> int:
        """Return the milliseconds since the start."""
        return round((monotonic() - self.started) * 1000)

    def control(self, control: Control) -> None:
        """Do something to it.

        Raises:
            ConflictError: It has ended.
        """
        self._require_running()
        self._killed = self._killed or isinstance(control, Kill)
        self._controls.put_now(control)

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send it input, once it has read what was sent before, and the end of its input where that is asked.

        Raises:
            ConflictError: It has ended, or takes no (more) input.
        """
        self._require_running()
        if self._input is None or not self._input_open:
            raise ConflictError("the process takes no input")
        for item in ([data] if data else []) + ([None] if end else []):
            putting = asyncio.ensure_future(self._input.put(item))
            try:
                await asyncio.wait({putting, self.ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                putting.cancel()
            if not putting.done() or putting.cancelled():
                self._require_running()
        self._input_open = self._input_open and not end

    def error_of_its_sandbox(self) -> SandboxEndedError | None:
        """Return the error of a command whose sandbox has ended; None where that has not."""
        return SandboxEndedError(interruption(self._place.id)) if self._place.has_ended else None

    async def _require_alive(self, patience: float) -> None:
        """Raise where the sandbox has ended, which may be heard of a little later than of its programs."""
        if await ended_within(self._place, patience):
            kills = 0
            # What has been removed meanwhile tells nothing.
            with suppress(SandboxError, OSError):
                kills = await self._place.runtime.oom_kills(self._place.id)
            raise SandboxEndedError(interruption(self._place.id, oom_killed=kills > 0)) from None

    def _require_running(self) -> None:
        if self.ended.done():
            raise ConflictError("the process has ended")

    def _time_out(self) -> None:
        if not self.ended.done():
            self.timed_out = self._killed = True
            self._controls.put_now(Kill())

"""A command in a sandbox as if it ran here: with input, output, signals and terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConflictError, NotFoundError, SandboxError
from ..models import ExecFrame
from .connection import SIGNALLED, Failure, complain
from .output import fields_of, payload, print_json

if TYPE_CHECKING:
    from ..clients.aio.client import AsyncHTTPClient, AsyncSandboxClient
    from ..clients.aio.streams import AsyncExecStream

__all__ = ["Execution", "followed"]

_CHUNK: Final = 65536
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_OF_AN_END: Final = ("exit_code", "signal", "timed_out", "duration_ms", "oom_killed")


@dataclass(frozen=True, slots=True)
class Execution:
    """One command, to be followed from here.

    Attributes:
        verb: What it was asked for by.
        command: The command and its arguments.
        env: Its variables, each ``NAME=value``.
        workdir: Its directory; empty for the sandbox's own.
        user: Its user; empty for the main process's.
        interactive: Whether to pass standard input on.
        tty: Whether to give it this terminal.
        limit: Seconds that it may take; None for any time.
        as_json: Whether to tell what becomes of it as JSON.
    """

    verb: str
    command: list[str]
    env: list[str]
    workdir: str = ""
    user: str = ""
    interactive: bool = False
    tty: bool = False
    limit: float | None = None
    as_json: bool = False

    def require_possible(self) -> None:
        """Raise Failure where it cannot be run from here."""
        if not self.command:
            raise Failure("there is no command to run")
        if self.tty and not os.isatty(_STDIN):
            raise Failure("-t needs a terminal as standard input")
        if self.tty and self.as_json:
            raise Failure("what a terminal shows is no JSON: give -t or --json")

    async def run(self, client: AsyncHTTPClient | AsyncSandboxClient, sandbox_id: str) -> int:
        """Run it to its end, or to the end of whoever reads its output, and return the exit status."""
        rows, columns = _size() if self.tty else (0, 0)
        env = self.env
        if self.tty and "TERM" in os.environ and not any(each.startswith("TERM=") for each in env):
            env = [*env, f"TERM={os.environ['TERM']}"]
        stream = await client.exec_stream(
            sandbox_id,
            self.command,
            env=env,
            cwd=self.workdir,
            user=self.user,
            keep_stdin=self.interactive,
            tty=self.tty,
            rows=rows or 24,
            columns=columns or 80,
            limit=self.limit,
        )
        # Until then Ctrl-C is a signal here, and ends what has not begun.
        async with stream, self._following_size(stream):
            with _raw_terminal(on=self.tty and self.interactive):
                if self.interactive:
                    _pass_input_on(stream)
                return await self._follow(stream)

    async def _follow(self, stream: AsyncExecStream) -> int:
        """Write what it prints until it ends."""
        try:
            async for frame in stream:
                # Whoever reads this may be slow; signals are heard meanwhile.
                if self.as_json:
                    await asyncio.to_thread(_tell, frame)
                elif frame.data:
                    descriptor = _STDERR if frame.type == "stderr" else _STDOUT
                    await asyncio.to_thread(_write, descriptor, frame.data)
        except BrokenPipeError:
            return SIGNALLED + signal.SIGPIPE
        if stream.exit is None:
            raise Failure("the stream ended, but not the command")
        if stream.exit.timed_out and not self.as_json:
            complain(self.verb, f"the command was ended: its {self.limit:g} s were over")
        if stream.exit.oom_killed and not self.as_json:
            complain(self.verb, "a process was ended: the memory of the sandbox was used up")
        return stream.exit.exit_code

    @asynccontextmanager
    async def _following_size(self, stream: AsyncExecStream) -> AsyncIterator[None]:
        """Tell the command of each new size of this terminal."""
        tasks: set[asyncio.Task[None]] = set()

        async def resize() -> None:
            with suppress(ConflictError, NotFoundError):
                await stream.resize(*_size())

        def changed(_: int) -> None:
            task = asyncio.create_task(resize())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        with _signals(changed, *(["SIGWINCH"] if self.tty else [])):
            yield
        await asyncio.gather(*tasks, return_exceptions=True)


def followed(work: Coroutine[Any, Any, int]) -> int:
    """Do what runs a command, and return its exit status.

    A signal that would end this process cancels it instead, once, so that it can clean up: a command ends
    with its stream. The status is then that of a process that the signal has ended.
    """
    return asyncio.run(_ending_with_signals(work))


async def _ending_with_signals(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.create_task(work)
    ended_by = 0

    def end(number: int) -> None:
        nonlocal ended_by
        if not ended_by:
            ended_by = number
            task.cancel()

    with _signals(end, "SIGINT", "SIGTERM", "SIGHUP"):
        await asyncio.wait({task})
    if task.cancelled() and ended_by:
        return SIGNALLED + ended_by
    return task.result()


def _tell(frame: ExecFrame) -> None:
    if frame.type == "keepalive":
        return
    told: dict[str, Any] = {"type": frame.type, "process_id": frame.process_id}
    if frame.data:
        told |= payload(frame.data)
    elif frame.type == "exit":
        fields = fields_of(frame)
        told |= {name: fields[name] for name in _OF_AN_END}
    print_json(told)


def _pass_input_on(stream: AsyncExecStream) -> None:
    """Read standard input in a thread, and send it as fast as the command takes it."""
    loop = asyncio.get_running_loop()

    async def send(data: bytes) -> None:
        await stream.send_stdin(data, end=not data)

    def read() -> None:
        # Where the command has ended, or this process is about to, nobody wants the rest.
        with suppress(SandboxError, RuntimeError, OSError, asyncio.CancelledError):
            data = b"?"
            while data:
                data = os.read(_STDIN, _CHUNK)
                asyncio.run_coroutine_threadsafe(send(data), loop).result()

    threading.Thread(target=read, daemon=True).start()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _size() -> tuple[int, int]:
    """Return rows and columns of this terminal."""
    size = os.get_terminal_size(_STDIN)
    return size.lines, size.columns


@contextmanager
def _signals(handle: Callable[[int], None], *names: str) -> Iterator[None]:
    """Have signals handled in the running event loop; systems without them go on as ever."""
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    with suppress(NotImplementedError):
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in numbers:
                loop.remove_signal_handler(number)


@contextmanager
def _raw_terminal(*, on: bool) -> Iterator[None]:
    """Have this terminal pass on each key, Ctrl-C too, and echo nothing: the command's own does that."""
    if not on:
        yield
        return
    try:
        import termios
        import tty
    except ModuleNotFoundError:
        raise Failure(f"-t is not supported on {sys.platform}") from None
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN)
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)

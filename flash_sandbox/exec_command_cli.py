"""``flash-sandbox exec``: run a command in a sandbox as if it ran here, with input, output and terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .errors import ConflictError, SandboxError, SandboxNotFoundError

if TYPE_CHECKING:
    from .clients.aio.client import AsyncHTTPClient, AsyncSandboxClient
    from .clients.aio.streams import AsyncExecStream

__all__ = ["exec_command"]

# As docker and podman have it: what no command of its own is likely to end with.
_OWN_FAILURE: Final = 125
_SIGNALLED: Final = 128
_CHUNK: Final = 65536
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class TransportChoice(StrEnum):
    """What carries the calls."""

    HTTP = "http"
    GRPC = "grpc"


class _Failure(Exception):
    """What is said on standard error before this command ends with status 125."""


def exec_command(
    sandbox_id: Annotated[str, typer.Argument(help="ID of the sandbox.", metavar="ID")],
    command: Annotated[
        list[str], typer.Argument(help="Command and its arguments, after --.", metavar="COMMAND...")
    ],
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Pass standard input on to the command.")
    ] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal: this one.")] = False,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="Variable of the command.", metavar="NAME=VALUE")
    ] = None,
    workdir: Annotated[
        str, typer.Option("--workdir", "-w", help="Directory to run in.", show_default="the sandbox's own")
    ] = "",
    user: Annotated[
        str,
        typer.Option(
            "--user", "-u", help="User to run as: a name, UID or UID:GID.", show_default="the main process's"
        ),
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            envvar="FLASH_SANDBOX_ADDR",
            help="Address of the orchestrator.",
            show_default="localhost, at the transport's usual port",
        ),
    ] = "",
    transport: Annotated[
        TransportChoice, typer.Option(help="What carries the calls.")
    ] = TransportChoice.HTTP,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="FLASH_SANDBOX_API_KEY", show_default=False, help="Key of the orchestrator."),
    ] = None,
) -> None:
    """Run a command in a sandbox, and end as it does.

    The exit status is the command's own, 128 + N where signal N ended it, and 125 where it could not be
    run or followed at all.
    """
    if command[:1] == ["--"]:
        command = command[1:]
    try:
        if not command:
            raise _Failure("there is no command to run")
        client = _client(transport, address, api_key)
        execution = _Execution(client, interactive=interactive, tty=tty)
        if tty and not os.isatty(_STDIN):
            raise _Failure("-t needs a terminal as standard input")
        with _raw_terminal(on=tty and interactive):
            code = asyncio.run(execution.run(sandbox_id, command, env or [], workdir, user))
    except (SandboxError, _Failure) as error:
        typer.echo(f"flash-sandbox exec: {error}", err=True)
        code = _OWN_FAILURE
    raise typer.Exit(code)


def _client(
    transport: TransportChoice, address: str, api_key: str | None
) -> AsyncHTTPClient | AsyncSandboxClient:
    from .clients.aio.client import AsyncHTTPClient, AsyncSandboxClient

    kind = AsyncHTTPClient if transport is TransportChoice.HTTP else AsyncSandboxClient
    return kind(address=address or None, api_key=api_key)


class _Execution:
    """One command, followed from here."""

    def __init__(self, client: AsyncHTTPClient | AsyncSandboxClient, *, interactive: bool, tty: bool) -> None:
        self._client = client
        self._interactive = interactive
        self._tty = tty
        self._ended_by = 0

    async def run(self, sandbox_id: str, command: list[str], env: list[str], workdir: str, user: str) -> int:
        """Run it to its end, or to the end of whoever reads its output, and return the exit status."""
        rows, columns = _size() if self._tty else (0, 0)
        if self._tty and "TERM" in os.environ and not any(each.startswith("TERM=") for each in env):
            env = [*env, f"TERM={os.environ['TERM']}"]
        async with self._client as client, self._ending_with_signals():
            stream = await client.exec_stream(
                sandbox_id,
                command,
                env=env,
                cwd=workdir,
                user=user,
                keep_stdin=self._interactive,
                tty=self._tty,
                rows=rows or 24,
                columns=columns or 80,
            )
            async with stream, self._following_size(stream):
                if self._interactive:
                    _pass_input_on(stream)
                return await self._follow(stream)
        return _SIGNALLED + self._ended_by

    async def _follow(self, stream: AsyncExecStream) -> int:
        """Write what it prints until it ends."""
        try:
            async for frame in stream:
                if frame.data:
                    descriptor = _STDERR if frame.type == "stderr" else _STDOUT
                    # Whoever reads this may be slow; signals are heard meanwhile.
                    await asyncio.to_thread(_write, descriptor, frame.data)
        except BrokenPipeError:
            return _SIGNALLED + signal.SIGPIPE
        if stream.exit is None:
            raise _Failure("the stream ended, but not the command")
        return stream.exit.exit_code

    @asynccontextmanager
    async def _ending_with_signals(self) -> AsyncIterator[None]:
        """Have a signal that would end this process end the block: the command ends with its stream."""
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            self._ended_by = number
            task.cancel()

        try:
            with _signals(end, "SIGINT", "SIGTERM", "SIGHUP"):
                yield
        except asyncio.CancelledError:
            if not self._ended_by:
                raise
            task.uncancel()

    @asynccontextmanager
    async def _following_size(self, stream: AsyncExecStream) -> AsyncIterator[None]:
        """Tell the command of each new size of this terminal."""
        tasks: set[asyncio.Task[None]] = set()

        async def resize() -> None:
            with suppress(ConflictError, SandboxNotFoundError):
                await stream.resize(*_size())

        def changed(_: int) -> None:
            task = asyncio.create_task(resize())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        with _signals(changed, *(["SIGWINCH"] if self._tty else [])):
            yield
        await asyncio.gather(*tasks, return_exceptions=True)


def _pass_input_on(stream: AsyncExecStream) -> None:
    """Read standard input in a thread, and send it as fast as the command takes it."""
    loop = asyncio.get_running_loop()

    async def send(data: bytes) -> None:
        await stream.write(data, end=not data)

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
        raise _Failure(f"-t is not supported on {sys.platform}") from None
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN)
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)

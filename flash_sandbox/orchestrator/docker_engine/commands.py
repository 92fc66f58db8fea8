"""Running a program in a container, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Final

from ...errors import ConflictError, InternalServerError, InvalidArgumentError
from ..completion import alongside, completed
from ..runtimes.base import Control, Ended, Happening, Kill, Printed, Program, Signal
from ..sandboxing.engine_words import EngineWords
from ..sandboxing.oom import OomKills
from ..sandboxing.pipes import END_OF_INPUT
from .api import Engine, EngineError, EngineMissing, EngineVersion
from .ends import CommandEnds
from .processes import MARK, kill_command, kill_script, on_this_host, signal_process, signal_script
from .streams import Demultiplexer

__all__ = ["Command", "is_about_user", "why_not_run"]

_NOT_RUN: Final = re.compile(r'exec: ("(?:[^"\\]|\\.)*": .*?)(?:: unknown)?\s*$', re.DOTALL)
# What the engine says of a program that it cannot run, it prints in its place.
_ENGINE_SAYS: Final = (b"OCI runtime exec failed", b"unable to find user", b"unable to find group")
_NO_USER: Final = ("unable to find user", "unable to find group", "uids and gids must be in range")
_NOT_FOUND: Final = ("executable file not found", "no such file or directory")
_CONFLICTS: Final = ("is not running", "is paused", "No such")
_NO_DIRECTORY: Final = re.compile(r'chdir to cwd \("(?P<cwd>.*?)"\)[^:]*: (?P<why>[^:]+)')
# Docker Engine 23 makes a terminal in its size. An older one is told the size once the program runs.
_SIZING: Final = EngineVersion(1, 42)
_SHELL: Final = "/bin/sh"
# Of a terminal without a size, busybox's stty prints nothing, that of coreutils two zeros.
_AWAIT_SIZE: Final = (
    'command -v stty >/dev/null || exec "$@"; __n=0; __size=; '
    'while [ "${__size:-0 0}" = "0 0" ] && [ $__n -lt 5000 ]; do '
    "__size=$(stty size 2>/dev/null); __n=$((__n+1)); done; unset __n __size; "
    'exec "$@"'
)
_CHUNK: Final = 65536
_START_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 10.0


class Command:
    """One program in one container.

    Args:
        engine: Where the container runs.
        ends: Hears of the end of its commands.
        container: Its full ID.
        program: What to run.
        init: Process ID of the container's init where its processes may be this host's; 0 where they are not.
        oom_kills: Which commands of the container the kernel has ended a process of, for want of memory.
    """

    def __init__(
        self,
        engine: Engine,
        ends: CommandEnds,
        container: str,
        program: Program,
        init: int,
        oom_kills: OomKills,
    ) -> None:
        self._engine = engine
        self._ends = ends
        self._container = container
        self._program = program
        self._init = init
        self._oom_kills = oom_kills
        self._mark = secrets.token_hex(8)
        self._id = ""

    async def run(
        self, stdin: AsyncIterator[bytes] | None, controls: AsyncIterator[Control]
    ) -> AsyncGenerator[Happening]:
        """Run it and tell what becomes of it, as `Runtime.run` does.

        A process that it leaves behind with its output open is waited for by the engine, for two seconds.

        Raises:
            ConflictError: If the container does not run.
            InternalServerError: If the engine could not run it.
        """
        program = await self._sized(self._program)
        self._id = await completed(self._create(program))
        ended = False
        try:
            with self._oom_kills.watched() as oom_killed:
                async with aclosing(self._attend(stdin, controls)) as happenings:
                    async for happening in happenings:
                        if isinstance(happening, Ended):
                            ended = True
                            happening = replace(happening, oom_killed=oom_killed(happening.exit_code))
                        yield happening
        finally:
            if not ended:
                await completed(self._kill())

    async def _sized(self, program: Program) -> Program:
        """Return what runs a program once its terminal has a size, where the engine makes it without one.

        Without a shell in the image, the size may come a moment late.
        """
        if program.terminal is None or await self._engine.version() >= _SIZING:
            return program
        try:
            await self._engine.call("HEAD", f"/containers/{self._container}/archive", query={"path": _SHELL})
        except EngineError:
            return program
        return replace(program, command=(_SHELL, "-c", _AWAIT_SIZE, "sh", *program.command))

    async def _create(self, program: Program) -> str:
        body = {
            # Else it is the host's null device, whose mode and owner the container's root could change.
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": program.terminal is not None,
            "Cmd": list(program.command),
            "Env": [*program.env, f"{MARK}={self._mark}"],
            "WorkingDir": program.cwd,
            "User": program.user,
        }
        created = await self._engine.call("POST", f"/containers/{self._container}/exec", body)
        return str(created["Id"])

    async def _attend(
        self, stdin: AsyncIterator[bytes] | None, controls: AsyncIterator[Control]
    ) -> AsyncGenerator[Happening]:
        terminal = self._program.terminal
        body: dict[str, Any] = {"Detach": False, "Tty": terminal is not None}
        if terminal is not None and await self._engine.version() >= _SIZING:
            body["ConsoleSize"] = [terminal.rows, terminal.columns]
        words = EngineWords(*_ENGINE_SAYS)
        parts = Demultiplexer() if terminal is None else None
        self._ends.expect(self._id)
        try:
            async with self._engine.attached(f"/exec/{self._id}/start", body) as (reader, writer):
                work = [self._obey(controls)]
                if stdin is not None:
                    work.append(_feed(writer, stdin, is_terminal=terminal is not None))
                elif terminal is None:
                    writer.write_eof()
                if terminal is not None:
                    await self._resize(terminal.rows, terminal.columns)
                async with alongside(*work):
                    while data := await reader.read(_CHUNK):
                        for part in (Printed("stdout", data),) if parts is None else parts.feed(data):
                            for piece in words.feed(part):
                                yield piece
        except EngineError as error:
            for happening in _not_run(error.message):
                yield happening
            return
        finally:
            succeeded = self._ends.succeeded(self._id)
        state = {"Pid": 1, "ExitCode": 0} if succeeded else await self._ended(self._id)
        if not state.get("Pid"):
            for happening in _not_run(words.said):
                yield happening
            return
        for piece in words.rest():
            yield piece
        if state.get("ExitCode") is None:
            raise InternalServerError("Docker Engine does not tell how the command ended")
        yield Ended.with_status(int(state["ExitCode"]))

    async def _obey(self, controls: AsyncIterator[Control]) -> None:
        async for control in controls:
            if isinstance(control, Kill):
                # The first of its processes may be gone, and the program with it, before the others are.
                await completed(self._kill())
            elif isinstance(control, Signal):
                await self._signal(control.number)
            else:
                await self._resize(control.rows, control.columns)

    async def _resize(self, rows: int, columns: int) -> None:
        query = {"h": str(rows), "w": str(columns)}
        try:
            await self._engine.call("POST", f"/exec/{self._id}/resize", query=query)
        except EngineError:
            # It has ended.
            return

    async def _signal(self, number: int) -> None:
        first = await self._first_process()
        if on_this_host(self._container, self._init) and signal_process(self._container, first, number):
            return
        await self._run_inside(signal_script(self._mark, number))

    async def _ended(self, exec_id: str) -> dict[str, Any]:
        """Wait until the first process has ended: a command may close its output long before."""
        pause = 0.002
        while True:
            state: dict[str, Any] = await self._engine.call("GET", f"/exec/{exec_id}/json")
            if not state.get("Running"):
                return state
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.25)

    async def _kill(self) -> None:
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                first = await self._first_process()
                killed = on_this_host(self._container, self._init) and await asyncio.to_thread(
                    kill_command, self._container, first, self._mark
                )
                if not killed:
                    await self._kill_from_inside()
        except (EngineError, EngineMissing, TimeoutError):
            # The container is gone or its engine is, and the command with it.
            return

    async def _kill_from_inside(self) -> None:
        await self._run_inside(kill_script(self._mark))

    async def _run_inside(self, command: tuple[str, ...]) -> None:
        body = {"AttachStdin": True, "AttachStdout": True, "Cmd": list(command)}
        created = await self._engine.call("POST", f"/containers/{self._container}/exec", body)
        start = {"Detach": False, "Tty": False}
        async with self._engine.attached(f"/exec/{created['Id']}/start", start) as (reader, writer):
            writer.write_eof()
            while await reader.read(_CHUNK):
                pass
        await self._ended(str(created["Id"]))

    async def _first_process(self) -> int:
        """Return the process ID of the command's first process, 0 once that has ended."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while loop.time() < deadline:
            state = await self._engine.call("GET", f"/exec/{self._id}/json")
            if state.get("Running") and state.get("Pid"):
                return int(state["Pid"])
            if state.get("ExitCode") is not None:
                return 0
            await asyncio.sleep(0.01)
        return 0


def why_not_run(message: str) -> tuple[str, bool] | None:
    """Return why a program could not be run, and whether it is not there; None where that was not it.

    Args:
        message: What the engine said.
    """
    found = _NOT_RUN.search(message)
    if found is None:
        return None
    return found[1], any(sign in found[1] for sign in _NOT_FOUND)


def is_about_user(message: str) -> bool:
    """Tell whether the engine says that there is no such user or group."""
    return any(sign in message for sign in _NO_USER)


def _not_run(message: str) -> list[Happening]:
    no_directory = _NO_DIRECTORY.search(message)
    if no_directory is not None:
        text = f"{no_directory['cwd']}: {no_directory['why'].strip()}\n"
        return [Printed("stderr", text.encode()), Ended(126)]
    why = why_not_run(message)
    if why is not None:
        text, absent = why
        return [Printed("stderr", f"exec: {text}\n".encode()), Ended(127 if absent else 126)]
    if any(sign in message for sign in _CONFLICTS):
        raise ConflictError(f"the command was not run: {message.strip()}")
    if is_about_user(message):
        raise InvalidArgumentError(f"user: {message.strip()}")
    raise InternalServerError(f"the command could not be run: {message.strip()}")


async def _feed(writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes], *, is_terminal: bool) -> None:
    """Send a program its input, and its end."""
    with suppress(OSError):
        async for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if is_terminal:
            writer.write(END_OF_INPUT)
        else:
            writer.write_eof()

"""Running a command in a container, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from ...errors import ConflictError, InternalServerError
from ...models import ExecResult
from .api import Engine, EngineError, EngineMissing
from .ends import CommandEnds
from .processes import MARK, kill_command, kill_script, on_this_host
from .streams import Streams

__all__ = ["Command", "completed", "why_not_run"]

_Result = TypeVar("_Result")

_NOT_RUN: Final = re.compile(r'exec: ("(?:[^"\\]|\\.)*": .*?)(?:: unknown)?\s*$', re.DOTALL)
_NOT_FOUND: Final = ("executable file not found", "no such file or directory")
_START_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 10.0


class Command:
    """One command in one container.

    Args:
        engine: Where the container runs.
        ends: Hears of the end of its commands.
        container: Its full ID.
        command: The command and its arguments.
        init: Process ID of the container's init where its processes may be this host's; 0 where they are not.
    """

    def __init__(
        self, engine: Engine, ends: CommandEnds, container: str, command: tuple[str, ...], init: int
    ) -> None:
        self._engine = engine
        self._ends = ends
        self._container = container
        self._command = command
        self._init = init
        self._mark = secrets.token_hex(8)
        self._id = ""

    async def run(self) -> ExecResult:
        """Run it to its end and return what it printed. Cancelling ends all of its processes.

        A process that it leaves behind with its output open is waited for by the engine, for two seconds.

        Raises:
            ConflictError: If the container does not run.
            InternalServerError: If the engine could not run it.
        """
        self._id = await self._create(self._command, f"{MARK}={self._mark}")
        running = asyncio.create_task(self._attend())
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done():
                await completed(self._kill())
            running.cancel()
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()
            raise

    async def _create(self, command: tuple[str, ...], *environment: str) -> str:
        body = {
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(command),
            "Env": list(environment),
        }
        created = await self._engine.call("POST", f"/containers/{self._container}/exec", body)
        return str(created["Id"])

    async def _attend(self) -> ExecResult:
        streams = Streams()
        self._ends.expect(self._id)
        try:
            async with self._engine.stream("POST", f"/exec/{self._id}/start", {"Detach": False}) as response:
                async for chunk in response.aiter_raw():
                    streams.feed(chunk)
        except EngineError as error:
            return _not_run(error.message)
        finally:
            succeeded = self._ends.succeeded(self._id)
        if succeeded:
            return _result(streams, 0)
        state = await self._ended(self._id)
        code = state.get("ExitCode")
        if not state.get("Pid"):
            # What the engine says of it, it prints in the command's place.
            return _not_run(streams.stdout.text + streams.stderr.text)
        if code is None:
            raise InternalServerError("Docker Engine does not tell how the command ended")
        return _result(streams, int(code))

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
        killer = await self._create(kill_script(self._mark))
        await self._engine.call("POST", f"/exec/{killer}/start", {"Detach": True})
        await self._ended(killer)

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


async def completed(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run `work` to its end, also where the caller is cancelled meanwhile; then raise that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


def why_not_run(message: str) -> tuple[str, bool] | None:
    """Return why a program could not be run, and whether it is not there; None where that was not it.

    Args:
        message: What the engine said.
    """
    found = _NOT_RUN.search(message)
    if found is None:
        return None
    return found[1], any(sign in found[1] for sign in _NOT_FOUND)


def _result(streams: Streams, exit_code: int) -> ExecResult:
    return ExecResult(
        stdout=streams.stdout.text,
        stderr=streams.stderr.text,
        exit_code=exit_code,
        stdout_dropped=streams.stdout.dropped,
        stderr_dropped=streams.stderr.dropped,
    )


def _not_run(message: str) -> ExecResult:
    why = why_not_run(message)
    if why is not None:
        text, absent = why
        return ExecResult(stderr=f"exec: {text}\n", exit_code=127 if absent else 126)
    if "is not running" in message or "No such" in message:
        raise ConflictError(f"the command was not run: {message.strip()}")
    raise InternalServerError(f"the command could not be run: {message.strip()}")

"""Commands in a container: ``runsc exec`` with a pipe for each stream, and the end of all that it started."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import ConflictError, InternalServerError
from ..completion import alongside, completed
from ..runtimes.base import Control, Ended, Happening, Kill, Printed, Program, Signal
from ..sandboxing.engine_words import EngineWords
from ..sandboxing.pipes import feed, resize
from .bundle import command_mark, program_process
from .container import Container
from .orphans import ProcessEnd
from .program import Runsc, RunscError, reported_errors
from .streams import Streams

__all__ = ["run_program", "why_not_run"]

# What runsc ends with where it fails itself; a command may end with it, too.
_RUNSC_FAILED: Final = 128
# How it ended where nobody knows: this process ignores the end of its children.
_KILLED: Final = 128 + 9
_NOT_FOUND: Final = 127
_NOT_RUNNABLE: Final = 126
_END_GRACE_SECONDS: Final = 5.0
_ROUNDS: Final = 50
_END_MARKED: Final = """
for round in 1 2 3 4 5 6 7 8 9 10; do
    found=
    for file in /proc/[0-9]*/environ; do
        grep -qF "$1" "$file" || continue
        found=1
        pid=${file#/proc/}
        kill -9 "${pid%/environ}"
    done
    [ "$found" ] || exit 0
done 2> /dev/null
"""
# What runsc reports in its log, it says on standard error, too.
_RUNSC_SAYS: Final = b"executing processes for container: "
_NO_DIRECTORY: Final = re.compile(r"failed to find initial working directory .*: (?P<why>[^:]+)$")
_NOT_RUN: Final = re.compile(
    r"(?:executing command|error finding executable|failed to load) .*?: (?P<why>[^:]+)$"
)


async def run_program(
    runsc: Runsc,
    container: Container,
    program: Program,
    name: str,
    stdin: AsyncIterator[bytes] | None,
    controls: AsyncIterator[Control],
) -> AsyncGenerator[Happening]:
    """Run a program to its end and tell what becomes of it, as `Runtime.run` does.

    Args:
        runsc: What runs it.
        container: Where to run it.
        program: What to run.
        name: What no other program of the container is called.
        stdin: Its input, to its end; None for none.
        controls: What is done to it meanwhile.
    """
    words = EngineWords(_RUNSC_SAYS)
    with runsc.log() as log, Streams(runsc, program, has_input=stdin is not None) as streams:
        running = _Running(runsc, container, program, name, streams)
        try:
            running.start(log)
            work = [running.obey(controls)]
            if stdin is not None:
                work.append(feed(streams.input, stdin, streams.end_input))
            async with alongside(*work):
                async for printed in streams.outputs.printed(running.ended):
                    for piece in words.feed(printed):
                        yield piece
                status = await asyncio.shield(running.ended)
        finally:
            await completed(running.close())
        error = reported_errors(log) if status == _RUNSC_FAILED else ""
    if error:
        for happening in await _failed(container, error, program):
            yield happening
        return
    for piece in words.rest():
        yield piece
    yield Ended.with_status(_KILLED if status is None else status)


def why_not_run(error: str) -> tuple[int, str] | None:
    """Return exit status and cause, where runsc reports that a program cannot be run; else None."""
    found = _NOT_RUN.search(error)
    if found is None:
        return None
    why = found["why"].strip()
    return (_NOT_FOUND if "no such file" in why else _NOT_RUNNABLE), why


class _Running:
    """One ``runsc exec``: its files, and what can be done to it."""

    def __init__(
        self, runsc: Runsc, container: Container, program: Program, name: str, streams: Streams
    ) -> None:
        self.ended: asyncio.Future[int | None]
        self._process: ProcessEnd | None = None
        self._runsc = runsc
        self._container = container
        self._program = program
        self._name = name
        self._streams = streams
        self._spec_file = container.directory / f"{name}.json"
        self._pid_file = container.directory / f"{name}.pid"

    def start(self, log: str) -> None:
        """Start it."""
        specification = program_process(self._container.directory, self._program, self._name)
        self._spec_file.write_text(json.dumps(specification))
        files = (f"--process={self._spec_file}", f"--internal-pid-file={self._pid_file}")
        line = self._runsc.line(log, "exec", *files, self._container.id)
        self._process = self._streams.spawn(line)
        self.ended = self._process.status

    async def close(self) -> None:
        """End it where it still runs, and remove its files."""
        if self._process is not None and not self.ended.done():
            await self._kill()
        for path in (self._spec_file, self._pid_file):
            path.unlink(missing_ok=True)

    async def obey(self, controls: AsyncIterator[Control]) -> None:
        """Do to it what comes."""
        async for control in controls:
            if isinstance(control, Kill):
                # The first of its processes may be gone, and the program with it, before the others are.
                await completed(self._kill())
            elif isinstance(control, Signal):
                await self._signal(control.number)
            else:
                resize(self._streams.input, control.rows, control.columns)
                # From the terminal runsc hears of it, but only once it passes signals on.
                await self._signal(signal.SIGWINCH)

    async def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(RunscError):
            for pid in await _first(self._process, self._pid_file):
                await self._runsc.run("kill", f"--pid={pid}", self._container.id, str(number))

    async def _kill(self) -> None:
        assert self._process is not None
        await _end(self._runsc, self._container, self._name, self._process, self._pid_file)


async def _failed(container: Container, error: str, program: Program) -> list[Happening]:
    """Tell a program that cannot be run from a sandbox that has ended meanwhile, and from what is neither."""
    no_directory = _NO_DIRECTORY.search(error)
    if no_directory is not None:
        return [Printed("stderr", f"{program.cwd}: {no_directory['why'].strip()}\n".encode()), Ended(126)]
    not_run = why_not_run(error)
    if not_run is not None:
        status, why = not_run
        return [Printed("stderr", f"{program.command[0]}: {why}\n".encode()), Ended(status)]
    if container.end is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_GRACE_SECONDS):
                await asyncio.shield(container.end.status)
                raise ConflictError(f"sandbox {container.id} ended while the command ran")
    raise InternalServerError(f"gVisor could not run the command: {error}")


async def _end(runsc: Runsc, container: Container, name: str, process: ProcessEnd, pid_file: Path) -> None:
    """End a command and what it started: by parent and, for what has lost its own, by the command's mark."""
    first = set(await _first(process, pid_file))
    known = set(first)
    killed: set[int] = set()
    with suppress(RunscError):
        for _ in range(_ROUNDS):
            parents = _parents(await runsc.run("ps", container.id))
            known |= _descendants(parents, known)
            # What was killed cannot fork any more; it stays in the table until its parent takes notice.
            alive = known & parents.keys() - killed
            if not alive:
                break
            # A shell whose children ended before it would go on, and end as if it had not been ended.
            for pids in (alive & first, alive - first):
                kills = (runsc.run("kill", f"--pid={pid}", container.id, "KILL") for pid in sorted(pids))
                await asyncio.gather(*kills, return_exceptions=True)
            killed |= alive
    with suppress(RunscError):
        # Where the image has no shell, or none that does this, what has lost its parents stays.
        end = ("/bin/sh", "-c", _END_MARKED, "sh", command_mark(name))
        await runsc.run("exec", container.id, *end, limit=_END_GRACE_SECONDS)
    process.kill()
    await process.status


async def _first(process: ProcessEnd, pid_file: Path) -> list[int]:
    """Return the process ID that a command has inside, once it has one; nothing where it has ended."""
    while not process.status.done():
        with suppress(FileNotFoundError, ValueError):
            return [int(pid_file.read_text())]
        await asyncio.sleep(0.002)
    return []


def _parents(table: str) -> dict[int, int]:
    """Return each process and its parent from what ``runsc ps`` prints: UID, PID, PPID and more."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {int(row[1]): int(row[2]) for row in rows if len(row) > 2}


def _descendants(parents: dict[int, int], roots: set[int]) -> set[int]:
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found

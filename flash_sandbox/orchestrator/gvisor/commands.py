"""Commands in a container: ``runsc exec`` with a pipe for each stream, and the end of all that it started."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import ConflictError, InternalServerError
from ...models import ExecResult
from ..sandboxing.output import Output, drained
from .bundle import command_mark, command_process
from .container import Container
from .orphans import ProcessEnd, spawn
from .program import Runsc, RunscError, reported_errors, settled

__all__ = ["run_command", "why_not_run"]

# What runsc ends with where it fails itself; a command may end with it, too.
_RUNSC_FAILED: Final = 128
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
_NOT_RUN: Final = re.compile(
    r"(?:executing command|error finding executable|failed to load) .*?: (?P<why>[^:]+)$"
)


async def run_command(runsc: Runsc, container: Container, command: tuple[str, ...], name: str) -> ExecResult:
    """Run a command to its end. Cancelling ends it with all that it started.

    Args:
        runsc: The program.
        container: Where to run it.
        command: The command and its arguments.
        name: What no other command of the container is called.
    """
    spec_file, pid_file = container.directory / f"{name}.json", container.directory / f"{name}.pid"
    stdout, stderr = Output(), Output()
    try:
        with runsc.log() as log:
            spec_file.write_text(json.dumps(command_process(container.directory, command, name)))
            arguments = ["exec", f"--process={spec_file}", f"--internal-pid-file={pid_file}", container.id]
            process = _start(runsc, runsc.line(log, *arguments), stdout, stderr)
            try:
                status = await asyncio.shield(process.status)
            except asyncio.CancelledError:
                await settled(_end(runsc, container, name, process, pid_file))
                raise
            assert status is not None
            await drained(stdout, stderr)
            error = reported_errors(log) if status == _RUNSC_FAILED else ""
        if error:
            return await _failed(container, error, command[0])
        return ExecResult(
            stdout=stdout.text,
            stderr=stderr.text,
            exit_code=status,
            stdout_dropped=stdout.dropped,
            stderr_dropped=stderr.dropped,
        )
    finally:
        stdout.close()
        stderr.close()
        for path in (spec_file, pid_file):
            path.unlink(missing_ok=True)


def why_not_run(error: str) -> tuple[int, str] | None:
    """Return exit status and cause, where runsc reports that a program cannot be run; else None."""
    found = _NOT_RUN.search(error)
    if found is None:
        return None
    why = found["why"].strip()
    return (_NOT_FOUND if "no such file" in why else _NOT_RUNNABLE), why


def _start(runsc: Runsc, line: list[str], stdout: Output, stderr: Output) -> ProcessEnd:
    with runsc.null() as null:
        process = spawn(line, stdin=null, stdout=stdout.write_end, stderr=stderr.write_end)
    stdout.handed_over()
    stderr.handed_over()
    return process


async def _failed(container: Container, error: str, program: str) -> ExecResult:
    """Tell a program that cannot be run from a sandbox that has ended meanwhile, and from what is neither."""
    not_run = why_not_run(error)
    if not_run is not None:
        status, why = not_run
        return ExecResult(stderr=f"{program}: {why}\n", exit_code=status)
    if container.end is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_GRACE_SECONDS):
                await asyncio.shield(container.end.status)
                raise ConflictError(f"sandbox {container.id} ended while the command ran")
    raise InternalServerError(f"gVisor could not run the command: {error}")


async def _end(runsc: Runsc, container: Container, name: str, process: ProcessEnd, pid_file: Path) -> None:
    """End a command and what it started: by parent and, for what has lost its own, by the command's mark."""
    known = set(await _first(process, pid_file))
    killed: set[int] = set()
    with suppress(RunscError):
        for _ in range(_ROUNDS):
            parents = _parents(await runsc.run("ps", container.id))
            known |= _descendants(parents, known)
            # What was killed cannot fork any more; it stays in the table until its parent takes notice.
            alive = known & parents.keys() - killed
            if not alive:
                break
            kills = (runsc.run("kill", f"--pid={pid}", container.id, "KILL") for pid in sorted(alive))
            await asyncio.gather(*kills, return_exceptions=True)
            killed |= alive
    with suppress(RunscError):
        # Where the image has no shell, what has lost its parents stays until the sandbox ends.
        await runsc.run("exec", container.id, "/bin/sh", "-c", _END_MARKED, "sh", command_mark(name))
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

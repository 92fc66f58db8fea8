"""Commands that are run in a sandbox, from outside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from ...errors import InternalServerError
from ...models import ExecResult
from . import bwrap
from .launcher_client import LauncherClient, Process
from .output import Output, drained
from .process_tree import ProcessTree
from .running import RunningSandbox

__all__ = ["finish", "run_command"]

_Result = TypeVar("_Result")


async def run_command(
    launcher: LauncherClient, sandbox: RunningSandbox, command: tuple[str, ...]
) -> ExecResult:
    """Run a command in a sandbox, confined as its main process is. Cancelling ends all of its processes."""
    stdout, stderr = Output(), Output()
    try:
        async with _process(launcher, sandbox, command, stdout, stderr) as process:
            end = await asyncio.shield(process.exited)
        await drained(stdout, stderr)
        return ExecResult(
            stdout=stdout.text,
            stderr=stderr.text,
            exit_code=end.status,
            stdout_dropped=stdout.dropped,
            stderr_dropped=stderr.dropped,
        )
    finally:
        stdout.close()
        stderr.close()


@asynccontextmanager
async def _process(
    launcher: LauncherClient,
    sandbox: RunningSandbox,
    command: tuple[str, ...],
    stdout: Output,
    stderr: Output,
) -> AsyncIterator[Process]:
    """Run a command for the length of the block; what still runs is ended when the block is left."""
    if sandbox.handle < 0:
        raise InternalServerError("the sandbox has ended")
    sandbox.commands += 1
    group = sandbox.group.command_group(f"exec-{sandbox.commands}")
    tree = sandbox.group if isinstance(sandbox.group, ProcessTree) else None
    report_read, report_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    request = {
        "argv": command,
        "env": bwrap.environment(sandbox.id, sandbox.root.config),
        "cwd": sandbox.root.working_dir,
        "cgroups": group.join_files,
        "rlimits": [*tree.command_rlimits, *getattr(group, "rlimits", [])] if tree else [],
        "cpus": tree.cpus if tree else [],
    }
    starting = asyncio.ensure_future(
        launcher.exec(request, (stdout.write_end, stderr.write_end, report_write, sandbox.handle))
    )
    try:
        process = await finish(starting)
        os.close(report_write)
        report_write = -1
        stdout.handed_over()
        stderr.handed_over()
        yield process
        _raise_report(report_read)
    finally:
        try:
            if starting.done() and not starting.cancelled() and starting.exception() is None:
                process = starting.result()
                if not process.exited.done():
                    await finish(asyncio.ensure_future(group.kill(process.pid)))
                elif tree:
                    tree.add_finished(process.exited.result())
        finally:
            group.close()
            os.close(report_read)
            if report_write >= 0:
                os.close(report_write)


def _raise_report(report: int) -> None:
    """Raise what a process said that joined the sandbox but could not be confined."""
    with suppress(BlockingIOError):
        problem = os.read(report, 4096)
        if problem:
            raise InternalServerError(f"the command could not be confined: {problem.decode()}")


async def finish(task: asyncio.Future[_Result]) -> _Result:
    """Return the result of a task, which is waited for however often the caller is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        # Taken note of: asyncio complains of an error that nobody has looked at.
        task.exception()
    raise cancelled

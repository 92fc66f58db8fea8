"""The beginning of a sandbox: what bwrap tells of it, and whether its main process runs."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

from ...errors import InternalServerError, InvalidArgumentError, Reason, SandboxError
from . import bwrap
from .cgroup_files import read
from .output import drained
from .running import RunningSandbox

__all__ = ["handle_of", "main_process_runs", "mounts_are_there", "read_init", "received"]

_PATIENCE_SECONDS: Final = 30.0


async def read_init(sandbox: RunningSandbox) -> int:
    """Return the process ID of the sandbox's PID 1, which bwrap tells once the namespaces are there."""
    first, newline, _ = (await received(sandbox.status, b"\n")).partition(b"\n")
    if not newline:
        raise await _start_error(sandbox)
    init: int = json.loads(first)["child-pid"]
    return init


def handle_of(sandbox: RunningSandbox) -> int:
    """Open PID 1, or return -1 where it has ended already.

    What is opened is PID 1, and no later process of its number, if it still is a child of bwrap then.
    """
    assert sandbox.process is not None
    try:
        handle = os.pidfd_open(sandbox.init)
    except ProcessLookupError:
        return -1
    if sandbox.init in _children(sandbox.process.pid):
        return handle
    os.close(handle)
    return -1


async def main_process_runs(sandbox: RunningSandbox, program: Path) -> None:
    """Wait until PID 1's first child is another program than bwrap: the command that was asked for."""
    assert sandbox.process is not None
    exited = sandbox.process.exited
    own = os.stat(program)
    deadline = monotonic() + _PATIENCE_SECONDS
    pause = 0.0002
    while not exited.done():
        if any(_runs_another(pid, own) for pid in _children(sandbox.init)):
            return
        if monotonic() > deadline:
            raise InternalServerError("the sandbox did not start in time")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    # It has ended already: well, if it was the command that ended.
    await drained(sandbox.log)
    if "bwrap: " in sandbox.log.text or "launcher: " in sandbox.log.text:
        raise await _start_error(sandbox)


async def mounts_are_there(sandbox: RunningSandbox) -> None:
    """Wait until all that is to be mounted is, or bwrap has ended. Not for what idles as PID 1.

    Raises:
        InternalServerError: They are not there in time.
    """
    assert sandbox.process is not None
    mounts = Path(f"/proc/{sandbox.init}/mountinfo")
    deadline = monotonic() + _PATIENCE_SECONDS
    pause = 0.0002
    while not sandbox.process.exited.done():
        # It begins with the host's mounts and is put together elsewhere. That becomes the root in the end;
        # what was the root before lies on top for a moment more.
        with suppress(OSError):
            points = [line.split(" ")[4] for line in mounts.read_text(errors="replace").splitlines()]
            if bwrap.MASKED[0] in points and points.count("/") == 1:
                return
        if monotonic() > deadline:
            raise InternalServerError("the sandbox's file systems were not mounted in time")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.02)


async def received(descriptor: int, mark: bytes) -> bytes:
    """Return what comes from a pipe as soon as `mark` is in it; less where the pipe ends, or patience."""
    os.set_blocking(descriptor, False)
    loop = asyncio.get_running_loop()
    enough: asyncio.Future[None] = loop.create_future()
    found = bytearray()

    def on_readable() -> None:
        chunk = os.read(descriptor, 4096)
        found.extend(chunk)
        if not enough.done() and (not chunk or mark in found):
            enough.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await enough
    finally:
        loop.remove_reader(descriptor)
    return bytes(found)


async def _start_error(sandbox: RunningSandbox) -> SandboxError:
    await drained(sandbox.log)
    said = sandbox.log.text.strip()
    if "bwrap: execvp" in said:
        name, _, why = said.rpartition("bwrap: execvp ")[2].partition(": ")
        return InvalidArgumentError(
            f"the main process {name!r} cannot be run: {why}", reason=Reason.START_FAILED
        )
    return InternalServerError(f"bubblewrap failed: {said or 'it said nothing'}")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in read(Path(f"/proc/{pid}/task/{pid}/children")).split()]
    except OSError:
        return []


def _runs_another(pid: int, program: os.stat_result) -> bool:
    try:
        status = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return False
    return (status.st_dev, status.st_ino) != (program.st_dev, program.st_ino)

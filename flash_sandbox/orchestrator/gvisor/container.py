"""One container of gVisor: started, restored, paused, saved and ended, with its cgroup.

Its directory is the OCI bundle, with the record of it, and with its checkpoint while it lies in one::

    config.json    the bundle
    rootfs/        where it has its image, for runsc alone, if others could exchange that meanwhile
    record.json    what the next orchestrator must know
    output         what the main process prints into, see `output`
    saved/         the checkpoint of a sandbox that is paused since it was snapshot, and has no process
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from ...errors import ConflictError, InternalServerError
from ..sandboxing.cgroups import CgroupV1, CgroupV2
from ..sandboxing.limits import Usage
from ..sandboxing.tree_walk import remove_tree
from .bundle import knowing_its_memory, mounting_root
from .orphans import ProcessEnd, adopting_orphans, reap
from .output import MainOutput
from .program import Runsc, RunscError, joining, then_renaming
from .records import Phase, Record, has_record, remove_record, write_record
from .unprivileged import showing

__all__ = ["Container"]

_SAVED: Final = "saved"
_SAVING: Final = "saved.partial"
_LOCK: Final = "saving.lock"
_PID_FILE: Final = "pid"
_LOCK_PATIENCE_SECONDS: Final = 60.0
# What killed it from outside cannot be known: for its memory most probably, with SIGKILL.
_KILLED: Final = 128 + 9


class Container:
    """A container and what it holds on this host.

    Args:
        runsc: The program that runs it.
        directory: Its directory, which is its bundle.
        group: Its cgroup.
        record: What is known of it.

    Attributes:
        runsc: The program that runs it.
        output: What its main process prints.
        end: The end of gVisor's kernel; None while there is no process.
    """

    def __init__(self, runsc: Runsc, directory: Path, group: CgroupV1 | CgroupV2, record: Record) -> None:
        self.runsc = runsc
        self.directory = directory
        self.group = group
        self.record = record
        self.output = MainOutput(directory)
        self.end: ProcessEnd | None = None
        self.last_pids = 0

    @property
    def id(self) -> str:
        """Its ID, for runsc as for everybody."""
        return self.record.id

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self.record.phase

    # Its beginnings

    async def start(self) -> None:
        """Start the main process that the bundle names."""
        await self._launch("run")

    async def restore(self, checkpoint: Path) -> None:
        """Start from a checkpoint: with the processes, their memory and the files of that moment."""
        await self._launch("restore", f"--image-path={checkpoint}")

    async def _launch(self, verb: str, *options: str) -> None:
        pid_file = self.directory / _PID_FILE
        with adopting_orphans(), self.output.write_end() as output:
            self.output.follow()
            await self.runsc.run(
                verb,
                "--detach",
                f"--bundle={self.directory}",
                f"--pid-file={pid_file}",
                *options,
                self.id,
                prefix=[
                    *mounting_root(self.directory, self.record.lower),
                    *joining(self.group.join_files),
                    *knowing_its_memory(self.directory),
                    *showing(self.directory),
                ],
                output=output,
            )
        pid = int(pid_file.read_text())
        try:
            self.end = ProcessEnd(pid)
        except ProcessLookupError:
            raise InternalServerError("the sandbox ended while it was being started") from None
        self._note(phase="running", pid=pid, pipes=tuple(_pipes(pid).elements()))

    async def attach(self) -> bool:
        """Go on with a container that another orchestrator has started; tell whether it can be.

        What was being saved when that one was killed is waited for.
        """
        if self.phase == "saving":
            await asyncio.to_thread(self._await_saving)
            self._note(phase="saved" if (self.directory / _SAVED).exists() else "running")
        self.output.follow()
        if self.phase == "halted":
            await self._end_processes()
            return True
        if self.phase == "saved":
            await self._end_processes()
            return (self.directory / _SAVED).is_dir()
        try:
            status = json.loads(await self.runsc.run("state", self.id))
            if status["status"] not in ("running", "paused") or status["pid"] not in self.group.processes:
                return False
            self.end = ProcessEnd(status["pid"])
        except (RunscError, ValueError, KeyError, ProcessLookupError):
            return False
        self._note(phase=status["status"])
        return True

    async def wait(self) -> int:
        """Return the exit status of the main process, once it has ended."""
        assert self.end is not None
        end = self.end
        if end.is_child:
            status = await asyncio.shield(end.status)
            return _KILLED if status is None else status
        try:
            status = await self.runsc.wait(self.id)
        except RunscError:
            status = _KILLED
        await asyncio.shield(end.status)
        return status

    # Its life

    async def pause(self) -> None:
        """Stop every process in it."""
        await self.runsc.run("pause", self.id)
        self._note(phase="paused")

    async def resume(self) -> None:
        """Let every process run on; from its checkpoint, where it lies in one."""
        if self.phase != "saved":
            await self.runsc.run("resume", self.id)
            self._note(phase="running")
            return
        try:
            await self.restore(self.directory / _SAVED)
        except BaseException:
            await self._end_processes()
            raise
        remove_tree(self.directory / _SAVED)

    async def save(self) -> Path:
        """Write a paused container into a checkpoint and return its directory. It has no process afterwards.

        Raises:
            ConflictError: If a process in it has a pipe of this host open, which no checkpoint can hold.
        """
        saved = self.directory / _SAVED
        if self.phase == "saved":
            return saved
        await self.processes()
        self._require_own_pipes()
        saving = self.directory / _SAVING
        remove_tree(saving)
        saving.mkdir(mode=0o700)
        previous = self.phase
        self._note(phase="saving")
        try:
            with (self.directory / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Both hold the lock, and complete what they do, also where this process is killed.
                await self.runsc.run(
                    "checkpoint",
                    f"--image-path={saving}",
                    self.id,
                    prefix=then_renaming(str(saving), str(saved)),
                    held=[lock.fileno()],
                )
        except BaseException:
            if not saved.exists():
                self._note(phase=previous)
                remove_tree(saving)
                raise
            await self._settle_saved()
            raise
        await self._settle_saved()
        return saved

    async def _settle_saved(self) -> None:
        self._note(phase="saved", pid=0)
        await self._end_processes()

    async def processes(self) -> int:
        """Return how many processes there are in it."""
        if self.phase != "saved":
            try:
                answer = json.loads(await self.runsc.run("events", "--stats", self.id))
                self.last_pids = int(answer["data"]["pids"]["current"])
            except (RunscError, ValueError, KeyError, TypeError) as error:
                raise InternalServerError(f"gVisor does not tell its figures: {error}") from error
        return self.last_pids

    def usage(self) -> Usage:
        """Read from its cgroup what it uses, gVisor's kernel included."""
        return self.group.usage()

    def keep(self, expires_at: float) -> None:
        """Write down when it expires, unless its end has begun."""
        if has_record(self.directory):
            self._note(expires_at=expires_at)

    # Its end

    async def halt(self) -> None:
        """End every process, in whatever state it is, and keep its directory."""
        self._note(phase="halted", pid=0)
        await self._end_processes()

    async def destroy(self) -> None:
        """End it and remove all that it held, in whatever state it is."""
        remove_record(self.directory)
        self.output.close()
        await self._end_processes()
        await self.group.remove()
        await asyncio.to_thread(remove_tree, self.directory)

    async def _end_processes(self) -> None:
        """End every process and forget what runsc kept of the container: faster than ``runsc delete``."""
        pids = self.group.processes
        await self.group.end()
        if self.end is not None:
            await asyncio.shield(self.end.status)
            self.end = None
        reap(pids)
        self.runsc.forget(self.id)

    def _require_own_pipes(self) -> None:
        """Refuse what could not be restored: gVisor's kernel looks for the very descriptors that it had."""
        foreign = _pipes(self.record.pid) - Counter(self.record.pipes)
        if foreign:
            raise ConflictError(
                "a command runs in the sandbox, or has left a process behind that still has its input or "
                "output open; let it end, or start such processes with </dev/null >/dev/null 2>&1 &"
            )

    def _await_saving(self) -> None:
        """Wait until nobody holds the lock of a checkpoint that is being written."""
        deadline = monotonic() + _LOCK_PATIENCE_SECONDS
        with suppress(FileNotFoundError), (self.directory / _LOCK).open() as lock:
            while monotonic() < deadline:
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                sleep(0.01)

    def _note(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        write_record(self.directory, self.record)


def _pipes(pid: int) -> Counter[str]:
    """Return the pipes and null devices that a process has open, each as often as it has."""
    found: Counter[str] = Counter()
    directory = f"/proc/{pid}/fd"
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with suppress(FileNotFoundError):
                target = os.readlink(f"{directory}/{name}")
                if target.startswith("pipe:") or target.endswith("/null"):
                    found[target] += 1
    return found

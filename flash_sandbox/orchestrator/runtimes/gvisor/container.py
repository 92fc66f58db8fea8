"""One container of gVisor: started, restored, paused, saved and ended, with its cgroup and its guest agent.

Its directory is the OCI bundle, with the record of it, and with its checkpoint while it has no process::

    config.json    the bundle
    agent          the guest agent's program: the one that its memory is of
    rootfs/        where it has its image, for runsc alone, if others could exchange that meanwhile
    record.json    what the next orchestrator must know
    to-agent       the pipes to and from the agent, see `agent_pipes`
    from-agent
    output.N       the last output of its main process, while nobody can ask the agent; N bytes came before it
    saved/         the checkpoint of a sandbox that is paused since it was snapshot, and has no process
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from ....errors import InternalServerError
from ....models import GetLogsResult
from ...guest.streams import AgentStream
from ...linux.cgroups import CgroupV1, CgroupV2
from ...linux.limits import Usage
from ...linux.tree_walk import remove_tree
from .agent_pipes import AgentPipes
from .bundle import knowing_its_memory, mounting_root
from .orphans import ProcessEnd, adopting_orphans, reap
from .records import Phase, Record, has_record, remove_record, write_record
from .runsc import Runsc, RunscError, joining, then_renaming
from .unprivileged import showing

__all__ = ["Container"]

_SAVED: Final = "saved"
_SAVING: Final = "saved.partial"
_LOCK: Final = "saving.lock"
_PID_FILE: Final = "pid"
_OUTPUT: Final = "output."
_LOCK_SECONDS: Final = 60.0


class Container:
    """A container and what it holds on this host.

    Args:
        runsc: The program that runs it.
        directory: Its directory, which is its bundle.
        group: Its cgroup.
        record: What is known of it.

    Attributes:
        runsc: The program that runs it.
        end: The end of gVisor's kernel; None while there is no process.
    """

    def __init__(self, runsc: Runsc, directory: Path, group: CgroupV1 | CgroupV2, record: Record) -> None:
        self.runsc = runsc
        self.directory = directory
        self.group = group
        self.record = record
        self.end: ProcessEnd | None = None
        self.last_pids = 0
        self._pipes = AgentPipes(directory)
        self._noted = asyncio.Event()

    @property
    def id(self) -> str:
        """Its ID, for runsc as for everybody."""
        return self.record.id

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self.record.phase

    # Its start

    async def start(self) -> None:
        """Start the agent."""
        await self._launch("run")
        self._note(phase="running")

    async def restore(self, checkpoint: Path) -> None:
        """Start from a checkpoint: with the processes, their memory and the files of that moment."""
        await self._launch("restore", f"--image-path={checkpoint}")
        self._note(phase="running")

    async def _launch(self, verb: str, *options: str) -> None:
        pid_file = self.directory / _PID_FILE
        with adopting_orphans(), self._pipes.made() as stream:
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
                stream=stream,
            )
        try:
            self.end = ProcessEnd(int(pid_file.read_text()))
        except ProcessLookupError:
            raise InternalServerError("the sandbox ended while it was being started") from None

    async def stream(self) -> AgentStream:
        """Return a stream to the agent.

        Raises:
            InternalServerError: gVisor's kernel has ended.
        """
        try:
            return self._pipes.open()
        except OSError as error:
            raise InternalServerError("the sandbox ended while its agent was being reached") from error

    async def attach(self) -> bool:
        """Go on with a container that another orchestrator has started; tell whether it can be.

        What was being saved when that one was killed is waited for.
        """
        if self.phase == "saving":
            await asyncio.to_thread(self._await_saving)
            self._note(phase="saved" if (self.directory / _SAVED).exists() else "running")
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

    async def wait(self) -> None:
        """Wait until gVisor's kernel has ended. One whose sandbox lies in a checkpoint has not."""
        while True:
            if self.phase in ("saving", "saved"):
                self._noted.clear()
                await self._noted.wait()
            elif self.end is None:
                return
            else:
                await asyncio.wait({self.end.status})
                if self.phase not in ("saving", "saved"):
                    return

    # Its life

    async def pause(self) -> None:
        """Stop every process in it. Nothing may be on its way to or from the agent then."""
        self._pipes.note_quiet()
        await self.runsc.run("pause", self.id)
        self._note(phase="paused")

    async def resume(self) -> None:
        """Let every process run on; from its checkpoint, where it lies in one. Idempotent."""
        if self.phase == "saved":
            await self._resume_saved()
        elif self.phase == "paused":
            await self.runsc.run("resume", self.id)
            self._note(phase="running")

    async def _resume_saved(self) -> None:
        saved = self.directory / _SAVED
        try:
            await self.restore(saved)
        except BaseException:
            await self._end_processes()
            raise
        remove_tree(saved)

    async def save(self) -> Path:
        """Write a paused container into a checkpoint, and return its directory. No process is left."""
        saved = self.directory / _SAVED
        if self.phase == "saved":
            return saved
        await self.processes()
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
        self._note(phase="saved")
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

    def kept_log(self) -> GetLogsResult:
        """Return what `keep_log` wrote down."""
        kept = {int(file.suffix[1:]): file for file in self.directory.glob(f"{_OUTPUT}*")}
        return GetLogsResult(kept[max(kept)].read_bytes(), max(kept)) if kept else GetLogsResult()

    def keep_log(self, log: GetLogsResult) -> None:
        """Write down the last output of the main process."""
        before = list(self.directory.glob(f"{_OUTPUT}*"))
        file = self.directory / f"{_OUTPUT}{log.dropped}"
        file.write_bytes(log.output)
        for older in before:
            if older != file:
                older.unlink()

    def keep(self, expires_at: float) -> None:
        """Write down when it expires, unless its end has begun."""
        if has_record(self.directory):
            self._note(expires_at=expires_at)

    # Its end

    async def halt(self) -> None:
        """End every process, in whatever state it is, and keep its directory."""
        self._note(phase="halted")
        await self._end_processes()

    async def destroy(self) -> None:
        """End it and remove all that it held, in whatever state it is."""
        remove_record(self.directory)
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

    def _await_saving(self) -> None:
        """Wait until nobody holds the lock of a checkpoint that is being written."""
        deadline = monotonic() + _LOCK_SECONDS
        with suppress(FileNotFoundError), (self.directory / _LOCK).open() as lock:
            while monotonic() < deadline:
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                sleep(0.01)

    def _note(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        write_record(self.directory, self.record)
        self._noted.set()

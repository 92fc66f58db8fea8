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

from ...errors import InternalServerError, SandboxError
from ...models import GetLogsResult
from ..guest.guest import Defaults, Guest
from ..sandboxing.cgroups import CgroupV1, CgroupV2
from ..sandboxing.limits import Usage
from ..sandboxing.tree_walk import remove_tree
from .agent_pipes import AgentPipes
from .bundle import knowing_its_memory, mounting_root
from .orphans import ProcessEnd, adopting_orphans, reap
from .program import Runsc, RunscError, joining, then_renaming
from .records import Phase, Record, has_record, remove_record, write_record
from .unprivileged import showing

__all__ = ["Container"]

_SAVED: Final = "saved"
_SAVING: Final = "saved.partial"
_LOCK: Final = "saving.lock"
_PID_FILE: Final = "pid"
_OUTPUT: Final = "output."
_LOCK_SECONDS: Final = 60.0
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
        guest: Its agent; None until this orchestrator has reached it.
        end: The end of gVisor's kernel; None while there is no process.
    """

    def __init__(self, runsc: Runsc, directory: Path, group: CgroupV1 | CgroupV2, record: Record) -> None:
        self.runsc = runsc
        self.directory = directory
        self.group = group
        self.record = record
        self.guest: Guest | None = None
        self.end: ProcessEnd | None = None
        self.last_pids = 0
        self._pipes = AgentPipes(directory)

    @property
    def id(self) -> str:
        """Its ID, for runsc as for everybody."""
        return self.record.id

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self.record.phase

    # Its start

    async def start(self, command: tuple[str, ...]) -> None:
        """Start the agent, and by it the main process, if there is one.

        Raises:
            InvalidArgumentError: The main process cannot be run.
        """
        await self._launch("run")
        guest = await self._reach()
        if command:
            await guest.start_main(command)
        elif guest.defaults.user:
            await guest.require_user()
        self._note(phase="running")

    async def restore(self, checkpoint: Path) -> None:
        """Start from a checkpoint: with the processes, their memory and the files of that moment."""
        await self._launch("restore", f"--image-path={checkpoint}")
        await self._reach()
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

    async def _reach(self) -> Guest:
        """Reach the agent, of which this orchestrator may know from before."""
        if self.guest is not None:
            await self.guest.reopen()
            return self.guest
        defaults = Defaults(self.record.environment, self.record.cwd, self.record.request.user)
        self.guest = Guest(self._pipes.connect, defaults, oom_kills=self.group.oom_kills)
        try:
            await self.guest.open()
        except OSError as error:
            raise InternalServerError("the sandbox ended while its agent was being reached") from error
        return self.guest

    async def attach(self) -> bool:
        """Go on with a container that another orchestrator has started; tell whether it can be.

        What was being saved when that one was killed is waited for. An agent that does not answer ends what
        `wait` waits for.
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
        if self.phase == "running":
            with suppress(SandboxError):
                await self._reach()
        return True

    async def wait(self) -> int:
        """Return the exit status of the main process, once that or gVisor's kernel has ended."""
        assert self.end is not None
        ends: set[asyncio.Future[int] | asyncio.Future[int | None]] = {self.end.status}
        if self.guest is not None:
            ends.add(self.guest.main_exit)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.guest is not None and self.guest.main_exit.done():
            return self.guest.main_exit.result()
        return _KILLED

    # Its life

    async def pause(self) -> None:
        """Stop every process in it. Nothing is on its way to or from the agent then."""
        assert self.guest is not None
        await self.guest.hold()
        self._pipes.note_quiet()
        self._keep_output()
        try:
            await self.runsc.run("pause", self.id)
        except BaseException:
            await self.guest.reopen()
            raise
        self._note(phase="paused")

    async def resume(self) -> None:
        """Let every process run on; from its checkpoint, where it lies in one. Idempotent."""
        if self.phase == "saved":
            await self._resume_saved()
        elif self.phase == "paused":
            await self.runsc.run("resume", self.id)
            self._note(phase="running")
            await self._reach()

    async def _resume_saved(self) -> None:
        saved = self.directory / _SAVED
        try:
            await self.restore(saved)
        except BaseException:
            await self._end_processes()
            # It cannot be reached any more: the agent that it knew has ended.
            if self.guest is not None and self.guest.failure is not None:
                await self.guest.close()
                self.guest = None
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

    def logs(self) -> GetLogsResult:
        """Return the last output of its main process."""
        if self.guest is not None:
            return self.guest.logs()
        kept = {int(file.suffix[1:]): file for file in self.directory.glob(f"{_OUTPUT}*")}
        return GetLogsResult(kept[max(kept)].read_bytes(), max(kept)) if kept else GetLogsResult()

    def _keep_output(self) -> None:
        """Write down the last output, for an orchestrator that cannot ask the agent."""
        if self.guest is None:
            return
        before = list(self.directory.glob(f"{_OUTPUT}*"))
        logs = self.guest.logs()
        file = self.directory / f"{_OUTPUT}{logs.dropped}"
        file.write_bytes(logs.output)
        for older in before:
            if older != file:
                older.unlink()

    def keep(self, expires_at: float) -> None:
        """Write down when it expires, unless its end has begun."""
        if has_record(self.directory):
            self._note(expires_at=expires_at)

    # Its end

    async def halt(self) -> None:
        """End every process, in whatever state it is, and keep its directory with what it has printed."""
        self._keep_output()
        self._note(phase="halted")
        await self._give_up()

    async def destroy(self) -> None:
        """End it and remove all that it held, in whatever state it is."""
        remove_record(self.directory)
        await self._give_up()
        await self.group.remove()
        await asyncio.to_thread(remove_tree, self.directory)

    async def _give_up(self) -> None:
        if self.guest is not None:
            await self.guest.close()
        await self._end_processes()

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

"""One container of gVisor: started, restored, paused, saved and ended, with its cgroup and its guest agent.

Its directory is the OCI bundle, with its checkpoint while it has no process::

    config.json    the bundle
    agent          the guest agent's program: the one that its memory is of
    rootfs/        where it has its image, for runsc alone, if others could exchange that meanwhile
    to-agent       the pipes to and from the agent, see `agent_pipes`
    from-agent
    saved/         the checkpoint of a sandbox that is paused since it was snapshot, and has no process
    saved.old/     what is left of one that it has gone on from
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

from ....errors import InternalServerError, UnavailableError
from ...guest.streams import AgentStream
from ...linux.cgroups import CgroupV1, CgroupV2
from ...linux.limits import Usage
from ...linux.tree_walk import remove_tree
from ...volumes.roots import OpenVolume
from .agent_pipes import AgentPipes
from .bundle import knowing_its_memory, mounting_root, mounting_volumes
from .orphans import ProcessEnd, adopting_orphans, reap
from .runsc import Runsc, RunscError, joining, then_renaming
from .unprivileged import showing

__all__ = ["Container", "OpenVolumes", "Phase"]

OpenVolumes = Callable[[], AbstractContextManager[Sequence[OpenVolume]]]
"""Opens volumes, for the length of a block."""

Phase = Literal["running", "paused", "saving", "saved", "halted"]
"""Where a container is: ``saved`` is one that lies in a checkpoint and has no process, ``halted`` one whose
processes were ended, and that is kept to be looked at."""

_SAVED: Final = "saved"
_SAVING: Final = "saved.partial"
_RESUMED: Final = "saved.old"
_LOCK: Final = "saving.lock"
_PID_FILE: Final = "pid"
_LOCK_SECONDS: Final = 60.0
# What a checkpoint takes beside the sandbox's memory.
_STATE_BYTES: Final = 16 * 1024 * 1024


class Container:
    """A container and what it holds on this host.

    Args:
        runsc: The program that runs it.
        directory: Its directory, which is its bundle.
        group: Its cgroup.
        lower: Where its image is.
        volumes: Opens the volumes that it has.
        owner: The user of this host that it sees as root.

    Attributes:
        runsc: The program that runs it.
        phase: Where it is.
        end: The end of gVisor's kernel; None while there is no process.
    """

    def __init__(
        self,
        runsc: Runsc,
        directory: Path,
        group: CgroupV1 | CgroupV2,
        lower: str,
        volumes: OpenVolumes,
        owner: int,
    ) -> None:
        self.runsc = runsc
        self.directory = directory
        self.group = group
        self.phase: Phase = "running"
        self.end: ProcessEnd | None = None
        self.last_pids = 0
        self._lower = lower
        self._volumes = volumes
        self._owner = owner
        self._pipes = AgentPipes(directory)
        self._noted = asyncio.Event()

    @property
    def id(self) -> str:
        """Its ID, for runsc as for everybody."""
        return self.directory.name

    # Its start

    async def start(self) -> None:
        """Start the agent."""
        await self._launch("run")
        self._enter("running")

    async def restore(self, checkpoint: Path) -> None:
        """Start from a checkpoint: with the processes, their memory and the files of that moment."""
        await self._launch("restore", f"--image-path={checkpoint}")
        self._enter("running")

    async def _launch(self, verb: str, *options: str) -> None:
        pid_file = self.directory / _PID_FILE
        with adopting_orphans(), self._pipes.made() as stream, self._volumes() as volumes:
            await self.runsc.run(
                verb,
                "--detach",
                f"--bundle={self.directory}",
                f"--pid-file={pid_file}",
                *options,
                self.id,
                prefix=[
                    *mounting_volumes(self.directory, volumes, self._owner),
                    *mounting_root(self.directory, self._lower),
                    *joining(self.group.join_files),
                    *knowing_its_memory(self.directory),
                    *showing(self.directory),
                ],
                stream=stream,
                held=[volume.descriptor for volume in volumes],
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

    async def attach(self, *, halted: bool) -> bool:
        """Go on with a container that another orchestrator has started; tell whether it can be.

        What was being saved when that one was killed is waited for.

        Args:
            halted: Whether it was to be halted.
        """
        await asyncio.to_thread(self._await_saving)
        await asyncio.to_thread(remove_tree, self.directory / _RESUMED)
        if halted or (self.directory / _SAVED).is_dir():
            self.phase = "halted" if halted else "saved"
            await self._end_processes()
            return True
        try:
            status = json.loads(await self.runsc.run("state", self.id))
            if status["status"] not in ("running", "paused") or status["pid"] not in self.group.processes:
                return False
            self.end = ProcessEnd(status["pid"])
        except (RunscError, ValueError, KeyError, ProcessLookupError):
            return False
        self._enter(status["status"])
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
        self._enter("paused")

    async def resume(self) -> None:
        """Let every process run on; from its checkpoint, where it lies in one. Idempotent."""
        if self.phase == "saved":
            await self._resume_saved()
        elif self.phase == "paused":
            await self.runsc.run("resume", self.id)
            self._enter("running")

    async def _resume_saved(self) -> None:
        saved = self.directory / _SAVED
        try:
            await self.restore(saved)
        except BaseException:
            await self._end_processes()
            raise
        # Its memory is another one from now on.
        resumed = saved.rename(self.directory / _RESUMED)
        await asyncio.to_thread(remove_tree, resumed)

    async def save(self) -> Path:
        """Write a paused container into a checkpoint, and return its directory. No process is left.

        Raises:
            UnavailableError: The disk may not have the room.
        """
        saved = self.directory / _SAVED
        if self.phase == "saved":
            return saved
        self._require_room()
        await self.processes()
        saving = self.directory / _SAVING
        remove_tree(saving)
        saving.mkdir(mode=0o700)
        previous = self.phase
        self._enter("saving")
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
                self._enter(previous)
                remove_tree(saving)
                raise
            await self._settle_saved()
            raise
        await self._settle_saved()
        return saved

    def _require_room(self) -> None:
        """Refuse a checkpoint that the disk may not have the room for: gVisor ends with one that fails."""
        needed = self.usage().memory_bytes + _STATE_BYTES
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise UnavailableError(
                f"no space left on device: the sandbox takes up to {needed} bytes there, and {free} are left"
            )

    async def _settle_saved(self) -> None:
        self._enter("saved")
        await self._end_processes()

    async def processes(self) -> int:
        """Return how many processes there are in it."""
        if self.phase not in ("saving", "saved"):
            try:
                answer = json.loads(await self.runsc.run("events", "--stats", self.id))
                self.last_pids = int(answer["data"]["pids"]["current"])
            except (RunscError, ValueError, KeyError, TypeError) as error:
                raise InternalServerError(f"gVisor does not tell its figures: {error}") from error
        return self.last_pids

    def usage(self) -> Usage:
        """Read from its cgroup what it uses, gVisor's kernel included."""
        return self.group.usage()

    # Its end

    def let_go(self) -> None:
        """Leave it to the next orchestrator."""
        if self.end is not None:
            self.end.close()

    async def halt(self) -> None:
        """End every process, in whatever state it is, and keep its directory."""
        self._enter("halted")
        await self._end_processes()

    async def destroy(self) -> None:
        """End it and remove all that it held, in whatever state it is."""
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

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._noted.set()

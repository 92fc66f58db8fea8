"""The service core: one method an operation, the same for both front doors.

It keeps the state machine of `registry.State` and leaves the running to the runtimes. Operations that
change the state of one sandbox (stop, snapshot, pause, resume) happen one after the other; commands run
at the same time. What a caller that goes away has begun is completed or undone, never left half-made.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ...errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    UnavailableError,
)
from ...models import (
    ForkRequest,
    ForkResult,
    PauseRequest,
    PauseResult,
    ResumeRequest,
    ResumeResult,
    StartRequest,
    StartResult,
    StatusRequest,
    StatusResult,
    StopRequest,
    StopResult,
)
from ..cancellation import completed, is_being_cancelled
from ..network.judge import Operator
from ..runtimes.base import Runtime, unwritten
from ..snapshots.manifest import Manifest
from ..snapshots.store import Snapshots
from ..state.database import Database
from ..volumes.named import NamedVolumes
from . import rows
from .admission import Admission
from .adoption import unless_ended
from .base import end_guest, pause, retrieve, settle, thaw
from .expiry import Expiry
from .files import FileOperations
from .forks import all_started, copy_of
from .metrics import MetricsOperations
from .port_links import PortLinks
from .ports import PortOperations
from .programs import ProcessOperations
from .sandboxes import Sandbox, State
from .snapshots import SnapshotOperations
from .volumes import VolumeOperations
from .warm import WarmPool, WarmPools

__all__ = ["KEEP_ENDED_SECONDS", "SandboxService"]

KEEP_ENDED_SECONDS: Final = 3600.0
"""For how long is told of a sandbox that has ended, unless the operator says otherwise."""

_NO_LIMITS: Final = Admission()
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}", re.ASCII)


@dataclass(slots=True, eq=False)
class _Start:
    """A start under way, and how many callers wait for it (those that share its idempotency key)."""

    task: asyncio.Task[None]
    waiters: int = 0


class SandboxService(
    ProcessOperations,
    FileOperations,
    PortOperations,
    SnapshotOperations,
    VolumeOperations,
    MetricsOperations,
):
    """Start, use and stop sandboxes.

    Every method raises only `flash_sandbox.errors.SandboxError` for what a caller can cause.

    Args:
        runtimes: What runs sandboxes, by the `type` of a start.
        snapshots: The snapshots that there are, not opened yet; the runtimes share them.
        admission: What the operator lets every start have.
        database: What outlives this orchestrator; None for nothing.
        keep_ended: Seconds for which is told of a sandbox that has ended.
        log: Writes a line of the log: a name, and fields by name.
        warm: How many sandboxes are kept ready, by what `WarmPool.parse` takes.
        links: Makes and reads the URLs of ports; None for those below ``localhost``.
        operator: What the operator says of networks; None for the public Internet alone.
        volumes: The volumes that have names, not opened yet; None for a place beside the snapshots.
    """

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        snapshots: Snapshots,
        admission: Admission = _NO_LIMITS,
        database: Database | None = None,
        keep_ended: float = KEEP_ENDED_SECONDS,
        log: Callable[..., None] = unwritten,
        warm: Mapping[str, int] = MappingProxyType({}),
        links: PortLinks | None = None,
        operator: Operator | None = None,
        volumes: NamedVolumes | None = None,
    ) -> None:
        super().__init__(snapshots, admission, database or Database(), keep_ended, log, operator)
        self.links = links or PortLinks()
        self.volumes = volumes or NamedVolumes(snapshots.files.directory.parent / "volumes", self.database)
        self._runtimes = dict(runtimes)
        self._starts: dict[str, _Start] = {}
        self._expiry = Expiry(self.registry, self._attend, self._sweep, log)
        self.warm = WarmPools(
            [WarmPool.parse(name, size) for name, size in warm.items()],
            self._make_warm,
            self._end_warm,
            is_busy=lambda: bool(self._starts),
            room=lambda: admission.room(len(self.registry)),
            log=log,
        )
        self._adopting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Make every runtime ready and go on with the sandboxes that outlived the orchestrator before.

        Where a runtime refuses, those that were opened are closed, and its error is raised.
        """
        await self.volumes.open()
        await self.snapshots.open()
        for path, why in self.snapshots.unreadable.items():
            self._log("snapshot not usable", path=str(path), detail=why)
        self._read_kept()
        opened: list[Runtime] = []
        try:
            for runtime in self._runtimes.values():
                await self._open(runtime)
                opened.append(runtime)
        except BaseException:
            for runtime in reversed(opened):
                await runtime.close(end_sandboxes=False)
            raise
        for runtime in opened:
            if not await self._adopt(runtime):
                self._adopting.add(asyncio.create_task(self._adopt_later(runtime)))
        self._expiry.open()
        self._sampling = asyncio.create_task(self._sample_for_ever())
        self.warm.open()

    async def close(self, *, end_sandboxes: bool = True) -> None:
        """Complete what is under way, and close the runtimes. Twice does no more.

        Without `end_sandboxes`, those that outlive an orchestrator are left to the next one.
        """
        if self._closed:
            return
        self._closed = True
        self.events.close()
        for start in self._starts.values():
            start.task.cancel()
        await settle({start.task for start in self._starts.values()})
        background = {*self._adopting, *([self._sampling] if self._sampling is not None else [])}
        for task in background:
            task.cancel()
        await settle(background)
        await self.warm.close()
        await self._expiry.close()
        await settle(self._background)

        async def end(sandbox: Sandbox) -> None:
            if end_sandboxes or not sandbox.runtime.capabilities.outlives:
                async with self._room_for_ends:
                    await self._stop(sandbox, "shutdown")
            else:
                await self._let_go(sandbox)

        outcomes = await asyncio.gather(*map(end, self.registry), return_exceptions=True)
        closing = (runtime.close(end_sandboxes=end_sandboxes) for runtime in self._runtimes.values())
        outcomes += await asyncio.gather(*closing, return_exceptions=True)
        # What an engine that is away still holds, it is made to remove when an orchestrator finds it again.
        failures = [
            outcome
            for outcome in outcomes
            if isinstance(outcome, BaseException) and not isinstance(outcome, UnavailableError)
        ]
        if failures:
            raise BaseExceptionGroup("not everything could be closed", failures)

    async def start_sandbox(self, request: StartRequest, idempotency_key: str = "") -> StartResult:
        """Start a sandbox and return its ID once its main process runs.

        A start that carries the idempotency key of a sandbox that is still there answers with that
        sandbox's ID; AlreadyExistsError where the two ask for different things. Cancelling undoes the start
        unless another caller with the same key waits for it.
        """
        return await self._start_from(request, None, idempotency_key)

    async def _start_from(
        self, request: StartRequest, snapshot: Manifest | None, idempotency_key: str = ""
    ) -> StartResult:
        """Start a sandbox, from `snapshot` instead of what the request names if there is one."""
        if self._closed:
            raise UnavailableError("the orchestrator is shutting down")
        if idempotency_key and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidArgumentError("the idempotency key must be 1 to 255 visible ASCII characters")
        sandbox = self.registry.with_key(idempotency_key)
        if sandbox is None:
            if request.snapshot_path and not snapshot:
                snapshot = self.snapshots.get(request.snapshot_path)
            runtime = await self._runtime_for(request, snapshot)
            request = self._admitted(request, runtime, snapshot.start if snapshot else None)
            # Another start with this key may have begun while the host was being looked at.
            sandbox = self.registry.with_key(idempotency_key)
        if sandbox is None:
            self._admission.require_ttl(request.ttl_seconds)
            self.registry.require_free(request.name)
            self.database.require_room()
            # Nothing is waited for until it is registered: so starts at the same time are counted, too.
            self._admission.require_room(len(self.registry))
            sandbox = self.warm.take(runtime, request) or Sandbox(runtime, request, self.events)
            sandbox.request, sandbox.idempotency_key = request, idempotency_key
            sandbox.created_at, sandbox.snapshot = time.time(), snapshot
            self.registry.add(sandbox)
            self.warm.make_room()
            sandbox.tell("created", "", rows.added(sandbox))
            task = asyncio.create_task(self._start(sandbox))
            task.add_done_callback(retrieve)
            self._starts[sandbox.id] = _Start(task)
        elif sandbox.request != self._filled_in(request, sandbox.runtime, sandbox.request):
            raise AlreadyExistsError(
                "the idempotency key was used to start another sandbox with a different request",
            )
        await self._started(sandbox)
        return StartResult(sandbox.id)

    async def stop_sandbox(self, request: StopRequest) -> StopResult:
        """End every process of a sandbox and remove what it held. Its ID is unknown afterwards.

        With `skip_cleanup` what it holds is kept until it is stopped again, or expires.
        """
        if request.skip_cleanup:
            await self._complete(self._halt(request.id))
        else:
            await self._complete(self._stop(self.registry.get(request.id)))
        return StopResult()

    async def get_status(self, request: StatusRequest) -> StatusResult:
        """Tell the state of a sandbox."""
        sandbox = self.registry.get(request.id)
        return StatusResult(sandbox.id, sandbox.status)

    async def fork_sandbox(self, request: ForkRequest) -> ForkResult:
        """Start copies of a sandbox, all or none. It runs, or is paused, as before."""
        async with AsyncExitStack() as stack:
            async with self._locked(request.id) as sandbox:
                ran = sandbox.state is State.RUNNING
                async with self._frozen(sandbox):
                    saved = await sandbox.runtime.snapshot(sandbox.id, sandbox.request, for_forks=True)
                await stack.enter_async_context(self.snapshots.holding(saved, self._drop_snapshot))
                if ran:
                    await self._complete(thaw(sandbox))
            copy = copy_of(sandbox, saved)
            starts = [asyncio.create_task(self._start_from(copy, saved)) for _ in range(request.count)]
            ids = await all_started(starts, lambda sandbox_id: self._stop(self.registry.get(sandbox_id)))
            return ForkResult(ids)

    async def pause_sandbox(self, request: PauseRequest) -> PauseResult:
        """Freeze every process of a running sandbox."""
        await self._complete(self._pause(request.id))
        return PauseResult()

    async def resume_sandbox(self, request: ResumeRequest) -> ResumeResult:
        """Let a paused sandbox run on."""
        await self._complete(self._resume(request.id))
        return ResumeResult()

    async def _start(self, sandbox: Sandbox) -> None:
        async with sandbox.lock:
            try:
                await self._launch(sandbox)
            except BaseException as error:
                sandbox.state = State.ERROR
                self.registry.remove(sandbox)
                sandbox.tell("failed", str(error) or "it was given up", rows.removed(sandbox.id))
                raise
            finally:
                self._starts.pop(sandbox.id, None)
            sandbox.state = State.RUNNING
            if sandbox.guest.main_exit.done():
                self._note_end(sandbox, sandbox.guest)
            sandbox.watcher = asyncio.create_task(self._watch(sandbox, sandbox.guest))
            await sandbox.told("running", "", rows.started(sandbox))

    async def _launch(self, sandbox: Sandbox) -> None:
        """Start what a sandbox is to run; its time begins once that runs."""
        if not await self._is_warm(sandbox):
            await self._create(sandbox)
        try:
            await unless_ended(sandbox, _begin(sandbox))
            self._give_time(sandbox)
            if sandbox.runtime.capabilities.outlives:
                # From here on the next orchestrator goes on with it.
                await self.database.write(rows.started(sandbox))
        except BaseException:
            await completed(self._end_created(sandbox))
            raise

    async def _started(self, sandbox: Sandbox) -> None:
        start = self._starts.get(sandbox.id)
        if start is None:
            return
        start.waiters += 1
        try:
            await asyncio.shield(start.task)
        except asyncio.CancelledError:
            if not is_being_cancelled():
                raise UnavailableError("the orchestrator is shutting down") from None
            if start.waiters == 1:
                await self._complete(self._undo(sandbox, start))
            raise
        finally:
            start.waiters -= 1

    async def _undo(self, sandbox: Sandbox, start: _Start) -> None:
        """Take back a start that nobody waits for any more, also where it is just being completed."""
        self.registry.forget_key(sandbox)
        start.task.cancel()
        await settle({start.task})
        if sandbox in self.registry:
            await self._stop(sandbox)

    async def _halt(self, sandbox_id: str) -> None:
        """End every process of a sandbox, and keep what it holds."""
        async with self._locked(sandbox_id) as sandbox:
            sandbox.require(State.RUNNING, State.PAUSED, State.STOPPED)
            if sandbox.state is State.STOPPED:
                return
            sandbox.state = State.STOPPED
            sandbox.end("stopped")
            if sandbox.watcher is not None:
                sandbox.watcher.cancel()
            try:
                await self._end_processes(sandbox)
            except BaseException as error:
                sandbox.state = State.ERROR
                sandbox.tell("failed", f"it could not be stopped: {error}")
                raise
            await sandbox.told("stopped", "its processes were ended")

    async def _let_go(self, sandbox: Sandbox) -> None:
        """Leave a sandbox, with all that runs in it, to the next orchestrator."""
        if sandbox.watcher is not None:
            sandbox.watcher.cancel()
        await end_guest(sandbox)
        # Use has renewed its time since that was noted.
        await self._note(sandbox, rows.changed(sandbox))

    async def _pause(self, sandbox_id: str) -> None:
        async with self._locked(sandbox_id) as sandbox:
            sandbox.require(State.RUNNING)
            await pause(sandbox)

    async def _resume(self, sandbox_id: str) -> None:
        async with self._locked(sandbox_id) as sandbox:
            sandbox.require(State.PAUSED)
            await thaw(sandbox)


async def _begin(sandbox: Sandbox) -> None:
    """Start the main process of a sandbox whose agent is connected."""
    guest, created = sandbox.guest, sandbox.created
    assert created is not None
    if guest.has_main:
        # A snapshot holds it, and it goes on.
        return
    if created.command:
        await guest.start_main(created.command)
    elif created.defaults.user:
        await guest.require_user()

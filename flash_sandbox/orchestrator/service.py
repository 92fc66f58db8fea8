"""The service core: one method an operation, the same for both front doors.

It keeps the state machine of `registry.State` and leaves the running to the runtimes. Operations that
change the state of one sandbox (stop, snapshot, resume) happen one after the other; commands run at the
same time. What a caller that goes away has begun is completed or undone, never left half-made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, TypeVar

from ..errors import (
    ConflictError,
    InvalidArgumentError,
    Reason,
    RuntimeUnavailableError,
    SandboxError,
    SandboxNotFoundError,
    UnavailableError,
    UnsupportedError,
)
from ..models import (
    ExecRequest,
    ExecResult,
    ListSnapshotsRequest,
    ListSnapshotsResult,
    MetricsRequest,
    MetricsResult,
    RemoveSnapshotRequest,
    RemoveSnapshotResult,
    ResumeRequest,
    ResumeResult,
    SnapshotRequest,
    SnapshotResult,
    StartRequest,
    StartResult,
    StatusRequest,
    StatusResult,
    StopRequest,
    StopResult,
)
from .registry import Registry, Sandbox, State
from .runtimes import AUTO_ORDER, HONOURED_OPTIONS, NETWORKS, OPTIONS
from .runtimes.base import Adopted, Register, Runtime

__all__ = ["SandboxService"]

_Result = TypeVar("_Result")

_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
# Ending a sandbox is mostly waiting for the kernel; more at once only makes each of them slower.
_STOPS_AT_ONCE: Final = 16


@dataclass(slots=True, eq=False)
class _Start:
    """A start under way, and how many callers wait for it (those that share its idempotency key)."""

    task: asyncio.Task[None]
    waiters: int = 0


class SandboxService:
    """Start, use and stop sandboxes.

    Every method raises only `flash_sandbox.errors.SandboxError` for what a caller can cause.

    Args:
        runtimes: What runs sandboxes, by the `type` of a start.
        default_network: The network of a sandbox whose start names none.
    """

    def __init__(self, runtimes: Mapping[str, Runtime], default_network: str = "none") -> None:
        self._default_network = default_network
        self.registry = Registry()
        self._runtimes = dict(runtimes)
        self._auto: Runtime | None = None
        self._starts: dict[str, _Start] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def open(self) -> None:
        """Make every runtime ready and go on with the sandboxes that outlived the orchestrator before.

        Where a runtime refuses, those that were opened are closed, and its error is raised.
        """
        opened: list[Runtime] = []
        try:
            for runtime in self._runtimes.values():
                await runtime.open()
                opened.append(runtime)
        except BaseException:
            for runtime in reversed(opened):
                await runtime.close()
            raise
        for runtime in opened:
            await runtime.adopt(self._registering(runtime))

    def _registering(self, runtime: Runtime) -> Register:
        def register(adopted: Adopted) -> Callable[[int], None]:
            sandbox = Sandbox(
                runtime,
                adopted.request,
                adopted.idempotency_key,
                id=adopted.id,
                state=State(adopted.state),
                image=adopted.image,
            )
            self.registry.add(sandbox)
            return sandbox.main_process_ended

        return register

    async def close(self) -> None:
        """Stop every sandbox, complete what is under way, close the runtimes. Twice does no more."""
        if self._closed:
            return
        self._closed = True
        for start in self._starts.values():
            start.task.cancel()
        await _settle({start.task for start in self._starts.values()})
        await _settle(self._background)
        limit = asyncio.Semaphore(_STOPS_AT_ONCE)

        async def stop(sandbox: Sandbox) -> None:
            async with limit:
                await self._stop(sandbox)

        outcomes = await asyncio.gather(*map(stop, self.registry), return_exceptions=True)
        closing = (runtime.close() for runtime in self._runtimes.values())
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
        sandbox's ID; ConflictError where the two ask for different things. Cancelling undoes the start
        unless another caller with the same key waits for it.
        """
        if self._closed:
            raise UnavailableError("the orchestrator is shutting down")
        if idempotency_key and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidArgumentError("the idempotency key must be 1 to 255 visible ASCII characters")
        request = replace(request, network=request.network or self._default_network)
        sandbox = self.registry.with_key(idempotency_key)
        if sandbox is None:
            runtime = await self._runtime_for(request)
            # Another start with this key may have begun while the host was being looked at.
            sandbox = self.registry.with_key(idempotency_key)
        if sandbox is None:
            sandbox = Sandbox(runtime, request, idempotency_key)
            self.registry.add(sandbox)
            task = asyncio.create_task(self._start(sandbox))
            task.add_done_callback(_retrieve)
            self._starts[sandbox.id] = _Start(task)
        elif sandbox.request != request:
            raise ConflictError(
                "the idempotency key was used to start another sandbox with a different request",
                reason=Reason.ALREADY_EXISTS,
            )
        await self._started(sandbox)
        return StartResult(sandbox.id)

    async def stop_sandbox(self, request: StopRequest) -> StopResult:
        """End every process of a sandbox and remove what it held. Its ID is unknown afterwards."""
        await self._complete(self._stop(self.registry.get(request.id)))
        return StopResult()

    async def exec_command(self, request: ExecRequest) -> ExecResult:
        """Run a command in a running sandbox. Cancelling ends the command."""
        sandbox = self.registry.get(request.id)
        sandbox.require(State.RUNNING)
        task = asyncio.create_task(self._exec(sandbox, request.command))
        sandbox.execs.add(task)
        task.add_done_callback(sandbox.execs.discard)
        try:
            return await task
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            raise _interrupted(sandbox) from None

    async def get_status(self, request: StatusRequest) -> StatusResult:
        """Tell the state of a sandbox."""
        sandbox = self.registry.get(request.id)
        return StatusResult(sandbox.id, sandbox.state)

    async def get_metrics(self, request: MetricsRequest) -> MetricsResult:
        """Read what a running or paused sandbox uses now."""
        sandbox = self.registry.get(request.id)
        sandbox.require(State.RUNNING, State.PAUSED)
        try:
            return await sandbox.runtime.metrics(sandbox.id)
        except Exception:
            # What a sandbox that has ended in the meantime leaves to read is no failure of the reading.
            self.registry.get(request.id).require(State.RUNNING, State.PAUSED)
            raise

    async def snapshot_sandbox(self, request: SnapshotRequest) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to the store.

        It stays paused. Where the snapshot fails or is cancelled, a sandbox that ran runs on.
        """
        async with self._locked(request.id) as sandbox:
            sandbox.require(State.RUNNING, State.PAUSED)
            ran = sandbox.state is State.RUNNING
            try:
                if ran:
                    await sandbox.runtime.pause(sandbox.id)
                    sandbox.require(State.RUNNING)
                    sandbox.state = State.PAUSED
                return await sandbox.runtime.snapshot(sandbox.id)
            except BaseException:
                if ran and sandbox.state in (State.RUNNING, State.PAUSED):
                    await self._complete(_thaw(sandbox))
                raise

    async def resume_sandbox(self, request: ResumeRequest) -> ResumeResult:
        """Let a paused sandbox run on."""
        await self._complete(self._resume(request.id))
        return ResumeResult()

    async def list_snapshots(self, request: ListSnapshotsRequest) -> ListSnapshotsResult:
        """Tell what is known of each snapshot of every runtime, the oldest first."""
        lists = await asyncio.gather(*(runtime.list_snapshots() for runtime in self._runtimes.values()))
        found = sorted(chain(*lists), key=lambda info: (info.created_at, info.snapshot_path))
        return ListSnapshotsResult(tuple(found))

    async def remove_snapshot(self, request: RemoveSnapshotRequest) -> RemoveSnapshotResult:
        """Remove a snapshot of whichever runtime. What was started from it goes on."""
        for runtime in self._runtimes.values():
            if await self._complete(runtime.remove_snapshot(request.snapshot_path)):
                return RemoveSnapshotResult()
        raise InvalidArgumentError(
            f"{request.snapshot_path!r} is not a snapshot in this orchestrator's store",
            reason=Reason.SNAPSHOT_REFUSED,
        )

    async def _runtime_for(self, request: StartRequest) -> Runtime:
        wanted = {option for option in OPTIONS if getattr(request, option)}
        if request.type in ("", "auto"):
            runtime = await self._best_runtime()
        elif request.type in self._runtimes:
            runtime = self._runtimes[request.type]
        else:
            known = ", ".join(["auto", *sorted(self._runtimes)])
            raise InvalidArgumentError(
                f"unknown runtime {request.type[:100]!r}; known are {known}", reason=Reason.UNKNOWN_RUNTIME
            )
        refused = sorted(wanted - HONOURED_OPTIONS.get(runtime.name, frozenset()))
        if refused:
            raise UnsupportedError(f"the {runtime.name} runtime has no use for {', '.join(refused)}")
        if request.network not in NETWORKS.get(runtime.name, frozenset()):
            raise UnsupportedError(f"the {runtime.name} runtime cannot give a {request.network} network")
        return runtime

    async def _best_runtime(self) -> Runtime:
        if self._auto is not None:
            return self._auto
        missing = []
        for name in AUTO_ORDER:
            if name not in self._runtimes:
                continue
            availability = await self._runtimes[name].check()
            if availability.available:
                self._auto = self._runtimes[name]
                return self._auto
            missing.append(f"{name}: {availability.detail}")
        raise RuntimeUnavailableError("this host has no runtime; " + "; ".join(missing))

    async def _start(self, sandbox: Sandbox) -> None:
        async with sandbox.lock:
            try:
                started = await sandbox.runtime.start(
                    sandbox.id,
                    sandbox.request,
                    sandbox.main_process_ended,
                    idempotency_key=sandbox.idempotency_key,
                )
            except BaseException:
                sandbox.state = State.ERROR
                self.registry.remove(sandbox)
                raise
            finally:
                self._starts.pop(sandbox.id, None)
            sandbox.image = started.image
            sandbox.state = State.RUNNING if sandbox.exit_code is None else State.STOPPED

    async def _started(self, sandbox: Sandbox) -> None:
        start = self._starts.get(sandbox.id)
        if start is None:
            return
        start.waiters += 1
        try:
            await asyncio.shield(start.task)
        except asyncio.CancelledError:
            if not _is_being_cancelled():
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
        await _settle({start.task})
        if sandbox in self.registry:
            await self._stop(sandbox)

    async def _stop(self, sandbox: Sandbox) -> None:
        async with sandbox.lock:
            if sandbox not in self.registry:
                raise SandboxNotFoundError(f"there is no sandbox {sandbox.id}")
            sandbox.state = State.STOPPED
            try:
                await sandbox.runtime.stop(sandbox.id)
            except BaseException:
                # Still known, so that it can be stopped again.
                sandbox.state = State.ERROR
                raise
            self.registry.remove(sandbox)
        for task in sandbox.execs:
            task.cancel()
        await _settle(sandbox.execs)

    async def _exec(self, sandbox: Sandbox, command: tuple[str, ...]) -> ExecResult:
        try:
            result = await sandbox.runtime.exec(sandbox.id, command)
        except SandboxError:
            if sandbox.state in (State.STOPPED, State.ERROR):
                raise _interrupted(sandbox) from None
            raise
        if sandbox.state in (State.STOPPED, State.ERROR):
            raise _interrupted(sandbox)
        return result

    async def _resume(self, sandbox_id: str) -> None:
        async with self._locked(sandbox_id) as sandbox:
            sandbox.require(State.PAUSED)
            await _thaw(sandbox)

    @asynccontextmanager
    async def _locked(self, sandbox_id: str) -> AsyncIterator[Sandbox]:
        sandbox = self.registry.get(sandbox_id)
        async with sandbox.lock:
            # It may have been stopped while this waited.
            yield self.registry.get(sandbox_id)

    async def _complete(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` to its end, also where the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_retrieve)
        return await asyncio.shield(task)


async def _thaw(sandbox: Sandbox) -> None:
    await sandbox.runtime.resume(sandbox.id)
    if sandbox.state is State.PAUSED:
        sandbox.state = State.RUNNING


async def _settle(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until `tasks` have ended, however they do."""
    if tasks:
        await asyncio.wait(tuple(tasks))


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of the error of a task whose caller may have gone away: asyncio complains otherwise."""
    if not task.cancelled():
        task.exception()


def _is_being_cancelled() -> bool:
    """Tell whether the current task was cancelled, rather than what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _interrupted(sandbox: Sandbox) -> ConflictError:
    return ConflictError(f"sandbox {sandbox.id} was stopped while the command ran")

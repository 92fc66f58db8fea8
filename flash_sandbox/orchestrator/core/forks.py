"""Copies of a sandbox: one snapshot, from which all of them start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, cast

from ...errors import SandboxError
from ...models import (
    ForkResult,
    RemoveSnapshotRequest,
    RemoveSnapshotResult,
    ResumeRequest,
    ResumeResult,
    SnapshotRequest,
    SnapshotResult,
    StartRequest,
    StartResult,
    StartType,
    StopRequest,
    StopResult,
)
from ..cancellation import completed
from .sandboxes import Sandbox, State

__all__ = ["fork"]


class _Service(Protocol):
    async def start_sandbox(self, request: StartRequest) -> StartResult: ...
    async def stop_sandbox(self, request: StopRequest) -> StopResult: ...
    async def snapshot_sandbox(self, request: SnapshotRequest) -> SnapshotResult: ...
    async def resume_sandbox(self, request: ResumeRequest) -> ResumeResult: ...
    async def remove_snapshot(self, request: RemoveSnapshotRequest) -> RemoveSnapshotResult: ...


async def fork(service: _Service, sandbox: Sandbox, count: int) -> ForkResult:
    """Start so many copies of a sandbox and return once all of them run.

    The sandbox itself runs, or is paused, as before. Where a copy cannot be started, or this is cancelled,
    none is left.
    """
    ran = sandbox.state is State.RUNNING
    saved = await service.snapshot_sandbox(SnapshotRequest(sandbox.id))
    try:
        # A call may have resumed it, if its start has asked for that.
        if ran and sandbox.state is State.PAUSED:
            await service.resume_sandbox(ResumeRequest(sandbox.id))
        copy = replace(
            sandbox.request,
            type=cast(StartType, sandbox.runtime.name),
            name="",
            snapshot_path=saved.snapshot_path,
            mem_file_path=saved.mem_file_path,
        )
        if sandbox.runtime.capabilities.snapshots_agent:
            # The copies go on with the processes that there are.
            copy = replace(copy, command=(), image_command=False)
        return await _start_all(service, copy, count)
    finally:
        await completed(service.remove_snapshot(RemoveSnapshotRequest(saved.snapshot_path)))


async def _start_all(service: _Service, request: StartRequest, count: int) -> ForkResult:
    starts = [asyncio.create_task(service.start_sandbox(request)) for _ in range(count)]
    try:
        return ForkResult(tuple([(await start).id for start in starts]))
    except BaseException:
        for start in starts:
            start.cancel()
        await completed(_undo(service, starts))
        raise


async def _undo(service: _Service, starts: Sequence[asyncio.Task[StartResult]]) -> None:
    for outcome in await asyncio.gather(*starts, return_exceptions=True):
        if isinstance(outcome, StartResult):
            with suppress(SandboxError):
                await service.stop_sandbox(StopRequest(outcome.id))

"""The service core's operations on snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace

from ...models import (
    ExportSnapshotChunk,
    ExportSnapshotRequest,
    ImportSnapshotRequest,
    ListSnapshotsRequest,
    ListSnapshotsResult,
    RemoveSnapshotRequest,
    RemoveSnapshotResult,
    SnapshotInfo,
    SnapshotRequest,
    SnapshotResult,
)
from ..cancellation import completed
from ..runtimes.base import Runtime
from ..snapshots.manifest import Manifest, refused
from .base import disk_errors, freeze, thaw
from .creation import CreationOperations
from .held_back import held_back
from .sandboxes import Sandbox, State

__all__ = ["SnapshotOperations"]


class SnapshotOperations(CreationOperations):
    """Make, list, remove, export and import snapshots; a part of `SandboxService`."""

    async def snapshot_sandbox(self, request: SnapshotRequest) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to the store.

        It stays paused. Where the snapshot fails or is cancelled, a sandbox that ran runs on.
        """
        with self.snapshots.reserved(request.name):
            async with self._locked(request.id) as sandbox, self._frozen(sandbox):
                made = await sandbox.runtime.snapshot(sandbox.id, sandbox.request)
                made = replace(made, name=request.name, labels=request.labels)
                await self._add_snapshot(made)
        return SnapshotResult(
            snapshot_path=str(made.path),
            id=made.id,
            name=made.name,
            labels=made.labels,
            size_bytes=made.size,
        )

    async def list_snapshots(self, request: ListSnapshotsRequest) -> ListSnapshotsResult:
        """Tell what is known of each snapshot that has the labels, the oldest first."""
        listed = self.snapshots.listed(request.labels)
        return ListSnapshotsResult(tuple(snapshot.info for snapshot in listed))

    async def remove_snapshot(self, request: RemoveSnapshotRequest) -> RemoveSnapshotResult:
        """Remove a snapshot. What was started from it goes on, and so does what is being started from it."""
        snapshot = self.snapshots.get(request.snapshot_path)
        await self._complete(self.snapshots.remove(snapshot, self._drop_snapshot))
        return RemoveSnapshotResult()

    async def export_snapshot(self, request: ExportSnapshotRequest) -> AsyncGenerator[ExportSnapshotChunk]:
        """Tell a snapshot as one file. It stays for as long."""
        snapshot = self.snapshots.get(request.snapshot_path)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.snapshots.using(snapshot))
            whole = await stack.enter_async_context(self._maker_of(snapshot.runtime).exporting(snapshot))
            pieces = await stack.enter_async_context(aclosing(self.snapshots.files.exported(whole)))
            async for data in await stack.enter_async_context(aclosing(held_back(pieces))):
                yield ExportSnapshotChunk(data)

    async def import_snapshot(
        self, request: ImportSnapshotRequest, chunks: AsyncIterator[bytes]
    ) -> SnapshotInfo:
        """Add a snapshot that comes as one file; nothing of it remains where that is damaged."""
        with self.snapshots.reserved(request.name):
            made = await self.snapshots.files.imported(chunks, lambda head: self._maker_of(head.runtime))
            try:
                made = await self._maker_of(made.runtime).import_snapshot(made)
            except BaseException:
                await completed(asyncio.to_thread(self.snapshots.files.remove, made))
                raise
            made = replace(made, name=request.name)
            await self._add_snapshot(made)
        return made.info

    def _maker_of(self, runtime: str) -> Runtime:
        """Return the runtime that has made a snapshot."""
        if runtime not in self._runtimes:
            raise refused(f"the snapshot is of the runtime {runtime[:100]!r}, which is not known here")
        return self._runtimes[runtime]

    async def _add_snapshot(self, snapshot: Manifest) -> None:
        """Add a snapshot that was made; remove all of it where that fails or is cancelled."""
        try:
            await completed(self.snapshots.add(snapshot))
        except BaseException:
            await completed(self._give_up_snapshot(snapshot))
            raise

    async def _give_up_snapshot(self, snapshot: Manifest) -> None:
        if snapshot in self.snapshots.listed():
            await self.snapshots.remove(snapshot, self._drop_snapshot)
        else:
            await self._drop_snapshot(snapshot)

    async def _drop_snapshot(self, snapshot: Manifest) -> None:
        """Remove what is kept of a snapshot that nobody uses any more."""
        try:
            if snapshot.runtime in self._runtimes:
                await self._runtimes[snapshot.runtime].forget_snapshot(snapshot)
        finally:
            await asyncio.to_thread(self.snapshots.files.remove, snapshot)

    @asynccontextmanager
    async def _frozen(self, sandbox: Sandbox) -> AsyncIterator[None]:
        """Freeze a sandbox, whose lock is held; where the block fails, one that ran runs on."""
        sandbox.require(State.RUNNING, State.PAUSED)
        ran = sandbox.state is State.RUNNING
        try:
            with disk_errors():
                if ran:
                    await freeze(sandbox)
                yield
        except BaseException:
            if ran and sandbox.state in (State.RUNNING, State.PAUSED):
                await self._complete(thaw(sandbox))
            raise

"""The service core's operations on snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...models import (
    ListSnapshotsRequest,
    ListSnapshotsResult,
    RemoveSnapshotRequest,
    RemoveSnapshotResult,
    SnapshotRequest,
    SnapshotResult,
)
from ..cancellation import completed
from ..snapshots.manifest import Manifest
from .base import freeze, thaw
from .creation import CreationOperations
from .sandboxes import Sandbox, State

__all__ = ["SnapshotOperations"]


class SnapshotOperations(CreationOperations):
    """Make, list and remove snapshots; a part of `SandboxService`."""

    async def snapshot_sandbox(self, request: SnapshotRequest) -> SnapshotResult:
        """Freeze a sandbox and write what it holds to the store.

        It stays paused. Where the snapshot fails or is cancelled, a sandbox that ran runs on.
        """
        async with self._locked(request.id) as sandbox, self._frozen(sandbox):
            made = await sandbox.runtime.snapshot(sandbox.id, sandbox.request)
            await self._add_snapshot(made)
            return SnapshotResult(str(made.path))

    async def list_snapshots(self, request: ListSnapshotsRequest) -> ListSnapshotsResult:
        """Tell what is known of each snapshot, the oldest first."""
        return ListSnapshotsResult(tuple(snapshot.info for snapshot in self.snapshots.listed()))

    async def remove_snapshot(self, request: RemoveSnapshotRequest) -> RemoveSnapshotResult:
        """Remove a snapshot. What was started from it goes on, and so does what is being started from it."""
        snapshot = self.snapshots.get(request.snapshot_path)
        await self._complete(self.snapshots.remove(snapshot, self._drop_snapshot))
        return RemoveSnapshotResult()

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
            if ran:
                await freeze(sandbox)
            yield
        except BaseException:
            if ran and sandbox.state in (State.RUNNING, State.PAUSED):
                await self._complete(thaw(sandbox))
            raise

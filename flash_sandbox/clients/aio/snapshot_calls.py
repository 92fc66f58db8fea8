"""Calls that carry snapshots from one orchestrator to another."""

from __future__ import annotations

import os
from contextlib import aclosing

from ... import models, operations
from ...models import SnapshotInfo
from ...options import NOT_GIVEN, NotGiven
from ..disk import AsyncDisk
from .calls import given
from .operation_calls import AsyncOperationCalls

__all__ = ["AsyncSnapshotCalls"]


class AsyncSnapshotCalls(AsyncOperationCalls):
    """Export and import snapshots."""

    async def export_snapshot(
        self,
        snapshot_path: str,
        local: str | os.PathLike[str],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> str:
        """Write a snapshot to a file, which another orchestrator can import, and return the file's SHA-256.

        The file holds the files of the sandbox and its variables, so that only its owner may read it. It
        appears under its name once all of it is there.

        Args:
            snapshot_path: Snapshot to export, by its ID, its name or its path.
            local: Path of the file on this machine. A file that is there is replaced.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: It cannot be written on this machine.
            InvalidArgumentError: There is no such snapshot, or it was changed after it had been made.
            SandboxConnectionError: It broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        from ..snapshot_files import Incoming

        request = models.ExportSnapshotRequest(snapshot_path)
        incoming = await AsyncDisk.run(Incoming, local)
        try:
            async with aclosing(self._stream(operations.EXPORT_SNAPSHOT, request, timeout)) as chunks:
                async for chunk in chunks:
                    await AsyncDisk.run(incoming.write, chunk.data)
            return await AsyncDisk.run(incoming.finish)
        finally:
            await AsyncDisk.run(incoming.close)

    async def import_snapshot(
        self,
        local: str | os.PathLike[str],
        *,
        name: str | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> SnapshotInfo:
        """Add the snapshot in a file that `export_snapshot` has written, and return what is known of it.

        It has the labels that it had, and an ID of its own. Nothing of a file that is damaged remains.

        Args:
            local: Path of the file on this machine.
            name: Name that the snapshot can be found by, of the same form as an ID. None is no name.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            OSError: There is no such file on this machine, or it cannot be read.
            InvalidArgumentError: The file is damaged, or of a runtime that is not known there.
            AlreadyExistsError: A snapshot has that name.
            OutcomeUnknownError: The connection was lost; the snapshot may have been added.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        from ..snapshot_files import content_of

        request = models.ImportSnapshotRequest(**given(name=name))
        content = content_of(local)
        try:
            return await self._send(operations.IMPORT_SNAPSHOT, request, AsyncDisk.each(content), timeout)
        finally:
            await AsyncDisk.run(content.close)

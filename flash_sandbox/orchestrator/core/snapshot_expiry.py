"""Removing snapshots that are older than the operator keeps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from ...errors import InvalidArgumentError, SandboxError
from ...models import ListSnapshotsRequest, RemoveSnapshotRequest
from .service import SandboxService

__all__ = ["expiring_snapshots"]

# The clock may be set: so it is looked again also where nothing is due.
_LONGEST_PAUSE_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 10.0


@asynccontextmanager
async def expiring_snapshots(
    service: SandboxService, max_age: float | None, event: Callable[..., None]
) -> AsyncIterator[None]:
    """Remove each snapshot once it is `max_age` seconds old, for the length of the block.

    Args:
        service: Whose snapshots they are.
        max_age: Seconds that a snapshot is kept; None to keep them until they are removed.
        event: Writes a line of the log: a name, and fields by name.
    """
    if max_age is None:
        yield
        return
    sweeping = asyncio.create_task(_sweep_for_ever(service, max_age, event))
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.wait({sweeping})


async def _sweep_for_ever(service: SandboxService, max_age: float, event: Callable[..., None]) -> None:
    while True:
        await asyncio.sleep(await _sweep(service, max_age, event))


async def _sweep(service: SandboxService, max_age: float, event: Callable[..., None]) -> float:
    """Remove what is too old; return how long nothing else can become so."""
    pause = min(max_age, _LONGEST_PAUSE_SECONDS)
    for info in (await service.list_snapshots(ListSnapshotsRequest())).snapshots:
        left = info.created_at + max_age - time.time()
        if left > 0:
            return min(pause, left)
        try:
            await service.remove_snapshot(RemoveSnapshotRequest(info.snapshot_path))
            event("snapshot expired", snapshot=info.snapshot_path, runtime=info.type)
        except InvalidArgumentError:
            # A client has removed it in this moment.
            continue
        except (SandboxError, OSError) as error:
            event("snapshot kept", snapshot=info.snapshot_path, runtime=info.type, error=str(error))
            pause = min(pause, _RETRY_SECONDS)
    return pause

"""Which snapshots the sweep removes, and when it looks again."""

from __future__ import annotations

import asyncio
import time

from flash_sandbox.errors import InvalidArgumentError, SandboxError, UnavailableError
from flash_sandbox.models import (
    ListSnapshotsRequest,
    ListSnapshotsResult,
    RemoveSnapshotRequest,
    RemoveSnapshotResult,
    SnapshotInfo,
)
from flash_sandbox.orchestrator.core.snapshot_expiry import expiring_snapshots


class Store:
    """A service core that has nothing but snapshots, each made some seconds ago."""

    def __init__(self, **ages: float) -> None:
        self.made = {name: time.time() - age for name, age in ages.items()}
        self.failing: dict[str, SandboxError] = {}
        self.events: list[str] = []

    async def list_snapshots(self, request: ListSnapshotsRequest) -> ListSnapshotsResult:
        made = sorted(self.made.items(), key=lambda item: item[1])
        return ListSnapshotsResult(tuple(SnapshotInfo(name, created_at=moment) for name, moment in made))

    async def remove_snapshot(self, request: RemoveSnapshotRequest) -> RemoveSnapshotResult:
        if request.snapshot_path in self.failing:
            raise self.failing.pop(request.snapshot_path)
        del self.made[request.snapshot_path]
        return RemoveSnapshotResult()

    async def swept(self, max_age: float | None, until: set[str]) -> None:
        """Sweep until only these snapshots are left."""
        async with asyncio.timeout(10), expiring_snapshots(self, max_age, self.event):  # type: ignore[arg-type]
            while self.made.keys() != until:
                await asyncio.sleep(0.01)

    def event(self, name: str, **fields: object) -> None:
        self.events.append(f"{name}: {fields['snapshot']}")


async def test_what_is_too_old_is_removed() -> None:
    store = Store(a=100, b=61, c=50)
    await store.swept(60, {"c"})
    assert store.events == ["snapshot expired: a", "snapshot expired: b"]


async def test_what_becomes_too_old_is_removed_then() -> None:
    store = Store(a=60)
    began = time.monotonic()
    await store.swept(60.3, set())
    assert time.monotonic() - began > 0.25


async def test_without_an_age_nothing_is_removed() -> None:
    store = Store(a=1e9)
    await store.swept(None, {"a"})


async def test_one_that_cannot_be_removed_now_does_not_keep_the_others() -> None:
    store = Store(a=100, b=90)
    store.failing["a"] = UnavailableError("later")
    await store.swept(60, {"a"})
    assert store.events == ["snapshot kept: a", "snapshot expired: b"]


async def test_one_that_a_client_removes_meanwhile_is_no_failure() -> None:
    store = Store(a=100, b=90)
    store.failing["a"] = InvalidArgumentError("it is gone")
    await store.swept(60, {"a"})
    assert store.events == ["snapshot expired: b"]

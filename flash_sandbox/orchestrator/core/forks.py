"""Copies of a sandbox, which all start from one snapshot of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

from ...errors import SandboxError
from ...models import StartRequest, StartResult, StartType
from ..cancellation import completed
from ..snapshots.manifest import Manifest
from .sandboxes import Sandbox

__all__ = ["all_started", "copy_of"]


def copy_of(sandbox: Sandbox, saved: Manifest) -> StartRequest:
    """Return the start of a copy of a sandbox from a snapshot of it."""
    copy = replace(
        sandbox.request,
        type=cast(StartType, sandbox.runtime.name),
        name="",
        snapshot_path=saved.id,
        mem_file_path="",
    )
    if sandbox.runtime.capabilities.snapshots_agent:
        # The copies go on with the processes that there are.
        copy = replace(copy, command=(), image_command=False)
    return copy


async def all_started(
    starts: Sequence[asyncio.Task[StartResult]], stop: Callable[[str], Awaitable[None]]
) -> tuple[str, ...]:
    """Return the IDs of what starts; where one fails, or this is cancelled, stop those that have started."""
    try:
        return tuple([(await start).id for start in starts])
    except BaseException:
        for start in starts:
            start.cancel()
        await completed(_undo(starts, stop))
        raise


async def _undo(starts: Sequence[asyncio.Task[StartResult]], stop: Callable[[str], Awaitable[None]]) -> None:
    for outcome in await asyncio.gather(*starts, return_exceptions=True):
        if isinstance(outcome, StartResult):
            with suppress(SandboxError):
                await stop(outcome.id)

"""The service core's operations on what sandboxes use: now, and in the last hour."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

from ...errors import SandboxError
from ...models import GetMetricsHistoryRequest, GetMetricsHistoryResult, MetricsRequest, MetricsResult
from ..linux.limits import Usage
from .base import ServiceCore
from .history import SAMPLE_SECONDS, percent_of
from .sandboxes import Sandbox, State

__all__ = ["MetricsOperations"]

_MEASURED: Final = (State.RUNNING, State.PAUSED)
_WATCHED_SECONDS: Final = 60.0
# Of all that nobody asks about, together. One takes about a third of a millisecond.
_SAMPLES_A_SECOND: Final = 5
_TICK_SECONDS: Final = 1.0
# An engine that is slow to answer holds up the others no longer.
_PATIENCE_SECONDS: Final = 1.0
_NOTICE_SECONDS: Final = 1.0


class MetricsOperations(ServiceCore):
    """Measure sandboxes; a part of `SandboxService`."""

    _sampling: asyncio.Task[None] | None = None

    async def get_metrics(self, request: MetricsRequest) -> MetricsResult:
        """Read what a running or paused sandbox uses now."""
        sandbox = self.registry.get(request.id)
        sandbox.require(*_MEASURED)
        try:
            usage = await _usage(sandbox)
        except Exception:
            # What a sandbox that has ended in the meantime leaves to read is no failure of the reading.
            await _ended_soon(sandbox)
            self.registry.get(request.id).require(*_MEASURED)
            raise
        now = time.monotonic()
        then, used = sandbox.cpu_reading or (now - (time.time() - sandbox.created_at), 0.0)
        sandbox.cpu_reading = (now, usage.cpu_seconds)
        return MetricsResult(
            memory_usage_bytes=usage.memory_bytes,
            memory_limit_bytes=usage.memory_limit_bytes,
            memory_percent=percent_of(usage.memory_bytes, usage.memory_limit_bytes),
            cpu_percent=percent_of(usage.cpu_seconds - used, max(now - then, 1e-6)),
            pids_current=usage.pids,
            net_rx_bytes=usage.net_rx_bytes,
            net_tx_bytes=usage.net_tx_bytes,
            block_read_bytes=usage.block_read_bytes,
            block_write_bytes=usage.block_write_bytes,
            disk_used_bytes=usage.disk_used_bytes,
            disk_limit_bytes=usage.disk_limit_bytes,
        )

    async def get_metrics_history(self, request: GetMetricsHistoryRequest) -> GetMetricsHistoryResult:
        """Tell what a sandbox, in whatever state, has used in the last hour, to this moment."""
        sandbox = self.registry.get(request.id)
        now = time.monotonic()
        history = sandbox.history
        history.watched_until = now + _WATCHED_SECONDS
        if now - history.sampled_at >= SAMPLE_SECONDS:
            await self._sample(sandbox)
        return GetMetricsHistoryResult(tuple(history.points(request.since_ms, request.max_points)))

    async def _sample_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            await self._sample_what_is_due()

    async def _sample_what_is_due(self) -> None:
        unwatched = max(SAMPLE_SECONDS, len(self.registry) / _SAMPLES_A_SECOND)
        # A burst of starts is caught up with little by little.
        room = 2 * _SAMPLES_A_SECOND * _TICK_SECONDS
        now = time.monotonic()
        for sandbox in self.registry:
            is_watched = sandbox.history.watched_until > now
            is_due = now - sandbox.history.sampled_at >= (SAMPLE_SECONDS if is_watched else unwatched)
            if is_due and sandbox.state in _MEASURED and (is_watched or room > 0):
                room -= not is_watched
                await self._sample(sandbox)
                # Calls have their turn.
                await asyncio.sleep(0)

    async def _sample(self, sandbox: Sandbox) -> None:
        """Add to the history of a sandbox what it uses now."""
        if sandbox.state not in _MEASURED:
            return
        sandbox.history.sampled_at = time.monotonic()
        # One that ends meanwhile has used what it has used.
        with suppress(SandboxError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                usage = await _usage(sandbox, sampled=True)
            # Not rounded up: it would not have come yet.
            sandbox.history.add(int(time.time() * 1000), usage)


async def _usage(sandbox: Sandbox, *, sampled: bool = False) -> Usage:
    """Read what a sandbox uses now, what goes through its gate among it."""
    usage, gate = await sandbox.runtime.usage(sandbox.id, sampled=sampled), sandbox.gate
    if gate is None:
        return usage
    return replace(
        usage,
        net_rx_bytes=usage.net_rx_bytes + gate.received,
        net_tx_bytes=usage.net_tx_bytes + gate.sent,
    )


async def _ended_soon(sandbox: Sandbox) -> None:
    """Wait a moment for the end of a sandbox: its processes may be gone before that is noticed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_NOTICE_SECONDS):
            while not sandbox.has_ended:
                await asyncio.sleep(0.005)

"""Looking at sandboxes when that is due: one timer for all, and a sweep for what it may have missed."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from .sandboxes import Registry, Sandbox

__all__ = ["SWEEP_SECONDS", "Expiry"]

SWEEP_SECONDS: Final = 5.0
"""How often all are looked at, whatever the timer says: the clock may be set, an end may have failed."""


class Expiry:
    """The deadlines of all sandboxes.

    Args:
        registry: The sandboxes.
        attend: Does what is due for one of them.
        sweep: What else is to be done now and then.
        event: Writes a line of the log: a name, and fields by name.
    """

    def __init__(
        self,
        registry: Registry,
        attend: Callable[[Sandbox], Awaitable[None]],
        sweep: Callable[[], Awaitable[None]],
        event: Callable[..., None],
    ) -> None:
        self._registry = registry
        self._attend = attend
        self._sweep = sweep
        self._event = event
        # Deadlines that were changed since stay here until they pass, or until the next sweep.
        self._deadlines: list[tuple[float, str]] = []
        self._earlier = asyncio.Event()
        self._attended: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin."""
        # A sweep of many takes its time, in which others are due.
        self._tasks = {asyncio.create_task(work()) for work in (self._attend_for_ever, self._sweep_for_ever)}

    async def close(self) -> None:
        """Attend to no more sandboxes; those that are being attended to are waited for."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait({*self._tasks, *self._attended.values()})

    def expect(self, sandbox: Sandbox) -> None:
        """Take note of a new deadline."""
        due_at = sandbox.life.due_at
        if not due_at:
            return
        if not self._deadlines or due_at < self._deadlines[0][0]:
            self._earlier.set()
        heapq.heappush(self._deadlines, (due_at, sandbox.id))

    async def _attend_for_ever(self) -> None:
        while True:
            self._earlier.clear()
            self._attend_what_is_due()
            pause = SWEEP_SECONDS
            if self._deadlines:
                pause = min(pause, max(self._deadlines[0][0] - time.time(), 0.0))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._earlier.wait()

    async def _sweep_for_ever(self) -> None:
        while True:
            self._look_at_all()
            self._earlier.set()
            await self._sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    def _look_at_all(self) -> None:
        """Make the list of deadlines anew, from what is known of each sandbox."""
        self._deadlines = [(each.life.due_at, each.id) for each in self._registry if each.life.due_at]
        heapq.heapify(self._deadlines)

    def _attend_what_is_due(self) -> None:
        now = time.time()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, sandbox_id = heapq.heappop(self._deadlines)
            sandbox = self._registry.find(sandbox_id)
            if sandbox is None or sandbox_id in self._attended:
                continue
            if sandbox.life.is_due(now):
                self._attended[sandbox_id] = asyncio.create_task(self._attend_to(sandbox))
            else:
                self.expect(sandbox)

    async def _attend_to(self, sandbox: Sandbox) -> None:
        try:
            await self._attend(sandbox)
            if sandbox in self._registry:
                self.expect(sandbox)
        except Exception as error:
            # Whatever is wrong with it, the others do not wait; the next sweep tries again.
            self._event("sandbox kept", sandbox=sandbox.id, error=str(error))
        finally:
            del self._attended[sandbox.id]

"""Sandboxes that were made beforehand, each handed out whole, once, to a start that asks for the same."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, cast

from ...errors import SandboxError
from ...models import StartRequest, StartType
from ..runtimes.base import Runtime, unwritten
from ..runtimes.catalogue import RUNTIME_NAMES
from .base import over, settle
from .sandboxes import Sandbox

__all__ = ["WarmPool", "WarmPools"]

# The command that mostly follows a start at once is not to wait for the making of the next one.
_REST_SECONDS: Final = 0.05
# Starts go first, but not for ever.
_MOST_REST_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
# What the service core does, and not the runtime: a sandbox is the same with any of it.
_ANY: Final[dict[str, Any]] = {
    "type": "",
    "name": "",
    "labels": (),
    "ttl_seconds": 0.0,
    "idle_timeout": 0.0,
    "on_idle": "",
    "auto_resume": False,
}


@dataclass(slots=True, eq=False)
class WarmPool:
    """The sandboxes of one image that wait for starts.

    Attributes:
        type: Name of their runtime; ``auto`` for the best one.
        image: Their image; empty for the runtime's default.
        size: How many there are to be.
        runtime: Their runtime, once one was made.
        request: What starts ask for that are handed one, once one was made.
        ready: Those that wait.
        starts: How many such starts there were, by whether they were handed one: ``hit`` or ``miss``.
    """

    type: StartType
    image: str
    size: int
    runtime: Runtime | None = None
    request: StartRequest | None = None
    ready: list[Sandbox] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def parse(cls, name: str, size: int) -> Self:
        """Return the pool that an operator names.

        Args:
            name: Its image, or ``RUNTIME:IMAGE``.
            size: How many sandboxes it is to have.

        Raises:
            ValueError: It is to have less than one.
        """
        if size < 1:
            raise ValueError(f"at least 1 sandbox must be kept ready of {name!r}, not {size}")
        type, colon, image = name.partition(":")
        if colon and type in RUNTIME_NAMES:
            return cls(cast(StartType, type), image, size)
        return cls("auto", name, size)

    def suits(self, runtime: Runtime, request: StartRequest) -> bool:
        """Tell whether a start asks for such a sandbox."""
        return runtime is self.runtime and plain(runtime, request) == self.request


def plain(runtime: Runtime, request: StartRequest) -> StartRequest:
    """Return what a start asks of its runtime, the same for two that want the same."""
    request = replace(request, image=request.image or runtime.default_image, **_ANY)
    if request.network == "policy":
        # To its runtime that is none.
        request = replace(request, network="none", network_allow=(), network_deny=(), secrets=())
    return request


class WarmPools:
    """All pools. One sandbox at a time is made, while no start is under way.

    Args:
        pools: The pools.
        make: Makes a sandbox of a pool, with its agent connected.
        end: Ends one and removes what it held.
        is_busy: Tells whether a start is under way.
        room: Tells how many sandboxes there may be that wait; None for no limit.
        log: Writes a line of the log: a name, and fields by name.
    """

    def __init__(
        self,
        pools: list[WarmPool],
        make: Callable[[WarmPool], Awaitable[Sandbox]],
        end: Callable[[Sandbox], Awaitable[None]],
        is_busy: Callable[[], bool],
        room: Callable[[], int | None],
        log: Callable[..., None] = unwritten,
    ) -> None:
        self.pools = pools
        self._make = make
        self._end = end
        self._is_busy = is_busy
        self._room = room
        self._log = log
        self._changed = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to make them."""
        if self.pools:
            self._filling = asyncio.create_task(self._fill_for_ever())

    async def close(self) -> None:
        """End those that wait, and make no more."""
        if self._filling is not None:
            self._filling.cancel()
            await settle({self._filling})
        for pool in self.pools:
            for sandbox in list(pool.ready):
                self._drop(pool, sandbox)
        await settle(set(self._ending))

    def take(self, runtime: Runtime, request: StartRequest) -> Sandbox | None:
        """Return one that suits a start, which is in its pool no more; None where none is ready."""
        for pool in self.pools:
            if pool.suits(runtime, request):
                self._changed.set()
                pool.starts["hit" if pool.ready else "miss"] += 1
                return _removed(pool, pool.ready[0]) if pool.ready else None
        return None

    def make_room(self) -> None:
        """End those that there is no room for, beside the sandboxes of starts."""
        while (room := self._room()) is not None and self._count() > max(room, 0):
            pool = max(self.pools, key=lambda pool: len(pool.ready))
            self._drop(pool, pool.ready[-1])

    def drop_like(self, sandbox: Sandbox) -> None:
        """End those that were made when the name of their image meant what it meant for `sandbox`."""
        for pool in self.pools:
            for other in list(pool.ready):
                if other.warm_image == sandbox.warm_image:
                    self._drop(pool, other)

    def _count(self) -> int:
        return sum(len(pool.ready) for pool in self.pools)

    def _drop(self, pool: WarmPool, sandbox: Sandbox) -> None:
        task = asyncio.create_task(self._ended(_removed(pool, sandbox)))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._changed.set()

    async def _ended(self, sandbox: Sandbox) -> None:
        try:
            await self._end(sandbox)
        except (SandboxError, OSError) as error:
            self._log("warm sandbox not ended", sandbox=sandbox.id, error=str(error))

    async def _fill_for_ever(self) -> None:
        while True:
            self._changed.clear()
            pool = next((pool for pool in self.pools if len(pool.ready) < pool.size), None)
            room = self._room()
            if pool is None or (room is not None and self._count() >= room):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MOST_REST_SECONDS):
                        await self._changed.wait()
                continue
            await self._rest()
            try:
                self._add(pool, await self._make(pool))
            except (SandboxError, OSError) as error:
                self._log("warm sandboxes wait", image=pool.image, runtime=pool.type, error=str(error))
                # Another image may be had.
                self.pools.append(self.pools.pop(self.pools.index(pool)))
                await asyncio.sleep(_RETRY_SECONDS / len(self.pools))

    async def _rest(self) -> None:
        latest = time.monotonic() + _MOST_REST_SECONDS
        await asyncio.sleep(_REST_SECONDS)
        while self._is_busy() and time.monotonic() < latest:
            await asyncio.sleep(_REST_SECONDS)

    def _add(self, pool: WarmPool, sandbox: Sandbox) -> None:
        async def watch() -> None:
            async with over(sandbox, sandbox.guest):
                self._drop(pool, sandbox)

        pool.ready.append(sandbox)
        sandbox.watcher = asyncio.create_task(watch())


def _removed(pool: WarmPool, sandbox: Sandbox) -> Sandbox:
    pool.ready.remove(sandbox)
    if sandbox.watcher is not None:
        sandbox.watcher.cancel()
        sandbox.watcher = None
    return sandbox

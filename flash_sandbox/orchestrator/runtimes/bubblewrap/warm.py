"""Sandboxes that were made beforehand, each handed out whole to one start that asks for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from ....errors import SandboxError
from ...cancellation import completed
from .running import RunningSandbox

__all__ = ["WarmPool"]

_Result = TypeVar("_Result")

# The command that mostly follows a start at once is not to wait for the making of the next one.
_REST_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 5.0


class WarmPool:
    """Sandboxes that run and that nobody has asked for yet.

    Args:
        size: How many there are to be.
        make: Makes one.
        end: Ends one and removes what it held.
        event: Writes a line of the log: a name, and fields by name; None for no log.
    """

    def __init__(
        self,
        size: int,
        make: Callable[[], Awaitable[RunningSandbox]],
        end: Callable[[RunningSandbox], Awaitable[None]],
        event: Callable[..., None] | None,
    ) -> None:
        self._size = size
        self._make = make
        self._end = end
        self._event = event
        self._ready: list[RunningSandbox] = []
        # Ended by themselves before they were handed out.
        self._lost: list[RunningSandbox] = []
        self._wanted = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to make them."""
        if self._size:
            self._wanted.set()
            self._filling = asyncio.create_task(self._fill_for_ever())

    async def close(self) -> None:
        """Make no more of them. Those that are ready are left to whoever ends all sandboxes."""
        if self._filling is not None:
            self._filling.cancel()
            with suppress(asyncio.CancelledError):
                await self._filling
        self._ready.clear()

    def __len__(self) -> int:
        return len(self._ready)

    def take(self) -> RunningSandbox | None:
        """Return one, which is in the pool no more; None where none is ready."""
        while self._ready:
            sandbox = self._ready.pop(0)
            self._wanted.set()
            if _runs(sandbox):
                return sandbox
            self._lost.append(sandbox)
        return None

    async def _fill_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(_REST_SECONDS)
            self._wanted.clear()
            while self._lost:
                await self._tried(completed(self._end(self._lost.pop())))
            while len(self._ready) < self._size:
                sandbox = await self._tried(self._make())
                if sandbox is not None:
                    self._add(sandbox)
                else:
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _tried(self, work: Awaitable[_Result]) -> _Result | None:
        """Do `work`; where that fails, the log tells why, and starts do without."""
        try:
            return await work
        except (SandboxError, OSError) as error:
            if self._event is not None:
                self._event("warm sandboxes wait", error=str(error))
            return None

    def _add(self, sandbox: RunningSandbox) -> None:
        def ended(_: object) -> None:
            if sandbox in self._ready:
                self._ready.remove(sandbox)
                self._lost.append(sandbox)
                self._wanted.set()

        assert sandbox.process is not None
        self._ready.append(sandbox)
        sandbox.process.exited.add_done_callback(ended)


def _runs(sandbox: RunningSandbox) -> bool:
    return sandbox.process is not None and not sandbox.process.exited.done()

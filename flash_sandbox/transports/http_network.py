"""What the pool of HTTP connections has of a thread, or of an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import httpcore
import httpx

from .deadline_backend import DeadlineBackend, EachStep
from .http_timing import Timeouts, Timing
from .limits import MOST_CONNECTIONS, Room
from .retry import Patience

__all__ = ["AsyncNetwork", "Network"]

_NO_ROOM: Final = "every connection is in use"


class Network:
    """Threads take turns, and a deadline is held by the socket: `DeadlineBackend` takes moments.

    Attributes:
        settings: Of each connection, as httpcore names them.
        lock: Held while the lists of connections change.
    """

    def __init__(self) -> None:
        self._backend = DeadlineBackend()
        self.settings: dict[str, Any] = {"network_backend": self._backend}
        # Reentrant: a finalizer, which needs it, may run in any step of the thread that holds it.
        self.lock: AbstractContextManager[object] = threading.RLock()
        self._room = Room()

    @property
    def patience(self) -> float:
        """Return the seconds for each step of a stream."""
        return EachStep(Patience.seconds)

    def timeouts(self, timing: Timing) -> Timeouts:
        """Return how long each step up to the beginning of the answer may take."""
        timeouts = timing.first_steps()
        if timeouts["connect"] is not None:
            timeouts["connect"] = time.monotonic() + timeouts["connect"]
        step = self.patience if timing.bounds == "connection" else timeouts["connect"]
        timeouts["read"] = timeouts["write"] = step
        return timeouts

    def enter(self, seconds: float | None) -> None:
        """Wait until there is room for one more connection.

        Raises:
            httpx.PoolTimeout: There was none in time.
        """
        if not self._room.enter(seconds):
            raise httpx.PoolTimeout(_NO_ROOM)

    def leave(self) -> None:
        """Make room for the next one."""
        self._room.leave()

    def drop(self, connection: object) -> None:
        """Close a connection that an interrupt left behind."""
        if isinstance(connection, httpcore.HTTPConnection):
            connection.close()

    def abort(self) -> None:
        """End every connection under the calls that other threads are waiting for."""
        self._backend.abort()


class AsyncNetwork:
    """Nothing changes while a task does not wait; whoever calls bounds a call as a whole.

    Attributes:
        settings: Of each connection, as httpcore names them.
        lock: Held while the lists of connections change.
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.lock: AbstractContextManager[object] = nullcontext()
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    @property
    def patience(self) -> float:
        """Return the seconds for each step of a stream."""
        return Patience.seconds

    def timeouts(self, timing: Timing) -> Timeouts:
        """Return how long each step up to the beginning of the answer may take."""
        if timing.bounds == "connection":
            return timing.first_steps()
        # The caller bounds all of them together: a timer for each would be one too many.
        return {"pool": None, "connect": None, "read": None, "write": None}

    async def enter(self, seconds: float | None) -> None:
        """Wait until there is room for one more connection.

        Raises:
            httpx.PoolTimeout: There was none in time.
        """
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._room.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout(_NO_ROOM) from error

    def leave(self) -> None:
        """Make room for the next one."""
        self._room.release()

    def drop(self, connection: object) -> None:
        """Do nothing: no task is interrupted while it does not wait."""

    def abort(self) -> None:
        """Do nothing: closing a connection ends the calls of its loop."""

"""How many connections a client has where each carries one call at a time."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Final

__all__ = ["MOST_CONNECTIONS", "MOST_IDLE", "Room"]

MOST_CONNECTIONS: Final = 1000
"""As many calls at a time as the orchestrator takes over one gRPC connection: the next one waits."""

MOST_IDLE: Final = 100
"""More than this are closed rather than kept for the next call."""


class Room:
    """Lets as many threads in at a time as there may be connections.

    Unlike threading's semaphores and conditions, it holds no lock while a signal handler may raise: that
    lock would be held for ever.
    """

    def __init__(self) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(MOST_CONNECTIONS):
            self._free.put(None)

    def enter(self, seconds: float | None) -> bool:
        """Wait until there is room for one more, and tell whether there was any in time."""
        try:
            self._free.get(timeout=seconds)
        except Empty:
            return False
        return True

    def leave(self) -> None:
        """Make room for the next one."""
        self._free.put(None)

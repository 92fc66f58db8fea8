"""Following events through any of the four clients, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flash_sandbox import Event, SandboxAPI

__all__ = ["Follower", "following"]


class Follower:
    """What one client is told."""

    def __init__(self, client: SandboxAPI, token: str) -> None:
        self._stream = client.watch_events(token)
        self._events = iter(self._stream)

    @property
    def token(self) -> str:
        """What goes on after the last event that was returned."""
        return self._stream.token

    def next(self) -> Event:
        """Wait for the next event."""
        return next(self._events)

    def of(self, sandbox_id: str, last: str) -> list[Event]:
        """Return the events of one sandbox, up to one of the type `last`."""
        found: list[Event] = []
        while not found or found[-1].type != last:
            event = self.next()
            if event.id == sandbox_id:
                found.append(event)
        return found

    def close(self) -> None:
        """Follow no longer."""
        self._stream.close()


@contextmanager
def following(client: SandboxAPI, token: str = "") -> Iterator[Follower]:
    """Follow events for the length of a block."""
    follower = Follower(client, token)
    try:
        yield follower
    finally:
        follower.close()

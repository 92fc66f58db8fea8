"""What has happened to sandboxes, kept for those who follow it and for those who come back.

The last ones are kept in memory, in a ring; who watches has no more than a place in it. So one that reads
slowly holds nobody up and takes no memory: once the ring has overtaken it, it is told that it missed some.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Final

from ...errors import EventsMissedError, InvalidArgumentError, UnavailableError
from ...models import Event, EventType

__all__ = ["KEPT_EVENTS", "EventLog"]

KEPT_EVENTS: Final = 10_000

_TOKEN: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})", re.ASCII)
_DETAIL_CHARACTERS: Final = 1000


class EventLog:
    """The events of one orchestrator's life.

    Args:
        kept: How many are kept.
    """

    def __init__(self, kept: int = KEPT_EVENTS) -> None:
        self._kept = kept
        # Other lives of the orchestrator count from 1, too.
        self._life = secrets.token_hex(8)
        self._ring: list[Event] = []
        self._last = 0
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, type: EventType, sandbox_id: str, detail: str = "") -> None:
        """Note that something has happened to a sandbox, and tell those who watch."""
        place = self._last % self._kept
        self._last += 1
        event = Event(type, sandbox_id, self._token(self._last), time.time(), detail[:_DETAIL_CHARACTERS])
        self._ring[place : place + 1] = [event]
        self._wake()

    def close(self) -> None:
        """Send everybody who watches away."""
        self._closed = True
        self._wake()

    async def watch(self, token: str) -> AsyncGenerator[Event]:
        """Yield where this begins, at once, and then what has happened since `token` and happens.

        Args:
            token: That of the last event that was seen; empty for what happens from now on.

        Raises:
            InvalidArgumentError: The token is malformed.
            EventsMissedError: Events after the token are not kept any more, or were another orchestrator's.
            UnavailableError: The orchestrator is shutting down.
        """
        position = self._position(token)
        yield Event("watching", token=self._token(position), at=time.time())
        while True:
            while position < self._last:
                self._require_kept(position)
                position += 1
                yield self._ring[(position - 1) % self._kept]
            if self._closed:
                raise UnavailableError("the orchestrator is shutting down")
            await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _token(self, position: int) -> str:
        return f"{self._life}-{position}"

    def _position(self, token: str) -> int:
        if not token:
            return self._last
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise InvalidArgumentError(f"{token[:100]!r} is no token of an event")
        position = int(found[2])
        if found[1] != self._life or position > self._last:
            raise _missed("the token is of another orchestrator, or of this one before it was started anew")
        self._require_kept(position)
        return position

    def _require_kept(self, position: int) -> None:
        if position < self._last - self._kept:
            raise _missed(f"only the last {self._kept} events are kept")


def _missed(why: str) -> EventsMissedError:
    # The same token is refused again: what helps is to look anew.
    return EventsMissedError(
        f"events may have been missed: {why}; list the sandboxes and watch anew, without a token",
        retryable=False,
    )

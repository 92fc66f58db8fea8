"""What has happened to sandboxes, for those who follow it and for those who come back.

The last events are in the database; who watches has no more than a place among them. So one that reads slowly
holds nobody up and takes no memory: once its place is not kept any more, it is told that it missed some.
Nobody is told of an event before it is on the disk: so places stay what they are when the orchestrator is
started anew.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from ...errors import EventsMissedError, InvalidArgumentError, UnavailableError
from ...models import Event, EventType
from ..state.database import Database, Statement

__all__ = ["KEPT_EVENTS", "EventLog"]

KEPT_EVENTS: Final = 10_000

_TOKEN: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})", re.ASCII)
_DETAIL_CHARACTERS: Final = 1000
_READ_AT_ONCE: Final = 100


class EventLog:
    """The events of one state directory.

    Args:
        database: Where they are kept.
        kept: How many are kept.
    """

    def __init__(self, database: Database, kept: int = KEPT_EVENTS) -> None:
        self._database = database
        self._kept = kept
        ((self._name,),) = database.read("SELECT value FROM facts WHERE name = 'event_log'")
        ((last,),) = database.read("SELECT coalesce(max(position), 0) FROM events")
        # The place of the last one that was added, and of the last that may be told.
        self._added = self._last = int(last)
        self._changed = asyncio.Event()
        self._closed = False

    def add(
        self, type: EventType, sandbox_id: str, detail: str = "", *more: Statement
    ) -> asyncio.Future[bool]:
        """Note that something has happened to a sandbox, and tell those who watch once that is on the disk.

        Args:
            type: What has happened.
            sandbox_id: To which sandbox.
            detail: More about it.
            more: What is written with it.

        Returns:
            What `Database.note` does.
        """
        self._added += 1
        position = self._added
        event = (position, type, sandbox_id, time.time(), detail[:_DETAIL_CHARACTERS])
        return self._database.note(
            *more,
            ("INSERT INTO events VALUES (?, ?, ?, ?, ?)", event),
            ("DELETE FROM events WHERE position <= ?", (position - self._kept,)),
            then=partial(self._tell, position),
        )

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
            UnavailableError: The orchestrator is shutting down, or cannot write its state.
        """
        position = self._position(token)
        while self._last < position:
            self._database.require_room()
            await self._change()
        yield Event("watching", token=self._token(position), at=time.time())
        while True:
            while position < self._last:
                for event in self._since(position):
                    position += 1
                    yield event
            await self._change()

    def _since(self, position: int) -> list[Event]:
        """Return the next events after a place, at least one."""
        self._require_kept(position)
        rows = self._database.read(
            "SELECT type, sandbox, position, at, detail FROM events WHERE position > ? AND position <= ? "
            "ORDER BY position LIMIT ?",
            position,
            self._last,
            _READ_AT_ONCE,
        )
        if not rows or rows[0][2] != position + 1:
            raise self._missed_some()
        return [
            Event(type, sandbox, self._token(place), at, detail) for type, sandbox, place, at, detail in rows
        ]

    async def _change(self) -> None:
        if self._closed:
            raise UnavailableError("the orchestrator is shutting down")
        await self._changed.wait()

    def _tell(self, position: int) -> None:
        self._last = position
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _token(self, position: int) -> str:
        return f"{self._name}-{position}"

    def _position(self, token: str) -> int:
        if not token:
            return self._added
        found = _TOKEN.fullmatch(token)
        if found is None:
            raise InvalidArgumentError(f"{token[:100]!r} is no token of an event")
        position = int(found[2])
        if found[1] != self._name or position > self._last:
            raise _missed("the token is of another orchestrator")
        self._require_kept(position)
        return position

    def _require_kept(self, position: int) -> None:
        if position < self._last - self._kept:
            raise self._missed_some()

    def _missed_some(self) -> EventsMissedError:
        return _missed(f"only the last {self._kept} events are kept")


def _missed(why: str) -> EventsMissedError:
    # The same token is refused again: what helps is to look anew.
    return EventsMissedError(
        f"events may have been missed: {why}; list the sandboxes and watch anew, without a token",
        retryable=False,
    )

"""Sandboxes that have ended, and of which is told for a while: from the database, once they are in it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from heapq import merge
from typing import TYPE_CHECKING, Any, Final

from ...errors import SandboxNotFoundError
from ...models import GetLogsResult, SandboxInfo
from ..state.database import Database
from . import rows

if TYPE_CHECKING:
    from .sandboxes import Sandbox

__all__ = ["EndedSandboxes"]

_MOST: Final = 10_000
_READ_AT_ONCE: Final = 100


class EndedSandboxes:
    """The sandboxes that have ended.

    Args:
        database: Where they are.
        kept_seconds: For how long they are told of after their end.
    """

    def __init__(self, database: Database, kept_seconds: float) -> None:
        self._database = database
        self._kept_seconds = kept_seconds
        # Those whose end is not on the disk yet.
        self._unwritten: dict[str, Sandbox] = {}

    def add(self, sandbox: Sandbox, written: asyncio.Future[bool]) -> None:
        """Tell of a sandbox from now on, whose end is on the disk once `written` is done with True."""
        if self._kept_seconds:
            self._unwritten[sandbox.id] = sandbox

        def done(written: asyncio.Future[bool]) -> None:
            # Where the disk has no room, `purge` looks again.
            if not written.cancelled() and written.result():
                self._unwritten.pop(sandbox.id, None)

        written.add_done_callback(done)

    def info(self, sandbox_id: str) -> SandboxInfo:
        """Return what was known of one at its end; raise SandboxNotFoundError if nothing is told of it."""
        if sandbox_id in self._unwritten:
            return rows.ended_info(self._unwritten[sandbox_id])
        return _info(self._find("info", sandbox_id)[0])

    def log(self, sandbox_id: str) -> GetLogsResult:
        """Return the last output of its main process; raise SandboxNotFoundError if nothing is told of it."""
        if sandbox_id in self._unwritten:
            return self._unwritten[sandbox_id].log
        output, dropped = self._find("log, log_dropped", sandbox_id)
        return GetLogsResult(output, dropped)

    def after(self, place: tuple[float, str]) -> Iterator[SandboxInfo]:
        """Yield those that come after a place, the oldest first."""
        unwritten = sorted(map(rows.ended_info, self._unwritten.values()), key=_place)
        more = [info for info in unwritten if _place(info) > place]
        return merge(more, self._written_after(place), key=_place)

    def _written_after(self, place: tuple[float, str]) -> Iterator[SandboxInfo]:
        while found := self._database.read(
            "SELECT info FROM sandboxes WHERE ended_at > 0 AND ended_at > ? AND (created_at, id) > (?, ?) "
            "ORDER BY created_at, id LIMIT ?",
            self._since(),
            *place,
            _READ_AT_ONCE,
        ):
            for (text,) in found:
                info = _info(text)
                place = _place(info)
                if info.id not in self._unwritten:
                    yield info

    def purge(self) -> None:
        """Forget those that ended long ago, and the oldest ones if there are too many."""
        for sandbox_id in list(self._unwritten):
            if self._database.read("SELECT 1 FROM sandboxes WHERE id = ? AND ended_at > 0", sandbox_id):
                del self._unwritten[sandbox_id]
        found = self._database.read(
            "SELECT ended_at FROM sandboxes WHERE ended_at > 0 ORDER BY ended_at DESC LIMIT 1 OFFSET ?", _MOST
        )
        since = max(self._since(), found[0][0] if found else 0.0)
        where = "FROM sandboxes WHERE ended_at > 0 AND ended_at <= ?"
        if self._database.read(f"SELECT 1 {where} LIMIT 1", since):
            self._database.note((f"DELETE {where}", (since,)))

    def _find(self, columns: str, sandbox_id: str) -> tuple[Any, ...]:
        found = self._database.read(
            f"SELECT {columns} FROM sandboxes WHERE id = ? AND ended_at > ?", sandbox_id, self._since()
        )
        if not found:
            raise SandboxNotFoundError(f"there is no sandbox {sandbox_id}")
        return found[0]

    def _since(self) -> float:
        """Return the time at which those ended, at the latest, of which nothing is told any more."""
        return time.time() - self._kept_seconds


def _place(info: SandboxInfo) -> tuple[float, str]:
    return info.created_at, info.id


def _info(text: str) -> SandboxInfo:
    return SandboxInfo(**json.loads(text))

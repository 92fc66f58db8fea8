"""The state of an orchestrator: one SQLite database in its state directory.

One thread writes. It commits all that is waiting in one transaction, so that many writers share one fsync(2),
and the event loop never waits for the disk. Reads see what was committed, and wait for nobody.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ...errors import UnavailableError
from .directory import StateDirError
from .schema import MIGRATIONS

__all__ = ["Database", "Statement"]

Statement = tuple[str, Sequence[object]]
"""SQL, and the values of its parameters."""

_NAME: Final = "state.db"
_BUSY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.5


@dataclass(slots=True)
class _Write:
    statements: Sequence[Statement]
    postponable: bool
    then: Callable[[], None] | None
    done: asyncio.Future[bool]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def settle(self, outcome: bool | Exception) -> None:
        """Tell the caller, from the thread of its event loop."""
        if outcome is True and self.then is not None:
            self.then()
        if self.done.done():
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Database:
    """The database of one state directory, open.

    Args:
        directory: The state directory; None for a database in memory, where no other one follows.
        migrations: SQL that makes each version of the one before.
        event: Writes a line of the log: a name, and fields by name.

    Raises:
        StateDirError: It cannot be read, or a newer version has written it. Nothing is changed then.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        migrations: Sequence[str] = MIGRATIONS,
        event: Callable[..., None] = lambda name, **fields: None,
    ) -> None:
        self._event = event
        self._path = directory / _NAME if directory is not None else None
        self._writes: deque[_Write] = deque()
        self._changed = threading.Condition()
        self._failure: Exception | None = None
        self._closed = False
        try:
            self._writer = self._reader = self._connect()
            _migrate(self._writer, migrations, self._path)
            if self._path is not None:
                self._reader = self._connect()
        except sqlite3.Error as error:
            raise StateDirError(
                f"{self._path} cannot be used: {error}; restore it from a backup, or move it away to begin "
                "without what it holds"
            ) from error
        self._thread: threading.Thread | None = None
        if self._path is not None:
            self._thread = threading.Thread(target=self._work, name="flash-sandbox-database", daemon=True)
            self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        if self._path is None:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows that a query finds in what was committed."""
        return self._reader.execute(sql, values).fetchall()

    async def key(self, name: str) -> bytes:
        """Return 32 random bytes that go by a name, made the first time."""
        await self.note(("INSERT OR IGNORE INTO facts VALUES (?, lower(hex(randomblob(32))))", (name,)))
        ((key,),) = self.read("SELECT value FROM facts WHERE name = ?", name)
        return bytes.fromhex(key)

    def write(self, *statements: Statement) -> asyncio.Future[bool]:
        """Write what must be on the disk before anybody is told of it.

        Returns:
            Done once all statements, or none, are on the disk. Raises UnavailableError in the second case.
        """
        return self._write(statements, postponable=False)

    def note(self, *statements: Statement, then: Callable[[], None] | None = None) -> asyncio.Future[bool]:
        """Write what has happened and cannot be taken back. Never fails.

        Args:
            statements: What is written.
            then: Called once it is on the disk.

        Returns:
            Done with True once it is on the disk; with False if it waits there for the disk to have room.
        """
        return self._write(statements, postponable=True, then=then)

    def require_room(self) -> None:
        """Raise UnavailableError while something waits for the disk to have room."""
        if self._failure is not None:
            raise _unavailable(self._failure)

    def close(self) -> None:
        """Write what is waiting, if that can be, and close. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        for connection in (self._reader, self._writer):
            connection.close()

    def _write(
        self, statements: Sequence[Statement], *, postponable: bool, then: Callable[[], None] | None = None
    ) -> asyncio.Future[bool]:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        write = _Write(statements, postponable, then, done)
        with self._changed:
            self._writes.append(write)
            self._changed.notify_all()
        if self._thread is None:
            self._write_all()
        return done

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._writes and self._closed:
                    return
                if self._failure is not None and not self._closed:
                    self._changed.wait(_RETRY_SECONDS)
                elif not self._writes:
                    self._changed.wait()
            self._write_all()
            if self._failure is not None and self._closed:
                return

    def _write_all(self) -> None:
        """Write all that is waiting in one transaction; what fails and may wait, waits."""
        with self._changed:
            writes = list(self._writes)
            self._writes.clear()
        failure = self._commit(writes)
        if failure is not None and not isinstance(failure, sqlite3.OperationalError):
            # One of them is at fault, and must not hold up the others.
            for write in writes:
                self._settle([write], self._commit([write]))
        else:
            self._settle(writes, failure)

    def _commit(self, writes: Sequence[_Write]) -> Exception | None:
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                for sql, values in write.statements:
                    connection.execute(sql, values)
            connection.execute("COMMIT")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return error
        return None

    def _settle(self, writes: Sequence[_Write], failure: Exception | None) -> None:
        waits = isinstance(failure, sqlite3.OperationalError)
        if failure is not None and self._failure is None:
            self._event("state not written", path=str(self._path), detail=str(failure))
        kept = [write for write in writes if write.postponable and waits]
        with self._changed:
            self._writes.extendleft(reversed(kept))
            self._failure = failure if kept else None
        for write in writes:
            outcome = failure is None or (not write.postponable and _unavailable(failure))
            if self._thread is None:
                write.settle(outcome)
                continue
            # Its event loop may have been closed.
            with suppress(RuntimeError):
                write.loop.call_soon_threadsafe(write.settle, outcome)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str], path: Path | None) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StateDirError(
            f"{path} has version {version}, and this flash-sandbox knows {len(migrations)}: go on with the "
            "release that used it last, or name another directory with --state-dir"
        )
    for number, sql in enumerate(migrations[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {number}; COMMIT")


def _unavailable(failure: Exception) -> UnavailableError:
    return UnavailableError(f"the orchestrator cannot write its state: {failure}")

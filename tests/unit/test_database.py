"""The state database: what is written is there, what is not ours is refused, and nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from small_disk import small_disk

from flash_sandbox.errors import UnavailableError
from flash_sandbox.orchestrator.core.events import EventLog
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.directory import StateDirError
from flash_sandbox.orchestrator.state.schema import MIGRATIONS

TABLE = "CREATE TABLE things (name TEXT PRIMARY KEY)"


def thing(name: str) -> tuple[str, tuple[str]]:
    return ("INSERT INTO things VALUES (?)", (name,))


def names(database: Database) -> set[str]:
    return {name for (name,) in database.read("SELECT name FROM things")}


@pytest.fixture(params=["memory", "file"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path if request.param == "file" else None, migrations=(TABLE,))
    yield database
    database.close()


async def test_what_is_written_is_read(database: Database) -> None:
    assert await database.write(thing("one"), thing("two"))
    assert await database.note(thing("three"))
    assert names(database) == {"one", "two", "three"}


async def test_a_write_is_made_as_a_whole_or_not_at_all(database: Database) -> None:
    await database.write(thing("one"))
    with pytest.raises(UnavailableError, match="cannot write its state: UNIQUE"):
        await database.write(thing("two"), thing("one"))
    assert names(database) == {"one"}


async def test_one_that_fails_holds_up_no_other(database: Database) -> None:
    writes = [database.write(thing("one")), database.write(thing("one")), database.note(thing("two"))]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [bool, UnavailableError, bool]
    assert names(database) == {"one", "two"}
    database.require_room()


async def test_they_are_made_in_their_order(database: Database) -> None:
    noted: list[int] = []
    for number in range(100):
        database.note(thing(str(number)), then=lambda number=number: noted.append(number))  # type: ignore[misc]
    await database.note(("DELETE FROM things WHERE name = '99'", ()))
    assert noted == list(range(100))
    assert names(database) == {str(number) for number in range(99)}


async def test_what_was_not_waited_for_is_written_before_it_is_closed(tmp_path: Path) -> None:
    database = Database(tmp_path, migrations=(TABLE,))
    for number in range(1000):
        database.note(thing(str(number)))
    database.close()
    again = Database(tmp_path, migrations=(TABLE,))
    assert len(names(again)) == 1000
    again.close()


async def test_it_is_for_its_owner_alone_and_safe_from_a_loss_of_power(tmp_path: Path) -> None:
    database = Database(tmp_path)
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    assert [database.read(f"PRAGMA {pragma}")[0][0] for pragma in pragmas] == ["wal", 2, 1]
    database.close()


async def test_a_migration_keeps_what_is_there(tmp_path: Path) -> None:
    first = Database(tmp_path, migrations=(TABLE,))
    await first.write(thing("one"))
    first.close()
    second = Database(tmp_path, migrations=(TABLE, "ALTER TABLE things ADD COLUMN size INTEGER DEFAULT 7"))
    assert second.read("SELECT name, size FROM things") == [("one", 7)]
    assert second.read("PRAGMA user_version") == [(2,)]
    second.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    first = Database(tmp_path, migrations=(TABLE,))
    await first.write(thing("one"))
    first.close()
    with pytest.raises(StateDirError, match="syntax error"):
        Database(tmp_path, migrations=(TABLE, "DROP TABLE things; SELECT nothing"))
    again = Database(tmp_path, migrations=(TABLE,))
    assert names(again) == {"one"}
    again.close()


async def test_a_newer_version_is_refused_and_stays(tmp_path: Path) -> None:
    newer = Database(tmp_path, migrations=(*MIGRATIONS, TABLE))
    await newer.write(thing("one"))
    newer.close()
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StateDirError, match=r"go on with the release that used it last.*--state-dir"):
        Database(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "cut"])
async def test_one_that_cannot_be_read_is_refused_and_stays(tmp_path: Path, damage: str) -> None:
    Database(tmp_path).close()
    path = tmp_path / "state.db"
    content = path.read_bytes()
    path.write_bytes(b"\0" * len(content) if damage == "no database" else content[: len(content) // 2])
    before = path.read_bytes()
    with pytest.raises(StateDirError, match=r"state.db cannot be used: .*restore it from a backup"):
        Database(tmp_path).close()
    assert path.read_bytes() == before


async def test_on_a_full_disk_a_write_fails_and_what_has_happened_waits_until_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        database = Database(disk.path, migrations=(TABLE,))
        await database.write(thing("before"))
        disk.fill()
        long, told = "x" * 100_000, list[str]()
        with pytest.raises(UnavailableError, match="cannot write its state: database or disk is full"):
            await database.write(thing(f"refused {long}"))
        assert await database.note(thing(f"first {long}"), then=lambda: told.append("first")) is False
        assert await database.note(thing(f"second {long}"), then=lambda: told.append("second")) is False
        with pytest.raises(UnavailableError, match="disk is full"):
            database.require_room()
        assert (names(database), told) == ({"before"}, [])
        disk.empty()
        async with asyncio.timeout(10):
            while len(told) < 2:
                await asyncio.sleep(0.01)
        database.require_room()
        assert await database.write(thing("after"))
        assert names(database) == {"before", f"first {long}", f"second {long}", "after"}
        assert told == ["first", "second"]
        assert database.read("PRAGMA integrity_check") == [("ok",)]
        database.close()


async def test_events_go_on_from_their_token_in_the_next_life(tmp_path: Path) -> None:
    first = Database(tmp_path)
    log = EventLog(first)
    seen = log.watch("")
    await anext(seen)
    log.add("created", "one")
    token = (await anext(seen)).token
    log.add("running", "one")
    await seen.aclose()
    first.close()
    second = Database(tmp_path)
    log = EventLog(second)
    log.add("paused", "one")
    events = log.watch(token)
    assert [(await anext(events)).type for _ in range(3)] == ["watching", "running", "paused"]
    await events.aclose()
    second.close()


async def test_nobody_is_told_of_an_event_that_is_not_on_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path)
    log = EventLog(database)
    events = log.watch("")
    await anext(events)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    log.add("created", "one")
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    assert (await waiting).id == "one"
    await events.aclose()
    database.close()

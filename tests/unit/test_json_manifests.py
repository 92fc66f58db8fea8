"""Snapshots of versions before the database are moved into it, once; what cannot be read stays."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.orchestrator.core.json_manifests import move_json_manifests
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.schema import MIGRATIONS

KEY = b"k" * 32


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    # As the version before has left it.
    connection = sqlite3.connect(tmp_path / "state.db")
    for number, sql in enumerate(MIGRATIONS[:2], 1):
        connection.executescript(f"{sql}; PRAGMA user_version = {number}")
    connection.execute("INSERT INTO events VALUES (7, 'removed', 'one', 1.5, '')")
    connection.commit()
    connection.close()
    database = Database(tmp_path)
    yield database
    database.close()


def write(directory: Path, name: str, content: bytes, /, **changes: Any) -> Path:
    """Write a snapshot as the versions before have done."""
    directory.mkdir(exist_ok=True)
    (directory / "key").write_bytes(KEY)
    path = directory / name
    if name.endswith(".tar"):
        files = {"": content}
        path.write_bytes(content)
    else:
        files = {"one.img": content, "two.img": b"two"}
        path.mkdir()
        for file, text in files.items():
            (path / file).write_bytes(text)
    fields = {
        "format": 1,
        "name": name,
        "runtime": "bubblewrap",
        "image": "host",
        "image_digest": "sha256:1",
        "created": 12.5,
        "files": {file: [len(text), hashlib.sha256(text).hexdigest()] for file, text in files.items()},
        "details": {"engine_bytes": "100", "note": "kept"},
        "start": {"memory_mb": 64, "env": ["A=b"]},
    } | changes
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    mac = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    manifest = directory / f"{name}.json"
    manifest.write_text(json.dumps(fields | {"hmac": mac}, indent=1))
    return path


async def moved(state_dir: Path, database: Database) -> Snapshots:
    snapshots = Snapshots(state_dir / "snapshots", database)
    await move_json_manifests(snapshots, database)
    await snapshots.open()
    return snapshots


async def test_they_are_moved_and_their_files_stay_where_they_are(tmp_path: Path, database: Database) -> None:
    directory = tmp_path / "snapshots"
    paths = [
        write(directory, f"{'a' * 32}.tar", b"content"),
        write(directory, f"{'b' * 32}.checkpoint", b"one", created=13.5, runtime="gvisor"),
    ]
    for _ in range(2):
        snapshots = await moved(tmp_path, database)
        one, two = snapshots.listed()
        assert [one.path, two.path] == paths
        assert (one.id, one.runtime, one.image, one.image_digest) == (
            f"snap-{'a' * 20}",
            "bubblewrap",
            "host",
            "sha256:1",
        )
        assert (one.created, one.size, dict(one.details)) == (12.5, 107, {"note": "kept"})
        assert (one.start.memory_mb, one.start.env) == (64, ("A=b",))
        assert snapshots.get(str(paths[1])) == two
        with snapshots.files.reading(one), snapshots.files.reading(two):
            pass
    assert set(directory.iterdir()) == set(paths)
    assert database.read("SELECT position FROM events") == [(7,)]


async def test_one_of_the_first_version_has_nothing_that_a_start_inherits(
    tmp_path: Path, database: Database
) -> None:
    path = write(tmp_path / "snapshots", f"{'a' * 32}.tar", b"content")
    manifest = path.with_name(f"{path.name}.json")
    fields = json.loads(manifest.read_text())
    del fields["hmac"], fields["start"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    fields["hmac"] = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    manifest.write_text(json.dumps(fields))
    (found,) = (await moved(tmp_path, database)).listed()
    assert found.start.memory_mb == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("text", "it cannot be read"),
        ("mac", "has not made it"),
        ("field", "has not made it"),
        ("key", "has not made it"),
        ("name", "has not made it"),
        ("format", "has the format 2 of another version"),
    ],
)
async def test_what_cannot_be_read_stays_and_is_told_of(
    tmp_path: Path, database: Database, change: str, why: str
) -> None:
    directory = tmp_path / "snapshots"
    good = write(directory, f"{'a' * 32}.tar", b"content")
    changes = {"format": 2} if change == "format" else {"name": "other"} if change == "name" else {}
    bad = write(directory, f"{'b' * 32}.tar", b"other", **changes)
    manifest = bad.with_name(f"{bad.name}.json")
    text = manifest.read_text()
    if change == "text":
        manifest.write_text("{")
    elif change == "mac":
        manifest.write_text(json.dumps(json.loads(text) | {"hmac": "0" * 64}))
    elif change == "field":
        manifest.write_text(json.dumps(json.loads(text) | {"runtime": "gvisor"}))
    elif change == "key":
        (directory / "key").write_bytes(b"other")
        good.unlink()
        good.with_name(f"{good.name}.json").unlink()
    expected = set(directory.iterdir()) - {good.with_name(f"{good.name}.json")}
    for _ in range(2):
        snapshots = await moved(tmp_path, database)
        assert [found.path for found in snapshots.listed()] == ([] if change == "key" else [good])
        assert why in snapshots.unreadable[manifest]
        assert set(directory.iterdir()) == expected


async def test_a_manifest_without_its_files_is_of_a_snapshot_that_was_being_removed(
    tmp_path: Path, database: Database
) -> None:
    write(tmp_path / "snapshots", f"{'a' * 32}.tar", b"content").unlink()
    assert (await moved(tmp_path, database)).listed() == []
    assert list((tmp_path / "snapshots").iterdir()) == []

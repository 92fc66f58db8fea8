"""What another version may have written is kept, and told of; nothing of it is taken for rubbish."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.errors import InvalidArgumentError
from flash_sandbox.orchestrator.core.json_records import move_json_records
from flash_sandbox.orchestrator.images import records as image_records
from flash_sandbox.orchestrator.images.manifests import ImageConfig
from flash_sandbox.orchestrator.images.store import ImageStore
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.directory import StateDirError, state_directory


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    (tmp_path / "layer").mkdir()
    store = Snapshots(tmp_path / "snapshots")
    store.open()
    return store


def rewrite(manifest: Path, key: bytes, **changes: Any) -> None:
    """Write a manifest as another version would, which has the same key."""
    fields = json.loads(manifest.read_text()) | changes
    fields.pop("hmac")
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    manifest.write_text(json.dumps(fields | {"hmac": mac}))


def test_a_snapshot_of_another_format_stays_and_is_told_of(store: Snapshots, tmp_path: Path) -> None:
    path = store.write(tmp_path / "layer", "bubblewrap", "host")
    manifest = path.with_name(path.name + ".json")
    rewrite(manifest, (tmp_path / "snapshots" / "key").read_bytes(), format=2)
    store.open()
    assert (store.list(), list(store.unreadable())) == ([], [str(manifest)])
    assert "format 2 of another version" in store.unreadable()[str(manifest)]
    assert store.remove(str(path), "bubblewrap") is None
    with pytest.raises(InvalidArgumentError, match="format 2"), store.reading(str(path)):
        pytest.fail("it was opened")
    assert (path.exists(), manifest.exists()) == (True, True)


def test_a_manifest_that_cannot_be_read_stays_also_where_its_snapshot_lies_elsewhere(
    store: Snapshots, tmp_path: Path
) -> None:
    manifest = tmp_path / "snapshots" / "abc.tar.json"
    manifest.write_text("{}")
    store.open()
    assert list(store.unreadable()) == [str(manifest)]


def test_a_record_of_an_image_that_cannot_be_read_is_told_of_and_kept_when_it_is_made_anew(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    store = ImageStore(tmp_path, report=lambda event, **fields: told.append((event, fields)))
    store.open()
    records = image_records.Records(tmp_path / "records")
    record = image_records.Record(
        "docker.io/library/a:1", "", "sha256:1", "sha256:2", ("sha256:3",), ImageConfig()
    )
    records.put(record)
    (path,) = (tmp_path / "records").iterdir()
    path.write_text('{"of": "tomorrow"}')
    store.open()
    assert told == [("image record not usable", {"path": str(path)})]
    records.put(record)
    assert records.get(record.name) == record
    assert path.with_suffix(".unreadable").read_text() == '{"of": "tomorrow"}'
    store.open()
    assert path.with_suffix(".unreadable").exists()


async def test_a_state_directory_of_another_version_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("3\n")
    with pytest.raises(StateDirError, match=r"has the version '3'.*name another directory"):
        async with state_directory(tmp_path):
            pytest.fail("it was used")
    assert [path.name for path in tmp_path.iterdir()] == ["version"]


@pytest.mark.parametrize("text", [None, "1\n"])
async def test_a_state_directory_of_a_version_before_the_database_is_refused_by_it_once_it_was_moved(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "version").write_text(text)
    async with state_directory(tmp_path):
        assert [path.read_text() for path in tmp_path.iterdir()] == ([] if text is None else [text])
        database = Database(tmp_path)
        await move_json_records(tmp_path, database)
        database.close()
    assert (tmp_path / "version").read_text() == "2\n"
    async with state_directory(tmp_path):
        pass

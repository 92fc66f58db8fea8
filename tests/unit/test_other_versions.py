"""What another version may have written is kept, and told of; nothing of it is taken for rubbish."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash_sandbox.orchestrator.core.json_records import move_json_records
from flash_sandbox.orchestrator.images import records as image_records
from flash_sandbox.orchestrator.images.manifests import ImageConfig
from flash_sandbox.orchestrator.images.store import ImageStore
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.directory import StateDirError, state_directory


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

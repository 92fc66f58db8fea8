"""The snapshot store: a snapshot is its row and its files; what was changed is refused before it is used."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from flash_sandbox.errors import AlreadyExistsError, InvalidArgumentError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.snapshots.manifest import Manifest
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.directory import StateDirError


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path)
    yield database
    database.close()


@pytest.fixture
async def store(tmp_path: Path, database: Database) -> Snapshots:
    return await opened(tmp_path, database)


async def opened(state_dir: Path, database: Database) -> Snapshots:
    store = Snapshots(state_dir / "snapshots", database)
    await store.open()
    return store


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "file").write_text("content")
    return layer


@pytest.fixture
async def one(store: Snapshots, layer: Path) -> Manifest:
    made = store.files.write(layer, "bubblewrap", "host", "sha256:abc")
    await store.add(made)
    return made


@pytest.fixture
async def several(store: Snapshots) -> Manifest:
    def fill(directory: Path) -> None:
        (directory / "one.img").write_bytes(b"one")
        (directory / "two.img").write_bytes(b"two" * 1000)

    made = store.files.make(fill, "gvisor", "host", details={"note": "kept"})
    await store.add(made)
    return made


def dropping(store: Snapshots, dropped: list[Manifest]):
    async def drop(snapshot: Manifest) -> None:
        store.files.remove(snapshot)
        dropped.append(snapshot)

    return drop


def assert_refused(store: Snapshots, snapshot: Manifest) -> None:
    with pytest.raises(InvalidArgumentError) as caught, store.files.reading(snapshot):
        pytest.fail("it was opened")
    assert caught.value.reason == "snapshot_refused"


async def test_what_was_added_is_there_in_the_next_life(
    store: Snapshots, one: Manifest, several: Manifest, tmp_path: Path, database: Database
) -> None:
    again = await opened(tmp_path, database)
    assert again.listed() == [one, several]
    with again.files.reading(again.get(one.id)), again.files.reading(again.get(several.id)):
        pass


def test_what_its_sandbox_was_started_with_is_kept(store: Snapshots, layer: Path) -> None:
    start = StartRequest(
        name="one", command=("a",), memory_mb=7, cpu_cores=0.5, pids=20, shm_mb=3, env=("A=b",), user="1:2"
    )
    made = store.files.write(layer, "bubblewrap", "host", start=start)
    assert made.start == replace(start, name="", command=())


def test_everything_is_for_its_owner_alone(
    store: Snapshots, one: Manifest, several: Manifest, tmp_path: Path
) -> None:
    for place in (tmp_path / "snapshots").rglob("*"):
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600), place


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_changed_bit_is_noticed(store: Snapshots, one: Manifest, position: int) -> None:
    path = one.layers[0].path
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert_refused(store, one)


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_a_truncated_file_is_refused(store: Snapshots, one: Manifest, size: int) -> None:
    os.truncate(one.layers[0].path, size)
    assert_refused(store, one)


def test_a_longer_file_is_refused(store: Snapshots, one: Manifest) -> None:
    with one.layers[0].path.open("ab") as file:
        file.write(b"\0")
    assert_refused(store, one)


def test_a_missing_file_is_refused(store: Snapshots, several: Manifest) -> None:
    several.file("one.img").unlink()
    assert_refused(store, several)


def test_a_file_too_many_is_refused(store: Snapshots, several: Manifest) -> None:
    several.file("three.img").touch()
    assert_refused(store, several)


@pytest.mark.parametrize("replace", ["file", "whole"])
def test_a_link_is_not_followed(store: Snapshots, several: Manifest, tmp_path: Path, replace: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(several.path, copy)
    if replace == "file":
        several.file("one.img").unlink()
        several.file("one.img").symlink_to(copy / "one.img")
    else:
        shutil.rmtree(several.path)
        several.path.symlink_to(copy)
    assert_refused(store, several)


def test_what_is_no_file_is_refused_without_waiting(store: Snapshots, several: Manifest) -> None:
    several.file("one.img").unlink()
    os.mkfifo(several.file("one.img"))
    assert_refused(store, several)


async def test_one_is_found_by_its_id_its_name_and_its_path(store: Snapshots, several: Manifest) -> None:
    named = replace(store.files.make(lambda directory: None, "docker", "host"), name="base")
    await store.add(named)
    assert [store.get(reference) for reference in (named.id, "base", str(named.path))] == [named] * 3


@pytest.mark.parametrize("reference", ["", "none", "snap-", "{path}/", "{path}/../{id}", "key", "a\0"])
def test_what_is_no_snapshot_is_refused(store: Snapshots, one: Manifest, reference: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        store.get(reference.format(path=one.path, id=one.id))
    assert caught.value.reason == "snapshot_refused"


async def test_a_name_is_one_snapshots_alone(
    store: Snapshots, one: Manifest, tmp_path: Path, database: Database
) -> None:
    named = replace(store.files.make(lambda directory: None, "docker", "host"), name="base")
    with store.reserved("base"):
        taken = pytest.raises(AlreadyExistsError, match="is being made with the name 'base'")
        with taken, store.reserved("base"):
            pytest.fail("it was made twice")
        await store.add(named)
    again = await opened(tmp_path, database)
    for taken in ("base", one.id):
        with pytest.raises(AlreadyExistsError, match="is named"), again.reserved(taken):
            pytest.fail("it was made twice")
    dropped: list[Manifest] = []
    await again.remove(named, dropping(again, dropped))
    with again.reserved("base"), again.reserved(""), again.reserved(""):
        pass


async def test_they_are_listed_by_their_labels(store: Snapshots, one: Manifest) -> None:
    made = [store.files.make(lambda directory: None, "docker", "host") for _ in range(2)]
    first, second = replace(made[0], labels=("a=1", "b=2")), replace(made[1], labels=("a=1",))
    for snapshot in (first, second):
        await store.add(snapshot)
    assert store.listed(["a=1"]) == [first, second]
    assert store.listed(["b=2", "a=1"]) == [first]
    assert store.listed(["c=3"]) == []


def test_the_image_may_be_named_again_but_not_changed(one: Manifest) -> None:
    assert one.image_for("") == one.image_for("host") == "host"
    with pytest.raises(InvalidArgumentError, match="is of image 'host'"):
        one.image_for("alpine")


def test_what_is_told_of_a_snapshot(several: Manifest) -> None:
    info = several.info
    assert (info.snapshot_path, info.type, info.image, info.size_bytes) == (
        str(several.path),
        "gvisor",
        "host",
        3003,
    )
    assert 0 <= time.time() - info.created_at < 60


async def test_what_was_removed_is_gone(
    store: Snapshots, one: Manifest, several: Manifest, tmp_path: Path, database: Database
) -> None:
    dropped: list[Manifest] = []
    for snapshot in (one, several):
        await store.remove(snapshot, dropping(store, dropped))
        with pytest.raises(InvalidArgumentError, match="was removed"):
            await store.remove(snapshot, dropping(store, dropped))
    assert (dropped, store.listed(), store.present()) == ([one, several], [], [])
    assert list((tmp_path / "snapshots").iterdir()) == []
    assert (await opened(tmp_path, database)).listed() == []


async def test_what_is_in_use_is_removed_once_it_is_not(store: Snapshots, one: Manifest) -> None:
    dropped: list[Manifest] = []
    async with store.using(one), store.using(one):
        async with store.using(one):
            await store.remove(one, dropping(store, dropped))
            assert (store.listed(), store.present()) == ([], [one])
        with store.files.reading(one):
            assert dropped == []
    assert (dropped, store.present(), one.path.exists()) == ([one], [], False)
    with pytest.raises(InvalidArgumentError, match="was removed"):
        async with store.using(one):
            pytest.fail("it was used")


async def test_one_that_no_client_knows_is_used_and_goes_at_the_end(store: Snapshots, layer: Path) -> None:
    dropped: list[Manifest] = []
    made = store.files.write(layer, "bubblewrap", "host")
    async with store.holding(made, dropping(store, dropped)):
        async with store.using(made):
            assert (store.listed(), store.present()) == ([], [made])
        assert dropped == []
    assert (dropped, made.path.exists()) == ([made], False)


async def test_what_has_no_row_is_removed_when_the_store_is_opened(
    store: Snapshots, one: Manifest, several: Manifest, tmp_path: Path, database: Database
) -> None:
    directory = tmp_path / "snapshots"
    (directory / "snap-1.partial").mkdir()
    (directory / "snap-2").mkdir()
    (directory / "file").touch()
    store.files.write(tmp_path / "layer", "bubblewrap", "host")
    await opened(tmp_path, database)
    assert set(directory.iterdir()) == {one.path, several.path}


def test_a_snapshot_that_fails_leaves_nothing(store: Snapshots, tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "one.img").write_bytes(b"one")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.files.make(fail, "gvisor", "host")
    assert list((tmp_path / "snapshots").iterdir()) == []


async def test_a_row_that_cannot_be_read_is_refused_and_nothing_is_removed(
    one: Manifest, tmp_path: Path, database: Database
) -> None:
    await database.write(("UPDATE snapshots SET files = '[1]'", ()))
    with pytest.raises(StateDirError, match=f"snapshot {one.id} in the database cannot be read"):
        await opened(tmp_path, database)
    assert one.path.exists()

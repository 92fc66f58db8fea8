"""The snapshot store: what is authentic is read, anything else is refused before a byte of it is used."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flash_sandbox.errors import InvalidArgumentError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.snapshots.store import Snapshots


@pytest.fixture
def store(tmp_path) -> Snapshots:
    store = Snapshots(tmp_path / "snapshots")
    store.open()
    return store


@pytest.fixture
def layer(tmp_path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "file").write_text("content")
    return layer


@pytest.fixture
def path(store, layer) -> Path:
    return store.write(layer, "bubblewrap", "host", "sha256:abc", note="kept")


@pytest.fixture
def several(store) -> Path:
    with store.writing("gvisor", "host") as (files, path):
        (files / "one.img").write_bytes(b"one")
        (files / "two.img").write_bytes(b"two" * 1000)
    return path


def manifest_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def assert_refused(store: Snapshots, path: Path | str) -> None:
    with pytest.raises(InvalidArgumentError) as caught, store.reading(str(path)):
        pytest.fail("it was opened")
    assert caught.value.reason == "snapshot_refused"


def test_what_was_written_is_read(store, path):
    with store.reading(str(path)) as snapshot:
        assert (snapshot.manifest.runtime, snapshot.manifest.image) == ("bubblewrap", "host")
        assert snapshot.manifest.image_digest == "sha256:abc"
        assert snapshot.manifest.details == {"note": "kept"}
        assert snapshot.manifest.size == path.stat().st_size
        assert snapshot.descriptors[""].read() == path.read_bytes()


def test_what_its_sandbox_was_started_with_is_kept(store, layer):
    start = StartRequest(
        name="one", command=("a",), memory_mb=7, cpu_cores=0.5, pids=20, shm_mb=3, env=("A=b",), user="1:2"
    )
    path = store.write(layer, "bubblewrap", "host", start=start)
    assert store.origin(str(path)) == replace(start, name="", command=())


def test_one_whose_manifest_is_of_an_older_orchestrator_is_read(store, path):
    fields = json.loads(manifest_of(path).read_text())
    del fields["hmac"], fields["start"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    key = (path.parent / "key").read_bytes()
    fields["hmac"] = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    manifest_of(path).write_text(json.dumps(fields))
    assert store.origin(str(path)) == StartRequest()
    with store.reading(str(path)) as snapshot:
        assert snapshot.manifest.image == "host"


def test_what_its_sandbox_was_started_with_is_authenticated(store, path):
    fields = json.loads(manifest_of(path).read_text())
    fields["start"]["memory_mb"] = 10**6
    manifest_of(path).write_text(json.dumps(fields))
    with pytest.raises(InvalidArgumentError, match="not one that this orchestrator made"):
        store.origin(str(path))


def test_several_files_are_read(store, several):
    with store.reading(str(several)) as snapshot:
        assert {name: file.read(3) for name, file in snapshot.descriptors.items()} == {
            "one.img": b"one",
            "two.img": b"two",
        }
        assert snapshot.manifest.size == 3003


def test_no_path_is_no_snapshot(store):
    with store.reading("") as snapshot:
        assert snapshot is None


def test_everything_is_for_its_owner_alone(store, path, several, tmp_path):
    for place in (tmp_path / "snapshots").rglob("*"):
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600), place


@pytest.mark.parametrize("position", [0, 100, -1])
def test_one_changed_bit_is_noticed(store, path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert_refused(store, path)


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_a_truncated_file_is_refused(store, path, size):
    os.truncate(path, size)
    assert_refused(store, path)


def test_a_longer_file_is_refused(store, path):
    with path.open("ab") as file:
        file.write(b"\0")
    assert_refused(store, path)


@pytest.mark.parametrize(
    "field", ["runtime", "image", "image_digest", "created", "files", "details", "name", "format"]
)
def test_a_changed_manifest_is_refused(store, path, field):
    fields = json.loads(manifest_of(path).read_text())
    fields[field] = {"": [1, "0" * 64]} if field == "files" else {} if field == "details" else "other"
    manifest_of(path).write_text(json.dumps(fields))
    assert_refused(store, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"hmac": 1}', '{"hmac": ""}', "\0", "9" * 100_000])
def test_a_manifest_that_is_none_is_refused(store, path, text):
    manifest_of(path).write_text(text)
    assert_refused(store, path)


def test_a_manifest_is_no_other_snapshots(store, layer, path):
    other = store.write(layer, "bubblewrap", "host")
    shutil.copy(manifest_of(path), manifest_of(other))
    assert_refused(store, other)


def test_another_stores_snapshot_is_refused(store, path, tmp_path):
    other = Snapshots(tmp_path / "other")
    other.open()
    for file in (path, manifest_of(path)):
        shutil.copy(file, tmp_path / "other" / file.name)
    assert_refused(other, tmp_path / "other" / path.name)


def test_a_missing_file_is_refused(store, several):
    (several / "one.img").unlink()
    assert_refused(store, several)


def test_a_file_too_many_is_refused(store, several):
    (several / "three.img").touch()
    assert_refused(store, several)


@pytest.mark.parametrize("replace", ["file", "whole"])
def test_a_link_is_not_followed(store, several, tmp_path, replace):
    copy = tmp_path / "copy"
    shutil.copytree(several, copy)
    if replace == "file":
        (several / "one.img").unlink()
        (several / "one.img").symlink_to(copy / "one.img")
    else:
        shutil.rmtree(several)
        several.symlink_to(copy)
    assert_refused(store, several)


def test_what_is_no_file_is_refused_without_waiting(store, path):
    path.unlink()
    os.mkfifo(path)
    assert_refused(store, path)


@pytest.mark.parametrize("name", ["../layer.tar", "key", "x.tar\0", ".tar", "none.tar", "sub/x.tar", ""])
def test_a_path_outside_the_store_is_refused(store, path, tmp_path, name):
    assert_refused(store, f"{tmp_path}/snapshots/{name}")


def test_another_runtimes_snapshot_is_refused(store, path):
    with (
        store.reading(str(path)) as snapshot,
        pytest.raises(InvalidArgumentError, match="made by the bubblewrap"),
    ):
        snapshot.manifest.require_runtime("gvisor")


def test_the_image_may_be_named_again_but_not_changed(store, path):
    with store.reading(str(path)) as snapshot:
        assert snapshot.manifest.image_for("") == snapshot.manifest.image_for("host") == "host"
        with pytest.raises(InvalidArgumentError, match="is of image 'host'"):
            snapshot.manifest.image_for("alpine")


def test_the_store_lists_what_is_authentic_the_oldest_first(store, path, several, layer):
    forged = store.write(layer, "bubblewrap", "host")
    manifest_of(forged).write_text("{}")
    assert [manifest.path for manifest in store.list()] == [path, several]


def test_the_store_lists_what_one_runtime_has_made(store, path, several):
    assert [manifest.path for manifest in store.list("gvisor")] == [several]


def test_what_is_told_of_a_snapshot_is_in_its_manifest(store, several):
    (info,) = (manifest.info for manifest in store.list())
    assert (info.snapshot_path, info.type, info.image, info.size_bytes) == (
        str(several),
        "gvisor",
        "host",
        3003,
    )
    assert 0 <= time.time() - info.created_at < 60


def test_what_was_removed_is_gone(store, path, several, tmp_path):
    removed = [store.remove(str(path), "bubblewrap"), store.remove(str(several), "gvisor")]
    assert [manifest.path for manifest in removed] == [path, several]
    assert [place.name for place in (tmp_path / "snapshots").iterdir()] == ["key"]
    assert store.list() == []
    assert_refused(store, path)
    assert store.remove(str(path), "bubblewrap") is None


def test_only_a_snapshot_of_the_store_is_removed(store, path, layer):
    for name in (str(layer), str(path) + "x.tar", str(path.parent / "key"), "/"):
        assert store.remove(name, "bubblewrap") is None
    assert layer.is_dir()
    assert path.exists()


def test_only_a_snapshot_of_the_runtime_is_removed(store, path):
    assert store.remove(str(path), "gvisor") is None
    with store.reading(str(path)):
        pass


def test_what_is_being_read_is_removed_once_it_has_been(store, several):
    with store.reading(str(several)), store.reading(str(several)) as snapshot:
        store.remove(str(several), "gvisor")
        assert store.list() == []
        assert_refused(store, several)
        assert snapshot.manifest.path.joinpath("one.img").read_bytes() == b"one"
    assert not several.exists()


def test_what_was_not_completed_is_removed_when_the_store_is_opened(store, path, several, tmp_path):
    directory = tmp_path / "snapshots"
    (directory / "a.tar.partial").touch()
    (directory / "b.checkpoint.partial").mkdir()
    (directory / "c.tar").touch()
    (directory / "d.checkpoint").mkdir()
    gone = store.write(tmp_path / "layer", "bubblewrap", "host")
    gone.unlink()
    (directory / "key.1234.partial").touch()
    store.open()
    kept = {path.name, several.name, manifest_of(path).name, manifest_of(several).name, "key"}
    assert {place.name for place in directory.iterdir()} == kept
    with store.reading(str(path)), store.reading(str(several)):
        pass


def test_what_is_being_written_stays_when_the_store_is_opened(store):
    with store.writing("gvisor", "host") as (files, path):
        (files / "one.img").write_bytes(b"one")
        store.open()
    with store.reading(str(path)) as snapshot:
        assert list(snapshot.descriptors) == ["one.img"]


def test_a_snapshot_that_fails_leaves_nothing(store, tmp_path):
    def fail() -> None:
        with store.writing("gvisor", "host") as (files, _):
            (files / "one.img").write_bytes(b"one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [place.name for place in (tmp_path / "snapshots").iterdir()] == ["key"]


def test_a_reopened_store_keeps_its_key(store, path, tmp_path):
    again = Snapshots(tmp_path / "snapshots")
    again.open()
    with again.reading(str(path)) as snapshot:
        assert snapshot.manifest.image == "host"

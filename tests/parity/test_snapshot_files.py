"""Snapshots leave an orchestrator as files and come back, over either transport."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flash_sandbox import AlreadyExistsError, InvalidArgumentError, Sandbox, SandboxAPI, SnapshotResult


@pytest.fixture
def snapshot(client: SandboxAPI, sandbox_id: str) -> SnapshotResult:
    # More than goes out at once.
    script = "head -c 3000000 /dev/urandom > /tmp/random; sha256sum /tmp/random > /tmp/sum"
    client.exec_command(sandbox_id, script).check()
    return client.snapshot_sandbox(sandbox_id, labels={"a": "b"})


def files_of(snapshot: SnapshotResult) -> set[str]:
    return {path.name for path in Path(snapshot.snapshot_path).parent.iterdir()}


def test_a_snapshot_that_was_exported_is_imported_and_started_from(
    client: SandboxAPI, snapshot: SnapshotResult, tmp_path: Path
) -> None:
    file = tmp_path / "exported"
    assert client.export_snapshot(snapshot.id, file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (file.stat().st_mode & 0o777, [path.name for path in tmp_path.iterdir()]) == (0o600, ["exported"])
    client.remove_snapshot(snapshot.id)
    added = client.import_snapshot(str(file), name="imported")
    assert added.id != snapshot.id
    assert (added.name, added.labels, added.type, added.image) == ("imported", ("a=b",), "bubblewrap", "host")
    assert added.size_bytes == snapshot.size_bytes
    assert added in client.list_snapshots()
    with Sandbox.create(client=client, snapshot="imported", memory_mb=64) as copy:
        assert copy.run("cd /tmp && sha256sum -c sum").ok
    with pytest.raises(AlreadyExistsError, match=f"snapshot {added.id} is named 'imported'"):
        client.import_snapshot(file, name="imported")
    again = client.import_snapshot(file)
    assert (again.name, again.id != added.id) == ("", True)
    for made in (added, again):
        client.remove_snapshot(made.id)


@pytest.mark.parametrize("change", ["cut", "bit", "more", "other"])
def test_a_file_that_is_damaged_is_refused_and_leaves_nothing(
    client: SandboxAPI, snapshot: SnapshotResult, tmp_path: Path, change: str
) -> None:
    file = tmp_path / "exported"
    client.export_snapshot(snapshot.snapshot_path, file)
    content = bytearray(file.read_bytes())
    if change == "bit":
        content[len(content) // 2] ^= 1
    damaged = {"cut": content[:-1024], "bit": content, "more": content + b"\0", "other": b"x" * 100_000}
    file.write_bytes(damaged[change])
    before, known = files_of(snapshot), client.list_snapshots()
    with pytest.raises(InvalidArgumentError, match="no snapshot that was exported") as caught:
        client.import_snapshot(file, name="damaged")
    assert caught.value.reason == "snapshot_refused"
    assert (files_of(snapshot), client.list_snapshots()) == (before, known)


def test_what_is_no_snapshot_is_not_exported_and_leaves_no_file(client: SandboxAPI, tmp_path: Path) -> None:
    (tmp_path / "exported").write_text("before")
    with pytest.raises(InvalidArgumentError, match="'none' is not a snapshot"):
        client.export_snapshot("none", tmp_path / "exported")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_one_that_was_changed_is_not_exported(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    client.exec_command(sandbox_id, "echo small > /tmp/file").check()
    snapshot = client.snapshot_sandbox(sandbox_id)
    (layer,) = Path(snapshot.snapshot_path).iterdir()
    with layer.open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(InvalidArgumentError, match="was changed after it had been made") as caught:
        client.export_snapshot(snapshot.id, tmp_path / "exported")
    assert caught.value.reason == "snapshot_refused"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_an_error_of_this_machine(client: SandboxAPI, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.import_snapshot(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        client.export_snapshot("none", tmp_path / "none" / "file")

"""A snapshot leaves as one file and comes back, whatever runtime has made it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from every_runtime import Runtime


def test_one_that_was_exported_and_imported_is_started_from(runtime: Runtime, tmp_path: Path) -> None:
    client, file = runtime.client, tmp_path / "exported"
    with runtime.sandbox(env={"OF_THE_START": "kept"}) as sandbox:
        runtime.sh(sandbox, "mkdir /kept; head -c 3000000 /dev/urandom > /kept/random; rm -f /etc/passwd")
        expected = runtime.sh(sandbox, "sha256sum /kept/random")
        snapshot = client.snapshot_sandbox(sandbox, labels={"a": "b"})
    assert client.export_snapshot(snapshot.id, file) == hashlib.sha256(file.read_bytes()).hexdigest()
    client.remove_snapshot(snapshot.id)
    added = client.import_snapshot(file, name="imported")
    try:
        assert (added.type, added.labels) == (runtime.type, ("a=b",))
        assert added.size_bytes >= 3_000_000
        with runtime.sandbox(snapshot_path="imported") as copy:
            assert runtime.sh(copy, "sha256sum /kept/random") == expected
            assert runtime.sh(copy, "test -e /etc/passwd || echo gone; echo $OF_THE_START") == "gone\nkept\n"
    finally:
        client.remove_snapshot("imported")


def test_what_is_imported_twice_is_two_snapshots(runtime: Runtime, tmp_path: Path) -> None:
    client, file = runtime.client, tmp_path / "exported"
    with runtime.sandbox() as sandbox:
        runtime.sh(sandbox, "echo kept > /file")
        snapshot = client.snapshot_sandbox(sandbox)
    client.export_snapshot(snapshot.id, file)
    one, other = client.import_snapshot(file), client.import_snapshot(file)
    for gone in (snapshot.id, one.id):
        client.remove_snapshot(gone)
    with runtime.sandbox(snapshot_path=other.id) as copy:
        assert runtime.sh(copy, "cat /file") == "kept\n"
        again = client.snapshot_sandbox(copy)
    client.remove_snapshot(other.id)
    client.export_snapshot(again.id, file)
    client.remove_snapshot(again.id)
    last = client.import_snapshot(file)
    with runtime.sandbox(snapshot_path=last.id) as copy:
        assert runtime.sh(copy, "cat /file") == "kept\n"
    client.remove_snapshot(last.id)

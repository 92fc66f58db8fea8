"""Snapshots of files are layers: unpacked once, mounted below every sandbox that starts from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox import HTTPClient, InvalidArgumentError
from flash_sandbox.orchestrator.archives.layers import pack_layer
from flash_sandbox.orchestrator.snapshots.files import SnapshotFiles
from flash_sandbox.orchestrator.snapshots.manifest import MOST_LAYERS
from flash_sandbox.orchestrator.snapshots.transfer import packed

# All that there is, with its kind, permissions, owner, size and content.
STATE = (
    "cd /work && find . -printf '%P %y %m %U:%G %l\\n' | sort && "
    "find . -type f -print0 | sort -z | xargs -0 sha256sum"
)
# What one sandbox does to what the one before has left: N is its number.
CHANGES = """
cd /work
echo $N > new$N && echo $N >> always && chmod 6$((N % 8))4 always
rm -f new$((N - 2))
[ $((N % 3)) != 0 ] || { rm -rf tree && mkdir tree && echo $N > tree/only; }
[ $((N % 3)) != 1 ] || { echo more > tree/more$N; ln -sf more$N tree/link; }
[ $((N % 4)) != 0 ] || { rm -rf kind && mkdir kind && echo in > kind/in; }
[ $((N % 4)) != 2 ] || { rm -rf kind && echo file > kind; }
ln -f always other-name
mkdir -p deep/$N && truncate -s 1M deep/$N/hole && rm -rf deep/$((N - 3))
"""


@pytest.fixture(
    scope="module", params=["orchestrator", "orchestrator_with_range", "orchestrator_with_one_id"]
)
def serving(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(serving: Any) -> Iterator[HTTPClient]:
    with HTTPClient(address=serving.http_address) as client:
        yield client


def run(client: HTTPClient, sandbox: str, script: str, **env: str) -> str:
    return client.exec_command(sandbox, script, env=env).check().stdout


def trees(state: Path) -> int:
    return len([path for path in (state / "images" / "trees").iterdir() if path.name != "trash"])


def test_each_sandbox_of_a_chain_goes_on_where_the_one_before_was_saved(client: HTTPClient) -> None:
    snapshot, expected = None, ""
    # So many that layers are merged, twice.
    for number in range(2 * MOST_LAYERS + 2):
        sandbox = client.start_sandbox("bubblewrap", snapshot_path=snapshot)
        try:
            if snapshot is None:
                run(client, sandbox, "mkdir -p /work/tree /work/kind && touch /work/new-1")
            else:
                assert run(client, sandbox, STATE) == expected
                client.remove_snapshot(snapshot)
            run(client, sandbox, CHANGES, N=str(number))
            expected = run(client, sandbox, STATE)
            snapshot = client.snapshot_sandbox(sandbox).snapshot_path
        finally:
            client.stop_sandbox(sandbox)
    assert snapshot is not None
    client.remove_snapshot(snapshot)


def test_sandboxes_of_one_snapshot_share_its_files_and_not_their_own(
    client: HTTPClient, serving: Any
) -> None:
    first = client.start_sandbox("bubblewrap")
    run(client, first, "mkdir /work && echo shared > /work/file && ln -s file /work/link")
    snapshot = client.snapshot_sandbox(first).snapshot_path
    client.stop_sandbox(first)
    before = trees(serving.state_dir)
    sandboxes = [client.start_sandbox("bubblewrap", snapshot_path=snapshot) for _ in range(3)]
    assert trees(serving.state_dir) == before + 1
    for number, sandbox in enumerate(sandboxes):
        run(client, sandbox, f"echo {number} >> /work/file")
    client.remove_snapshot(snapshot)
    for number, sandbox in enumerate(sandboxes):
        assert run(client, sandbox, "cat /work/link") == f"shared\n{number}\n"
    # What is saved now is whole, though the snapshot below it is gone.
    again = client.snapshot_sandbox(sandboxes[0]).snapshot_path
    for sandbox in sandboxes:
        client.stop_sandbox(sandbox)
    last = client.start_sandbox("bubblewrap", snapshot_path=again)
    assert run(client, last, "cat /work/file") == "shared\n0\n"
    client.stop_sandbox(last)
    client.remove_snapshot(again)
    assert trees(serving.state_dir) == before


def test_an_imported_snapshot_is_unpacked_before_anything_starts_from_it(
    client: HTTPClient, serving: Any, tmp_path: Path
) -> None:
    before = trees(serving.state_dir)
    sandbox = client.start_sandbox("bubblewrap")
    run(client, sandbox, "echo kept > /file")
    snapshot = client.snapshot_sandbox(sandbox)
    client.stop_sandbox(sandbox)
    client.export_snapshot(snapshot.id, tmp_path / "exported")
    client.remove_snapshot(snapshot.id)
    assert trees(serving.state_dir) == before
    added = client.import_snapshot(tmp_path / "exported")
    assert trees(serving.state_dir) == before + 1
    copy = client.start_sandbox("bubblewrap", snapshot_path=added.id)
    assert run(client, copy, "cat /file") == "kept\n"
    assert trees(serving.state_dir) == before + 1
    client.remove_snapshot(added.id)
    client.stop_sandbox(copy)
    assert trees(serving.state_dir) == before


def test_an_import_whose_last_layer_is_none_leaves_nothing(
    client: HTTPClient, serving: Any, tmp_path: Path
) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "file").write_text("good")
    files = SnapshotFiles(tmp_path / "snapshots")
    files.open(())

    def fill(directory: Path) -> None:
        pack_layer(tmp_path / "layer", directory / "00")
        (directory / "01").write_bytes(b"no tar file" * 1000)

    (tmp_path / "file").write_bytes(b"".join(packed(files.make(fill, "bubblewrap", "host"))))
    before, known = trees(serving.state_dir), client.list_snapshots()
    with pytest.raises(InvalidArgumentError, match="holds what cannot be unpacked") as caught:
        client.import_snapshot(tmp_path / "file")
    assert caught.value.reason == "snapshot_refused"
    assert (trees(serving.state_dir), client.list_snapshots()) == (before, known)
    assert not list((serving.state_dir / "images" / "trees" / "trash").iterdir())


def copies(state: Path) -> list[Path]:
    return sorted((state / "sandboxes").glob("layer-*/tree"))


def test_forks_share_one_copy_that_goes_with_the_last_of_them(client: HTTPClient, serving: Any) -> None:
    first = client.start_sandbox("bubblewrap")
    run(client, first, "mkdir -p /work/deep && echo shared > /work/file && truncate -s 1G /work/hole")
    run(client, first, "ln /work/file /work/name && ln -s file /work/link && rm -rf /etc/passwd")
    expected = run(client, first, STATE)
    packed = sorted((serving.state_dir / "snapshots").iterdir())
    forks = client.fork_sandbox(first, 3)
    # Files are copied as such, and once.
    (copy,) = copies(serving.state_dir)
    assert (copy / "work" / "file").read_text() == "shared\n"
    assert sorted((serving.state_dir / "snapshots").iterdir()) == packed
    run(client, first, "echo 'not for forks' >> /work/file")
    client.stop_sandbox(first)
    for number, fork in enumerate(forks):
        assert run(client, fork, STATE) == expected
        assert run(client, fork, "test -e /etc/passwd || echo gone") == "gone\n"
        run(client, fork, f"echo {number} >> /work/file; rm /work/name")
        assert run(client, fork, "cat /work/link") == f"shared\n{number}\n"
    for fork in forks:
        assert copies(serving.state_dir) == [copy]
        client.stop_sandbox(fork)
    assert copies(serving.state_dir) == []


def test_snapshots_of_forks_and_forks_of_forks_hold_all_that_is_below(
    client: HTTPClient, serving: Any
) -> None:
    before = trees(serving.state_dir)
    sandbox = client.start_sandbox("bubblewrap")
    run(client, sandbox, "mkdir -p /work/tree /work/kind && touch /work/new-1")
    # So many that what is below is merged.
    for number in range(MOST_LAYERS + 3):
        run(client, sandbox, CHANGES, N=str(number))
        expected = run(client, sandbox, STATE)
        (fork,) = client.fork_sandbox(sandbox)
        client.stop_sandbox(sandbox)
        sandbox = fork
        assert run(client, sandbox, STATE) == expected
        if number % 4 == 2:
            snapshot = client.snapshot_sandbox(sandbox).snapshot_path
            client.resume_sandbox(sandbox)
            again = client.start_sandbox("bubblewrap", snapshot_path=snapshot)
            assert run(client, again, STATE) == expected
            client.stop_sandbox(again)
            client.remove_snapshot(snapshot)
    client.stop_sandbox(sandbox)
    assert copies(serving.state_dir) == []
    assert trees(serving.state_dir) == before


def test_a_layer_that_was_changed_is_refused_before_it_is_unpacked(client: HTTPClient) -> None:
    first = client.start_sandbox("bubblewrap")
    run(client, first, "echo a > /file")
    lower = client.snapshot_sandbox(first).snapshot_path
    client.stop_sandbox(first)
    second = client.start_sandbox("bubblewrap", snapshot_path=lower)
    run(client, second, "echo b > /other")
    upper = client.snapshot_sandbox(second).snapshot_path
    client.stop_sandbox(second)
    layer = max(Path(upper).iterdir())
    content = bytearray(layer.read_bytes())
    content[content.index(b"b\n")] ^= 1
    layer.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="was changed"):
        client.start_sandbox("bubblewrap", snapshot_path=upper)
    for path in (lower, upper):
        client.remove_snapshot(path)

"""Where the file system shares blocks (reflinks), snapshots and forks take next to no room of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import serve
from small_disk import SmallDisk, lacks_xfs, sharing_disk

from flash_sandbox import HTTPClient

CHANGED_MB = 60
MOST_BYTES = 6 << 20


@pytest.fixture
def disk(need: Callable[[str, str | None], None], tmp_path: Path) -> Iterator[SmallDisk]:
    need("xfs", lacks_xfs())
    with sharing_disk(tmp_path / "disk", 400) as disk:
        yield disk


@pytest.fixture
def client(disk: SmallDisk, limits: str) -> Iterator[HTTPClient]:
    with (
        serve(disk.path / "state", limits=limits) as serving,
        HTTPClient(address=serving.http) as client,
    ):
        yield client


def changed(client: HTTPClient) -> str:
    """Start a sandbox with large files: a whole one, and one with a hole."""
    sandbox = client.start_sandbox("bubblewrap", "host")
    half = CHANGED_MB // 2
    script = (
        f"mkdir /w; head -c {half}M /dev/urandom > /w/whole; head -c 5000 /dev/urandom >> /w/whole; "
        f"head -c {half}M /dev/urandom > /w/sparse; truncate -s 1G /w/sparse; echo end >> /w/sparse"
    )
    client.exec_command(sandbox, script).check()
    return sandbox


def sums(client: HTTPClient, sandbox: str) -> str:
    return client.exec_command(sandbox, "sha256sum /w/*").check().stdout


def test_a_snapshot_shares_the_blocks_of_its_sandbox(client: HTTPClient, disk: SmallDisk) -> None:
    sandbox = changed(client)
    before = disk.used()
    assert before > CHANGED_MB << 20
    snapshot = client.snapshot_sandbox(sandbox)
    assert snapshot.size_bytes > CHANGED_MB << 20
    assert disk.used() - before < MOST_BYTES
    copy = client.start_sandbox("bubblewrap", snapshot_path=snapshot.id)
    client.resume_sandbox(sandbox)
    assert sums(client, copy) == sums(client, sandbox)


def test_forks_share_the_blocks_of_their_sandbox(client: HTTPClient, disk: SmallDisk) -> None:
    sandbox = changed(client)
    before = disk.used()
    forks = client.fork_sandbox(sandbox, 3)
    assert disk.used() - before < MOST_BYTES
    client.exec_command(forks[0], "echo more >> /w/whole").check()
    assert disk.used() - before < MOST_BYTES + (CHANGED_MB << 20)
    assert sums(client, forks[1]) == sums(client, sandbox)

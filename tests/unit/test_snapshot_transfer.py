"""A snapshot as one file: what was packed is taken; anything else is refused, and nothing of it remains."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from snapshot_tars import changed, member

from flash_sandbox.errors import InvalidArgumentError, UnavailableError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.snapshots.files import SnapshotFiles
from flash_sandbox.orchestrator.snapshots.manifest import Manifest
from flash_sandbox.orchestrator.snapshots.transfer import Head, packed

CONTENT = {"00": b"lower" * 1000, "01": b"", "02": bytes(512), "03": b"x" * 700_000}
START = StartRequest(memory_mb=64, env=("A=b",), user="1:2")


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    files = SnapshotFiles(tmp_path / "snapshots")
    files.open(())
    return files


@pytest.fixture
def snapshot(files: SnapshotFiles) -> Manifest:
    def fill(directory: Path) -> None:
        for name, content in CONTENT.items():
            (directory / name).write_bytes(content)

    made = files.make(fill, "gvisor", "host", "sha256:1", start=START, details={"runsc": "1"})
    return replace(made, name="base", labels=("a=b",))


def admit(head: Head) -> None:
    assert head.runtime == "gvisor"


async def pieces(content: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1 << 20, 65536, 1000])
async def test_what_was_exported_is_imported(files: SnapshotFiles, snapshot: Manifest, size: int) -> None:
    content = b"".join([data async for data in files.exported(snapshot)])
    made = await files.imported(pieces(content, size), admit)
    assert made.id != snapshot.id
    expected = replace(snapshot, id=made.id, path=made.path, created=made.created, name="")
    assert (made, dict(made.files)) == (expected, dict(snapshot.files))
    with files.reading(made):
        assert {name: made.file(name).read_bytes() for name in CONTENT} == CONTENT


def test_any_tar_reads_it_and_it_ends_with_the_sum_of_what_is_before(snapshot: Manifest) -> None:
    content = b"".join(packed(snapshot))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == [
            "snapshot.json",
            *(f"files/{name}" for name in CONTENT),
            "sha256",
        ]
        digest = tar.extractfile("sha256")
        assert digest is not None
        assert digest.read().decode() == hashlib.sha256(content[: members[-1].offset]).hexdigest()


def test_one_that_was_changed_is_not_packed_to_its_end(snapshot: Manifest) -> None:
    for change in (b"x" * 700_001, b"x" * 699_999, b"y" * 700_000):
        snapshot.file("03").write_bytes(change)
        with pytest.raises(InvalidArgumentError, match="was changed"):
            list(packed(snapshot))


async def assert_refused(files: SnapshotFiles, content: bytes, match: str) -> None:
    before = set(files.directory.iterdir())
    with pytest.raises(InvalidArgumentError, match=match) as caught:
        await files.imported(pieces(content), admit)
    assert caught.value.reason == "snapshot_refused"
    assert set(files.directory.iterdir()) == before


@pytest.mark.parametrize("length", [0, 1, 511, 512, 5000, 300_000, -1, -1024, -2048])
async def test_one_that_is_cut_is_refused(files: SnapshotFiles, snapshot: Manifest, length: int) -> None:
    content = b"".join(packed(snapshot))
    await assert_refused(files, content[:length], "it ends too early")


async def test_one_that_goes_on_is_refused(files: SnapshotFiles, snapshot: Manifest) -> None:
    await assert_refused(files, b"".join(packed(snapshot)) + b"\0", "goes on after its end")


async def test_each_changed_bit_is_noticed(files: SnapshotFiles, snapshot: Manifest) -> None:
    content = b"".join(packed(snapshot))
    # Each kind of place: headers, the description, files, what fills blocks up, the sum, the end.
    places = [*range(0, 3000, 37), *range(3000, len(content) - 3000, 50_021), *range(-3000, 0, 61)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1
        await assert_refused(files, bytes(damaged), "no snapshot that was exported")


def rewritten(snapshot: Manifest, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the file of a snapshot that tells something else of itself, with the right sum."""
    return changed(b"".join(packed(snapshot)), lambda head, files: change(head))


async def test_a_description_that_is_as_it_must_be_is_taken(files: SnapshotFiles, snapshot: Manifest) -> None:
    content = rewritten(snapshot, lambda head: head.update(image="other"))
    assert (await files.imported(pieces(content), admit)).image == "other"


def hostile() -> Iterator[Any]:
    yield lambda head: head.update(format=2)
    yield lambda head: head.clear()
    yield lambda head: head.update(more=1)
    yield lambda head: head.pop("labels")
    yield lambda head: head.update(runtime=1)
    yield lambda head: head.update(image="a" * 4096)
    yield lambda head: head.update(image="a\0")
    yield lambda head: head.update(labels=["none"])
    yield lambda head: head.update(labels="a=b")
    yield lambda head: head.update(details=["a"])
    yield lambda head: head.update(details={"runsc": 1})
    yield lambda head: head.update(files={})
    yield lambda head: head.update(files=[])
    yield lambda head: head.update(files={f"{number:03}": [0, "0" * 64] for number in range(129)})
    yield lambda head: head["start"].update(memory_mb=-1)
    yield lambda head: head["start"].update(memory_mb="1")
    yield lambda head: head["start"].update(env=["none"])
    yield lambda head: head["start"].pop("env")
    for name in ("../00", "/00", "a/b", ".", "..", "", "a\0", "-", "x" * 100):
        yield lambda head, name=name: head["files"].update({name: head["files"]["00"]})
    for size in (-1, 1.5, "1", True, 2**61, 4999):
        yield lambda head, size=size: head["files"].update({"00": [size, head["files"]["00"][1]]})
    for digest in ("", "0" * 64, "G" * 64, 1):
        yield lambda head, digest=digest: head["files"].update({"00": [5000, digest]})


@pytest.mark.parametrize("change", list(hostile()))
async def test_a_description_that_is_none_is_refused(
    files: SnapshotFiles, snapshot: Manifest, change: Callable[[dict[str, Any]], object]
) -> None:
    await assert_refused(files, rewritten(snapshot, change), "no snapshot that was exported")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 10240,
        b"not a tar file" * 1000,
        member("snapshot.json", b"[" * 100_000),
        member("snapshot.json", b"{}", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("../snapshot.json", b"{}"),
        tarfile.TarInfo("snapshot.json").tobuf() + b"{}",
        # A description that is said to have a terabyte.
        member("snapshot.json", b"", size=2**40),
    ],
)
async def test_what_is_no_such_file_is_refused(files: SnapshotFiles, content: bytes) -> None:
    await assert_refused(files, content, "no snapshot that was exported")


async def test_one_that_is_not_admitted_is_refused_before_its_files_are_written(
    files: SnapshotFiles, snapshot: Manifest
) -> None:
    content = b"".join(packed(snapshot))

    def refuse(head: Head) -> None:
        assert [path.name.endswith(".partial") for path in files.directory.iterdir()].count(True) == 1
        assert not any(any(path.iterdir()) for path in files.directory.glob("*.partial"))
        raise UnavailableError("not now")

    with pytest.raises(UnavailableError):
        await files.imported(pieces(content), refuse)
    assert list(files.directory.iterdir()) == [snapshot.path]


async def test_one_that_breaks_off_leaves_nothing(files: SnapshotFiles, snapshot: Manifest) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in pieces(b"".join(packed(snapshot))[:300_000]):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await files.imported(broken(), admit)
    assert list(files.directory.iterdir()) == [snapshot.path]

"""Tar archives to and from the trees of the guest agent: good, damaged, and those of a lying agent."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox.orchestrator.guest.entries import ByteSource, Item, Malformed
from flash_sandbox.orchestrator.guest.tar_reader import items_of_tar
from flash_sandbox.orchestrator.guest.tar_writer import tar_of_items

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
FILE, DIRECTORY, LINK, FIFO = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO


async def cut(data: bytes, size: int = 100) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(archive: bytes, size: int = 100) -> dict[bytes, tuple[guest.Entry, bytes, bytes]]:
    """Return the items of an archive, by name: each entry, content, and what it is another name of."""
    found = {}
    async for item in items_of_tar(ByteSource(cut(archive, size))):
        content = bytearray()
        if item.content is not None:
            async for offset, data in item.content:
                assert offset >= len(content)
                content += bytes(offset - len(content)) + data
            assert item.entry.size >= len(content)
            content += bytes(item.entry.size - len(content))
        found[item.entry.name] = (item.entry, bytes(content), item.same_as)
    return found


async def written(*items: Item) -> bytes:
    return b"".join([part async for part in tar_of_items(each(*items))])


async def each(*items: Item) -> AsyncIterator[Item]:
    for one in items:
        yield one


def item(entry: guest.Entry, *pieces: tuple[int, bytes], same_as: bytes = b"") -> Item:
    """Return an item with pieces of content: their offsets, and what is there."""

    async def content() -> AsyncIterator[tuple[int, bytes]]:
        for piece in pieces:
            yield piece

    return Item(entry, same_as, content() if stat.S_ISREG(entry.mode) and not same_as else None)


def archive(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format, errors="surrogateescape") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for field, value in more.items():
        setattr(info, field, value)
    return info


# Archives of callers


@pytest.mark.parametrize("format", FORMATS)
async def test_every_format_is_read(format: str) -> None:
    long = "n" * (90 if format == "ustar" else 300)
    content = os.urandom(200_000)
    made = archive(
        (member("dir", tarfile.DIRTYPE, mode=0o1755), b""),
        (member(f"dir/{long}/{long}", mode=0o4750, mtime=1_234_567_890, uid=5, gid=6), content),
        (member("dir/empty", mtime=0), b""),
        (member("dir/link", tarfile.SYMTYPE, "../" + long), b""),
        (member("dir/same", tarfile.LNKTYPE, "./dir/empty"), b""),
        (member("fifo", tarfile.FIFOTYPE), b""),
        format=FORMATS[format],
    )
    found = await read(made)
    file, data, _ = found[f"dir/{long}/{long}".encode()]
    # Owners are not taken over.
    assert (file.mode, file.uid, file.gid, file.size, data) == (FILE | 0o4750, 0, 0, 200_000, content)
    assert file.modified_ns == 1_234_567_890 * 10**9
    assert found[b"dir"][0].mode == DIRECTORY | 0o1755
    assert (found[b"dir/empty"][0].modified_ns, found[b"dir/empty"][1]) == (0, b"")
    assert (found[b"dir/link"][0].mode & LINK, found[b"dir/link"][0].link) == (LINK, f"../{long}".encode())
    assert found[b"dir/same"][2] == b"dir/empty"
    assert stat.S_ISFIFO(found[b"fifo"][0].mode)
    assert len(found) == 6


async def test_times_have_the_fraction_that_the_archive_has() -> None:
    made = archive((member("a", mtime=12345.678), b""), (member("b", mtime=-1.5), b""))
    found = await read(made)
    assert [found[name][0].modified_ns for name in (b"a", b"b")] == [12_345_678_000_000, -1_500_000_000]


async def test_names_are_bytes() -> None:
    name = b"\xff\n \xe2\x82\xac"
    for format in FORMATS.values():
        made = archive((member(os.fsdecode(name)), b"x"), format=format)
        assert list(await read(made)) == [name]


@pytest.mark.parametrize("options", [("--format=gnu",), ("--format=pax",)], ids=["gnu", "pax"])
def test_sparse_files_keep_their_holes(tmp_path: Path, options: tuple[str, ...]) -> None:
    with (tmp_path / "file").open("wb") as file:
        # Enough of them for a map in several blocks.
        for at in range(0, 80 * 2**20, 2**20):
            file.seek(at)
            file.write(b"data at %d" % at)
        file.truncate(100 * 2**20)
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 2**33)
    command = ["tar", "--sparse", *options, "-C", str(tmp_path), "-cf", "-", "file", "holes"]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(made) < 2**20
    asyncio.run(_check_sparse(made, (tmp_path / "file").read_bytes()))


async def _check_sparse(made: bytes, expected: bytes) -> None:
    found = {}
    async for item in items_of_tar(ByteSource(cut(made))):
        assert item.content is not None
        found[item.entry.name] = (item.entry.size, [piece async for piece in item.content])
    size, pieces = found[b"file"]
    content = bytearray(size)
    for offset, data in pieces:
        content[offset : offset + len(data)] = data
    assert content == expected
    assert sum(len(data) for _, data in pieces) < 2**20
    assert found[b"holes"] == (2**33, [])


async def test_names_lead_nowhere_else() -> None:
    made = archive((member("/etc//./x"), b""), (member("././y"), b""), (member("d/", tarfile.DIRTYPE), b""))
    assert list(await read(made)) == [b"etc/x", b"y", b"d"]
    for name in ("..", "../x", "a/../../x", "a/.."):
        with pytest.raises(Malformed, match="leads out"):
            await read(archive((member(name), b"")))
        with pytest.raises(Malformed, match="leads out"):
            await read(archive((member("x", tarfile.LNKTYPE, name), b"")))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
async def test_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(Malformed, match="is a device"):
        await read(archive((member("null", kind), b"")))


async def test_an_archive_without_a_byte_is_refused() -> None:
    with pytest.raises(Malformed, match="is empty"):
        await read(b"")
    assert await read(bytes(1024)) == {}


async def test_what_follows_the_end_is_not_read() -> None:
    whole = archive((member("a"), b"x"))
    assert list(await read(whole + b"anything" * 1000)) == [b"a"]
    # Some leave the end out.
    assert list(await read(whole[:1024])) == [b"a"]


def _checked(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _patched(at: int, data: bytes) -> bytes:
    block = bytearray(archive((member("a"), b"x"))[:512])
    block[at : at + len(data)] = data
    return _checked(block) + bytes(1024)


def _extended(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    head = member("x", kind)
    head.size = len(records)
    padded = records + bytes(-len(records) % 512)
    return head.tobuf(tarfile.USTAR_FORMAT) + padded + archive((member("a"), b"x"))


_plain = archive((member("a"), b"x"))[:1024]
BROKEN = {
    "text": b"this is no tar archive" * 100,
    "short": archive((member("a"), b"x" * 5000))[:3000],
    "short header": archive((member("a"), b"x"))[:300],
    "checksum": b"b" + archive((member("a"), b"x"))[1:],
    "negative size": _patched(124, b"\xff" * 12),
    "huge size": _patched(124, b"\x80" + b"\x7f" * 11),
    "no number": _patched(124, b"0o1234\0"),
    "type": _patched(156, b"Q"),
    "several volumes": _patched(156, b"M"),
    "endless name": _patched(156, b"L")[:512].replace(b"00000000001\0", b"x") + bytes(100),
    "record length": _extended(b"99 path=x\n"),
    "record without value": _extended(b"7 path\n"),
    "record number": _extended(b"9999999999 path=x\n"),
    "negative record size": _extended(b"11 size=-1\n"),
    "time": _extended(b"14 mtime=1e99\n"),
    "sparse form": _extended(b"22 GNU.sparse.major=7\n"),
    "sparse map": _extended(b"22 GNU.sparse.map=5,5\n22 GNU.sparse.size=99\n"),
    "sparse order": _extended(b"26 GNU.sparse.map=9,1,0,1\n22 GNU.sparse.size=99\n"),
    "no target": archive((member("x", tarfile.LNKTYPE, "./"), b"")),
    "NUL": _extended(b"12 path=a\0b\n"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_archive_is_refused(broken: str) -> None:
    with pytest.raises(Malformed):
        await read(BROKEN[broken])


async def test_headers_without_end_are_not_kept() -> None:
    # Each header is fine, and there is no end of them.
    taken = 0

    async def chunks(header: Callable[[int], bytes]) -> AsyncIterator[bytes]:
        nonlocal taken
        for number in range(100_000):
            data = header(number)
            taken += len(data)
            yield data

    for header in (
        lambda number: _extended(b"13 path=abcd\n")[:1024],
        lambda number: _extended(b"11 a%05d=\n" % number, tarfile.XGLTYPE)[:1024],
        lambda number: _extended(b"1000 a%05d=%s\n" % (number, b"x" * 987), tarfile.XGLTYPE)[:1536] + _plain,
    ):
        taken = 0
        with pytest.raises(Malformed, match="too large"):
            async for _ in items_of_tar(ByteSource(chunks(header))):
                pass
        assert taken < 4 * 2**20


@given(st.binary(max_size=3000), st.integers(1, 2000))
async def test_any_bytes_are_an_archive_or_refused(data: bytes, size: int) -> None:
    with suppress(Malformed):
        await read(data, size)


@given(st.data(), st.integers(1, 600))
async def test_any_damage_is_an_archive_or_refused(data: st.DataObject, size: int) -> None:
    made = bytearray(
        archive(
            (member("dir", tarfile.DIRTYPE), b""),
            (member("n" * 150, mtime=1.5), b"content" * 100),
            (member("l" * 150, tarfile.SYMTYPE, "t" * 150), b""),
            format=data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])),
        )[:5120]
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(made) // 512 - 1)) * 512
        block = made[at : at + 512]
        block[data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
        made[at : at + 512] = _checked(block) if data.draw(st.booleans()) else bytes(block)
    try:
        found = await read(bytes(made), size)
    except Malformed:
        return
    for name, (entry, _, _) in found.items():
        assert not {b"", b".."} & {*name.split(b"/")} or not name
        assert entry.size < 2**63


# Trees of the agent


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=3000)), max_size=4),
    st.integers(0, 2000),
)
@example([], 0)
async def test_content_comes_with_its_holes_as_zeros(pieces: list[tuple[int, bytes]], rest: int) -> None:
    content, placed = b"", []
    for skip, data in pieces:
        placed.append((len(content) + skip, data))
        content += bytes(skip) + data
    content += bytes(rest)
    entry = guest.Entry(
        name=b"file", mode=FILE | 0o640, size=len(content), uid=3 * 10**9, gid=1, modified_ns=-1
    )
    with tarfile.open(fileobj=io.BytesIO(await written(item(entry, *placed)))) as tar:
        (info,) = tar
        file = tar.extractfile(info)
        assert file is not None
        assert (file.read(), info.name, info.mode) == (content, "./file", 0o640)
        assert (info.uid, info.gid, info.mtime) == (3 * 10**9, 1, -1)


async def test_a_large_hole_takes_no_memory() -> None:
    entry = guest.Entry(name=b"file", mode=FILE | 0o640, size=2**62)
    seen = 0
    async for chunk in tar_of_items(each(item(entry))):
        assert len(chunk) < 200_000
        seen += len(chunk)
        if seen > 2**28:
            break


async def test_long_names_are_whole() -> None:
    names = (b"n" * 99, b"n" * 100, b"n" * 101, b"\xff\n" * 600, b"d/" * 5000 + b"x")
    links = [item(guest.Entry(name=name, mode=LINK, link=name)) for name in names]
    with tarfile.open(fileobj=io.BytesIO(await written(*links)), errors="surrogateescape") as tar:
        found = [(os.fsencode(info.name), os.fsencode(info.linkname)) for info in tar]
    assert found == [(b"./" + name, name) for name in names]


async def test_devices_and_sockets_are_left_out() -> None:
    kinds = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, FIFO)
    items = [item(guest.Entry(name=b"%d" % kind, mode=kind)) for kind in kinds]
    with tarfile.open(fileobj=io.BytesIO(await written(*items))) as tar:
        assert [(info.name, info.type) for info in tar] == [(f"./{FIFO}", tarfile.FIFOTYPE)]


def _nameless(name: bytes) -> list[Item]:
    return [item(guest.Entry(name=b"a", mode=DIRECTORY)), item(guest.Entry(name=name, mode=FILE))]


LIES = {
    "no name": _nameless(b""),
    "absolute": _nameless(b"/etc/passwd"),
    "up": _nameless(b"../x"),
    "up and down": _nameless(b"a/../../x"),
    "here": _nameless(b"./x"),
    "slashes": _nameless(b"a//x"),
    "NUL": _nameless(b"a\0x"),
    "link out": [item(guest.Entry(name=b"a", mode=FILE), same_as=b"../x")],
    "link with NUL": [item(guest.Entry(name=b"a", mode=LINK, link=b"\0"))],
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_an_agent_cannot_mean_is_no_archive(lie: str) -> None:
    with pytest.raises(Malformed):
        await written(*LIES[lie])


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 0xFFFF), st.binary(max_size=20)), max_size=4)
)
async def test_whatever_an_agent_names_is_an_archive_or_refused(
    named: list[tuple[bytes, int, bytes]],
) -> None:
    try:
        made = await written(*(item(guest.Entry(name=n, mode=m, link=t)) for n, m, t in named))
    except Malformed:
        return
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        for info in tar:
            assert info.name.split("/")[0] == "."
            assert ".." not in info.name.split("/")


# There and back


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=150).filter(
                lambda name: not {0, ord("/")} & {*name} and name != b".."
            ),
            st.binary(max_size=2000),
            st.integers(0, 0o7777),
            st.integers(-(2**31), 2**32),
        ),
        unique_by=lambda each: each[0],
        max_size=5,
    )
)
async def test_what_is_written_is_read(files: list[tuple[bytes, bytes, int, int]]) -> None:
    files = [each for each in files if each[0] != b"."]
    items = [
        item(
            guest.Entry(name=name, mode=FILE | mode, size=len(data), modified_ns=seconds * 10**9),
            *([(0, data)] if data else []),
        )
        for name, data, mode, seconds in files
    ]
    found = await read(await written(*items))
    assert [
        (name, data, stat.S_IMODE(entry.mode), entry.modified_ns // 10**9)
        for name, (entry, data, _) in found.items()
    ] == files

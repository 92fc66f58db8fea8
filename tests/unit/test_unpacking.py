"""Archives of a hostile sandbox, unpacked on the client's machine."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox.clients.packing import Packing
from flash_sandbox.clients.unpacking import Unpacking
from flash_sandbox.errors import ConflictError, ProtocolError, SandboxConnectionError, SandboxError

Entry = tuple[tarfile.TarInfo, bytes]

ROOT = tarfile.TarInfo(".")
ROOT.type = tarfile.DIRTYPE


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", mode=0o644
) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, len(content), target, mode
    return info, content


def link(name: str, target: str) -> Entry:
    return entry(name, kind=tarfile.SYMTYPE, target=target)


def directory(name: str) -> Entry:
    return entry(name, kind=tarfile.DIRTYPE)


def archive(*entries: Entry, tree: bool = True, format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        if tree:
            tar.addfile(ROOT)
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpack(data: bytes, local: Path, step: int = 1000) -> Unpacking:
    unpacking = Unpacking(local)
    try:
        for start in range(0, len(data), step):
            unpacking.feed(data[start : start + step])
        unpacking.finish()
    finally:
        unpacking.close()
    return unpacking


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return tmp_path / "outer" / "local"


@pytest.fixture
def outside(local: Path) -> Path:
    """A file beside the directory that is unpacked into, which nothing may change."""
    local.parent.mkdir()
    path = local.parent / "outside"
    path.write_text("untouched")
    return path


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 512, 513, 100_000])
def test_a_tree_is_unpacked_wherever_its_bytes_are_cut(local: Path, format: int, step: int) -> None:
    long = f"{'d' * 60}/{'f' * 90}" if format == tarfile.USTAR_FORMAT else f"{'d' * 200}/{'f' * 200}"
    entries = (entry("a", b"x" * 1500), directory(long.partition("/")[0]), entry(long, b"y"), link("l", "a"))
    unpacking = unpack(archive(*entries, format=format), local, step)
    assert ((local / "a").read_bytes(), (local / long).read_bytes()) == (b"x" * 1500, b"y")
    assert (os.readlink(local / "l"), unpacking.done, unpacking.total) == ("a", 1501, None)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", "sub/..", "..", "//x"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_name_that_leads_out_is_refused(local: Path, outside: Path, name: str, kind: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(archive(directory("sub"), entry(name, kind=kind, target="sub")), local)
    assert outside.read_text() == "untouched"


@pytest.mark.parametrize(
    "entries",
    [
        (link("l", ".."), entry("l/outside", b"through a link")),
        (link("l", "../outside"), directory("l")),
        (link("l", "../outside"), entry("h", kind=tarfile.LNKTYPE, target="l")),
        (link("l", ".."), entry("h", kind=tarfile.LNKTYPE, target="l/outside")),
        (link("l", ".."), link("l/m", "outside")),
        (link("l", "."), entry("l/file", b"through a link")),
        (directory("d"), link("l", "d"), entry("l/file", b"through a link")),
        (directory("d"), link("d/l", ".."), directory("d/l/made")),
        (link("l", "x"), entry("h", kind=tarfile.LNKTYPE, target="l")),
        (directory("d"), link("l", "d"), entry("h", kind=tarfile.LNKTYPE, target="l/x")),
        (entry("file"), entry("file/below", b"x")),
    ],
)
def test_what_would_follow_a_link_is_refused(local: Path, outside: Path, entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ConflictError):
        unpack(archive(*entries), local)
    assert outside.read_text() == "untouched"
    assert sorted(os.listdir(local.parent)) == ["local", "outside"]


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "sub/../../outside", "/", ".."])
def test_a_link_is_made_as_it_is_and_not_followed(local: Path, outside: Path, target: str) -> None:
    again = entry("l", b"in place of the link")
    unpack(archive(directory("sub"), link("l", target)), local)
    assert os.readlink(local / "l") == target
    unpack(archive(link("l", target), again), local)
    assert ((local / "l").read_bytes(), outside.read_text()) == (b"in place of the link", "untouched")


@pytest.mark.parametrize("target", ["", "a\0b"])
def test_a_link_to_what_is_no_path_is_refused(local: Path, target: str) -> None:
    info, content = link("l", "x")
    info.pax_headers = {"linkpath": target}
    with pytest.raises(ProtocolError, match="nowhere"):
        unpack(archive((info, content), format=tarfile.PAX_FORMAT), local)


def test_zeros_take_no_room_on_the_disk(local: Path) -> None:
    size = 8 * 1024 * 1024
    unpack(archive(entry("zeros", bytes(size)), entry("tail", bytes(size) + b"x")), local, step=100_000)
    found = {path.name: path.stat() for path in local.iterdir()}
    assert {name: status.st_size for name, status in found.items()} == {"zeros": size, "tail": size + 1}
    assert all(status.st_blocks * 512 < size / 8 for status in found.values())
    assert (local / "tail").read_bytes() == bytes(size) + b"x"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_without_end_are_refused_before_they_fill_the_memory(local: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    records = [b"%d k%05d=%s\n" % (40, number, b"v" * 29) for number in range(1000)]
    assert all(len(record) == 40 for record in records)
    content = b"".join(records)
    info.type, info.size = kind, len(content)
    header = info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    with pytest.raises(ProtocolError, match="too long"):
        unpack(ROOT.tobuf(tarfile.GNU_FORMAT) + header * 100, local, step=50_000)


def test_a_sparse_file_whose_map_is_not_read_is_refused(local: Path) -> None:
    info, content = entry("x", b"1\n0\n1\n")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    with pytest.raises(ProtocolError, match="sparse"):
        unpack(archive((info, content), format=tarfile.PAX_FORMAT), local)


def test_a_hard_link_to_what_is_outside_is_refused(local: Path, outside: Path) -> None:
    for target in ("../outside", str(outside)):
        with pytest.raises(ProtocolError):
            unpack(archive(entry("h", kind=tarfile.LNKTYPE, target=target)), local)


def test_a_link_that_was_there_before_is_not_followed(local: Path, outside: Path) -> None:
    local.mkdir()
    (local / "dir").symlink_to(local.parent)
    (local / "file").symlink_to(outside)
    unpack(archive(entry("file", b"new")), local)
    assert ((local / "file").read_bytes(), outside.read_text()) == (b"new", "untouched")
    with pytest.raises(ConflictError):
        unpack(archive(entry("dir/outside", b"new")), local)
    assert outside.read_text() == "untouched"


def test_a_file_that_is_written_again_leaves_its_other_name_alone(local: Path) -> None:
    other = entry("two", kind=tarfile.LNKTYPE, target="one")
    unpack(archive(entry("one", b"first"), other, entry("one", b"second")), local)
    assert ((local / "one").read_bytes(), (local / "two").read_bytes()) == (b"second", b"first")


def test_modes_give_nobody_else_a_right_to_write(local: Path) -> None:
    unpack(archive(entry("a", mode=0o7777), entry("b", mode=0), entry("c", mode=0o666)), local)
    modes = [stat.S_IMODE((local / name).stat().st_mode) for name in "abc"]
    assert modes == [0o755, 0o600, 0o644]


def test_devices_and_pipes_are_left_out(local: Path) -> None:
    kinds = (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
    unpack(archive(*(entry(f"e{number}", kind=kind) for number, kind in enumerate(kinds))), local)
    assert os.listdir(local) == []


def test_one_file_takes_the_place_that_is_asked_for_whatever_its_name(local: Path) -> None:
    unpacking = unpack(archive(entry("./named", b"x" * 70_000), tree=False), local)
    assert local.read_bytes() == b"x" * 70_000
    assert (unpacking.done, unpacking.total) == (70_000, 70_000)


@pytest.mark.parametrize(
    "entries",
    [
        (entry("a"), entry("b")),
        (entry("a/b"),),
        (link("a", "b"),),
        (directory("a"),),
        (entry("a", kind=tarfile.FIFOTYPE),),
        (entry("."),),
    ],
)
def test_what_is_neither_one_file_nor_a_tree_is_refused(local: Path, entries: tuple[Entry, ...]) -> None:
    with pytest.raises(ProtocolError):
        unpack(archive(*entries, tree=False), local)


@pytest.mark.parametrize("size", [0, 100, 512, 1500, 2100])
def test_an_archive_that_is_cut_is_an_error_and_leaves_no_part_of_a_file(local: Path, size: int) -> None:
    data = archive(entry("file", b"x" * 3000))[:size]
    with pytest.raises(SandboxConnectionError):
        unpack(data, local)
    assert not local.exists() or os.listdir(local) == []


def huge(change: Callable[[tarfile.TarInfo], None], kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo("x")
    info.type = kind
    change(info)
    return ROOT.tobuf(tarfile.GNU_FORMAT) + info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_that_is_too_long_to_keep_is_refused(local: Path, kind: bytes) -> None:
    with pytest.raises(ProtocolError, match="too long"):
        unpack(huge(lambda info: setattr(info, "size", 2**40), kind), local)


def test_a_size_below_nothing_is_refused(local: Path) -> None:
    with pytest.raises(ProtocolError):
        unpack(huge(lambda info: setattr(info, "size", -1)), local)


def test_a_time_that_no_disk_knows_is_left_out(local: Path) -> None:
    info, content = entry("file", b"x")
    info.mtime = 2**80
    unpack(archive((info, content)), local)
    assert (local / "file").read_bytes() == b"x"


def test_a_kind_that_is_not_known_is_refused(local: Path) -> None:
    with pytest.raises(ProtocolError, match="does not know"):
        unpack(huge(lambda info: None, tarfile.GNUTYPE_SPARSE), local)


@given(st.binary(max_size=3000))
@example(b"\0" * 1024)
@example(b"12 path=" + b"\xff" * 600)
def test_any_bytes_are_an_archive_or_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    target = tmp_path_factory.mktemp("any") / "local"
    for beginning in (b"", ROOT.tobuf(tarfile.GNU_FORMAT)):
        try:
            unpack(beginning + data, target)
        except SandboxError:
            continue


@given(st.lists(st.tuples(st.sampled_from("xLKg57"), st.binary(max_size=600)), max_size=4))
def test_any_attributes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, bytes]]
) -> None:
    data = ROOT.tobuf(tarfile.GNU_FORMAT)
    for kind, content in parts:
        info, _ = entry("name", content, kind.encode())
        data += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    outer = tmp_path_factory.mktemp("any")
    with suppress(SandboxError, OSError):
        unpack(data + bytes(1024), outer / "local")
    assert os.listdir(outer) == ["local"]


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    name = os.fsdecode(b"not \xff utf-8")
    (source / "d").mkdir(parents=True)
    (source / "d" / name).write_bytes(b"content")
    packing = Packing(source, "/somewhere")
    # The sandbox's tar begins with the directory itself, the client's leaves that as it is.
    data = ROOT.tobuf(tarfile.GNU_FORMAT) + b"".join(chunk.data for chunk in packing.chunks())
    unpack(data, tmp_path / "copy")
    assert (tmp_path / "copy" / "d" / name).read_bytes() == b"content"
    assert (packing.directory, packing.is_tree, packing.total) == ("/somewhere", True, 7)


@pytest.mark.parametrize(
    ("path", "directory"), [("/a", "/"), ("/a/b", "/a"), ("/a/b/", "/a"), ("/", "/"), ("/a//b", "/a/")]
)
def test_a_file_is_packed_for_the_directory_that_it_goes_to(
    tmp_path: Path, path: str, directory: str
) -> None:
    (tmp_path / "file").touch()
    assert Packing(tmp_path / "file", path).directory == directory


def test_a_pipe_is_not_packed_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="neither a file nor a directory"):
        Packing(tmp_path / "fifo", "/a")

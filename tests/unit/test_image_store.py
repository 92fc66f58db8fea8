"""The image store: what layers become, what is refused, what stays and what is evicted."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import (
    Blobs,
    directory,
    docker_archive,
    entry,
    layout,
    link,
    put_image,
    sha256,
    tar_bytes,
    write_layout,
)

from flash_sandbox import InvalidArgumentError
from flash_sandbox.orchestrator.archives.bounded_tar import Bounds
from flash_sandbox.orchestrator.images import rootfs
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.rootfs import Images
from flash_sandbox.orchestrator.images.store import Image, ImageStore
from flash_sandbox.orchestrator.linux.user_ids import UserIds
from flash_sandbox.orchestrator.linux.users import can_have_ranges

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def store(tmp_path) -> ImageStore:
    return opened(tmp_path / "store")


def opened(path: Path, **options) -> ImageStore:
    store = ImageStore(path, **options)
    store.open()
    return store


async def acquire(store: ImageStore, path: Path, scheme: str = "") -> Image:
    return await store.acquire(parse_source(f"{scheme}{path}"), path)


def tree(image: Image) -> dict[str, str]:
    """Return what is in an image: the content of files, the targets of links, "dir" for directories."""
    found = {}
    for path in sorted(image.rootfs.rglob("*")):
        name = str(path.relative_to(image.rootfs))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        else:
            found[name] = "dir" if path.is_dir() else path.read_text()
    return found


# Layers


LAYERED = {
    "a later layer replaces a file": (
        [[entry("f", content=b"old")], [entry("f", content=b"new")]],
        {"f": "new"},
    ),
    "a whiteout removes a file": ([[entry("f"), entry("g")], [entry(".wh.f")]], {"g": ""}),
    "a whiteout removes a directory": (
        [[directory("d"), entry("d/e/f"), entry("g")], [entry(".wh.d")]],
        {"g": ""},
    ),
    "a whiteout in a directory": (
        [[entry("d/f"), entry("d/g")], [entry("d/.wh.f")]],
        {"d": "dir", "d/g": ""},
    ),
    "a whiteout of what is not there": ([[entry("f")], [entry("no/.wh.g"), entry(".wh.h")]], {"f": ""}),
    "a whiteout spares what its own layer has": (
        [[entry("d/old")], [entry("d/new"), entry(".wh.d")]],
        {"d": "dir", "d/new": ""},
    ),
    "an opaque directory hides what was there": (
        [[entry("d/old"), entry("d/e/old")], [directory("d"), entry("d/.wh..wh..opq"), entry("d/new")]],
        {"d": "dir", "d/new": ""},
    ),
    "an opaque mark after the new files": (
        [[entry("d/old"), entry("d/e/old")], [entry("d/e/new"), entry("d/.wh..wh..opq")]],
        {"d": "dir", "d/e": "dir", "d/e/new": ""},
    ),
    "whiteouts that are there twice": (
        [
            [entry("d/old"), entry("f")],
            [entry(".wh.f"), entry("f"), entry(".wh.f"), *[entry("d/.wh..wh..opq")] * 2],
        ],
        {"d": "dir", "f": ""},
    ),
    "an opaque root": ([[entry("old")], [entry(".wh..wh..opq"), entry("new")]], {"new": ""}),
    "a file replaces a directory": ([[entry("d/f")], [entry("d", content=b"x")]], {"d": "x"}),
    "a directory replaces a file": (
        [[entry("d", content=b"x")], [directory("d"), entry("d/f")]],
        {"d": "dir", "d/f": ""},
    ),
    "a link replaces a directory": ([[entry("d/f")], [link("d", "/e")]], {"d": "-> /e"}),
    "entries of a linked directory go where the link leads": (
        [[directory("usr/bin"), link("bin", "usr/bin")], [entry("bin/f", content=b"x")]],
        {"bin": "-> usr/bin", "usr": "dir", "usr/bin": "dir", "usr/bin/f": "x"},
    ),
    "an absolute link leads below the root": (
        [[directory("usr"), link("u", "/usr")], [entry("u/f", content=b"x")]],
        {"u": "-> /usr", "usr": "dir", "usr/f": "x"},
    ),
    "a hard link to an earlier layer": (
        [[entry("f", content=b"x")], [entry("g", tarfile.LNKTYPE, link="f")]],
        {"f": "x", "g": "x"},
    ),
    "replacing one of two hard links leaves the other": (
        [[entry("f", content=b"x"), entry("g", tarfile.LNKTYPE, link="f")], [entry("f", content=b"new")]],
        {"f": "new", "g": "x"},
    ),
    "what aufs kept for itself is left out": ([[entry(".wh..wh.plnk/x"), entry("f")]], {"f": ""}),
    "an empty layer": ([[entry("f")], []], {"f": ""}),
    "no layer at all": ([], {}),
}


@pytest.mark.parametrize("kind", ["layout", "archive"])
@pytest.mark.parametrize("name", LAYERED)
async def test_layers_are_applied_in_order(store, tmp_path, name, kind):
    layers, expected = LAYERED[name]
    (tmp_path / "image").mkdir()
    make = layout if kind == "layout" else lambda path, layers: docker_archive(path / "a.tar", layers)
    image = await acquire(store, make(tmp_path / "image", layers))
    assert tree(image) == expected


async def test_a_directory_that_denies_writing_is_filled_by_later_layers(store, tmp_path):
    layers = [[directory("d", 0o500), entry("d/f")], [entry("d/g")], [directory("d", 0o510)]]
    image = await acquire(store, layout(tmp_path / "image", layers))
    assert (stat.S_IMODE((image.rootfs / "d").stat().st_mode), len(tree(image))) == (0o510, 3)


@pytest.mark.parametrize("has_range", [True, False])
async def test_owners_are_the_images_where_there_is_a_range_of_ids_else_whoever_unpacks(tmp_path, has_range):
    if has_range and not can_have_ranges():
        pytest.skip("needs root to give files away")
    ids = UserIds()
    if has_range:
        ids.open()
    else:
        ids.open = lambda: None
    info, content = entry("f", content=b"x")
    info.uid, info.gid, info.uname = 1000, 1001, "somebody"
    store = opened(tmp_path / "store", user_ids=ids)
    image = await acquire(store, layout(tmp_path / "image", [[(info, content)]]))
    status = (image.rootfs / "f").stat()
    assert (status.st_uid, status.st_gid) == ((1000, 1001) if has_range else (os.geteuid(), os.getegid()))


async def test_what_was_unpacked_with_one_id_is_used_where_there_is_a_range_too(tmp_path):
    if not can_have_ranges():
        pytest.skip("needs root to give files away")
    one_id = UserIds()
    one_id.open = lambda: None
    path = layout(tmp_path / "image", [[entry("f", content=b"x")]])
    first = await acquire(opened(tmp_path / "store", user_ids=one_id), path)
    store = opened(tmp_path / "store")
    again = await acquire(store, path)
    assert again.rootfs == first.rootfs
    first.release()
    again.release()
    assert store.remove(parse_source(str(path)))
    again = await acquire(store, path)
    assert again.rootfs != first.rootfs
    # Nothing that has its owners is for a sandbox that has one ID.
    assert (await acquire(opened(tmp_path / "store", user_ids=one_id), path)).rootfs == first.rootfs


# Hostile layers. Whatever they do, `outside` stays as it is.


def huge(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax_bomb(size: int) -> bytes:
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.USTAR_FORMAT) + b"0" * size


def sparse(size: int) -> bytes:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f"}
    headers["GNU.sparse.realsize"] = str(size)
    info = tarfile.TarInfo("f")
    content = b"0\n".ljust(512, b"\0")
    info.size, info.pax_headers = len(content), headers
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(1024)


def negative_size() -> bytes:
    header = bytearray(tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + bytes(1024)


REFUSED: dict[str, list] = {
    "dot-dot path": [entry("../outside/new", content=b"x")],
    "dot-dot in the middle": [entry("a/../../outside/new", content=b"x")],
    "absolute dot-dot path": [entry("/../../outside/new", content=b"x")],
    "through a file": [entry("f", content=b"x"), entry("f/new", content=b"x")],
    "through links that go round": [link("a", "b"), link("b", "a"), entry("a/new", content=b"x")],
    "hard link to outside": [entry("h", tarfile.LNKTYPE, link="../../outside/file")],
    "hard link to nothing": [entry("h", tarfile.LNKTYPE, link="nothing")],
    "hard link to a directory": [directory("d"), entry("h", tarfile.LNKTYPE, link="d")],
    "hard link to itself": [entry("f", content=b"x"), entry("f", tarfile.LNKTYPE, link="f")],
    "hard link through a link to outside": [
        link("l", "../../../../outside"),
        entry("h", tarfile.LNKTYPE, link="l/file"),
    ],
    "very long name": [entry("n" * 300, content=b"x")],
    "very deep path": [entry("/".join(["d" * 200] * 20), content=b"x")],
    "very many directories": [entry("d/" * 300 + "f", content=b"x")],
    "NUL in a name": [entry("f", content=b"x", path="a\0b")],
    "whiteout of nothing": [entry(".wh.")],
    "whiteout of itself": [entry("d/.wh..")],
    "whiteout of the directory above": [entry("d/.wh...")],
    "directory that is a whiteout": [entry(".wh.d/f", content=b"x")],
    "device directory that is a link": [link("dev", "../../../../outside")],
    "mount point that is a file": [entry("proc", content=b"x")],
    "too many entries": [entry(f"f{number}") for number in range(2000)],
    "more than it may hold": [entry("f", content=bytes(3_000_000))],
}
REFUSED_BYTES = {
    "declared size of an exabyte": huge("f", 1 << 60),
    "sparse file of a terabyte": sparse(1 << 40),
    "negative size": negative_size(),
    "cut in the middle": tar_bytes([entry("f", content=b"x" * 5000)])[:1500],
    "no tar file": b"not a tar file at all",
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(100),
}
BOUNDS = Bounds(total_bytes=2_000_000, entries=1000, ratio=50)


def outside(tmp_path: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in (tmp_path / "outside").rglob("*")}


def make_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")


def raw_layout(path: Path, layer: bytes) -> Path:
    """Write an image of one layer that need not be a tar file."""
    blobs = Blobs(path)
    configuration = {"rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}}
    config = blobs.put_json(configuration, "")
    manifest = {"schemaVersion": 2, "config": config, "layers": [blobs.put(layer, "")]}
    return write_layout(path, latest=blobs.put_json(manifest, ""))


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_BYTES])
async def test_a_hostile_layer_is_refused_and_leaves_nothing(tmp_path, name):
    make_outside(tmp_path)
    store = opened(tmp_path / "store", bounds=BOUNDS)
    layer = tar_bytes(REFUSED[name]) if name in REFUSED else REFUSED_BYTES[name]
    path = raw_layout(tmp_path / "image", layer)
    with pytest.raises(InvalidArgumentError) as caught:
        await acquire(store, path)
    assert (caught.value.reason, store.list()) == ("image_not_found", [])
    assert outside(tmp_path) == {str(tmp_path / "outside" / "file"): "untouched"}
    left = [file for file in (tmp_path / "store").rglob("*") if not file.is_dir()]
    assert left == []


async def test_headers_that_would_fill_the_memory_are_refused(store, tmp_path):
    path = raw_layout(tmp_path / "image", pax_bomb(16 * 1024 * 1024))
    with pytest.raises(InvalidArgumentError, match="an entry's headers are too large"):
        await acquire(store, path)


async def test_looking_at_what_a_tar_file_is_does_not_fill_the_memory(store, tmp_path):
    path = tmp_path / "image.tar.gz"
    size = 96 * 1024 * 1024
    record = b"%d comment=" % size
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, size
    header = info.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(gzip.compress(header + record.ljust(size - 1, b"x") + b"\n" + bytes(1024), 1))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError, match="headers are too large"):
            await acquire(store, path)
        assert tracemalloc.get_traced_memory()[1] < 48 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_headers_for_all_entries_do_not_add_up_without_a_bound(store, tmp_path):
    layer = b""
    for number in range(4):
        info = tarfile.TarInfo("global")
        value = "x" * (2 * 1024 * 1024)
        layer += info.create_pax_global_header({f"key{number}": value})
        layer += tar_bytes([entry(f"f{number}")])[:512]
    path = raw_layout(tmp_path / "image", layer + bytes(1024))
    with pytest.raises(InvalidArgumentError, match="headers for all entries are too large"):
        await acquire(store, path)


async def test_what_is_sparse_stays_sparse(store, tmp_path):
    size = 8 * 1024 * 1024
    layer = sparse(size)[:-1024] + tar_bytes([entry("zeros", content=bytes(size))])
    image = await acquire(store, raw_layout(tmp_path / "image", layer))
    for name in ("f", "zeros"):
        status = (image.rootfs / name).stat()
        assert status.st_size == size > 8 * 512 * status.st_blocks


async def test_as_many_entries_as_are_allowed_are_unpacked_and_not_one_more(tmp_path):
    store = opened(tmp_path / "store", bounds=Bounds(entries=10))
    await acquire(store, layout(tmp_path / "ten", [[entry(f"f{number}") for number in range(10)]]))
    with pytest.raises(InvalidArgumentError, match="more than 10 entries"):
        await acquire(store, layout(tmp_path / "eleven", [[entry(f"f{number}") for number in range(11)]]))


async def test_the_entries_of_all_layers_are_counted_together(tmp_path):
    store = opened(tmp_path / "store", bounds=Bounds(entries=10))
    layers = [[entry(f"{layer}{number}") for number in range(6)] for layer in "ab"]
    with pytest.raises(InvalidArgumentError, match="more than 10 entries"):
        await acquire(store, layout(tmp_path / "image", layers))


HARMLESS: dict[str, tuple[list, dict[str, str]]] = {
    "absolute path": ([entry("/f", content=b"x")], {"f": "x"}),
    "link to outside": ([link("l", "../../../../outside/file")], {"l": "-> ../../../../outside/file"}),
    "through a link to outside": (
        [link("l", "../../../../outside"), entry("l/new", content=b"x")],
        {"l": "-> ../../../../outside", "outside": "dir", "outside/new": "x"},
    ),
    "over a link to outside": (
        [link("l", "../../../../outside/file"), entry("l", content=b"x")],
        {"l": "x"},
    ),
    "whiteout through a link to outside": (
        [link("l", "../../../../outside"), entry("l/.wh.file")],
        {"l": "-> ../../../../outside"},
    ),
    "opaque mark through a link to outside": (
        [link("l", "../../../../outside"), entry("l/.wh..wh..opq")],
        {"l": "-> ../../../../outside"},
    ),
    "hard link to a link to outside": (
        [link("l", "../../../../outside/file"), entry("h", tarfile.LNKTYPE, link="l")],
        {"h": "-> ../../../../outside/file", "l": "-> ../../../../outside/file"},
    ),
    "duplicate entries": ([entry("f", content=b"x"), entry("f", content=b"y")], {"f": "y"}),
    "the root itself, as a link": ([link(".", "/tmp"), entry("f", content=b"x")], {"f": "x"}),
    "character device": ([entry("mem", tarfile.CHRTYPE), entry("f", content=b"x")], {"f": "x"}),
    "block device": ([entry("sda", tarfile.BLKTYPE), entry("f", content=b"x")], {"f": "x"}),
    "time before all time": ([entry("f", content=b"x", mtime="-99999999999999999999")], {"f": "x"}),
    "time that is no number": ([entry("f", content=b"x", mtime="nan")], {"f": "x"}),
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_hostile_layer_is_made_harmless(store, tmp_path, name):
    make_outside(tmp_path)
    layer, expected = HARMLESS[name]
    image = await acquire(store, layout(tmp_path / "image", [layer]))
    assert tree(image) == expected
    assert outside(tmp_path) == {str(tmp_path / "outside" / "file"): "untouched"}


async def test_set_user_id_bits_are_dropped(store, tmp_path):
    image = await acquire(store, layout(tmp_path / "image", [[entry("su", content=b"x", mode=0o6755)]]))
    assert stat.S_IMODE((image.rootfs / "su").stat().st_mode) == 0o755


async def test_attributes_of_overlayfs_are_dropped_and_others_kept(store, tmp_path):
    attributes = {"SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.user.note": "kept"}
    info, content = directory("d")
    info.pax_headers = attributes
    image = await acquire(store, layout(tmp_path / "image", [[(info, content)]]))
    assert os.listxattr(image.rootfs / "d") == ["user.note"]


async def test_a_bomb_is_refused_by_its_ratio(tmp_path):
    store = opened(tmp_path / "store", bounds=Bounds(ratio=50))
    path = layout(tmp_path / "image", [[entry("f", content=bytes(80 * 1024 * 1024))]])
    with pytest.raises(InvalidArgumentError, match="expands more than 50 times"):
        await acquire(store, path)


@pytest.mark.parametrize("blob", ["layer", "configuration", "manifest"])
async def test_a_blob_that_is_not_what_its_digest_says_is_refused(store, tmp_path, blob):
    path = layout(tmp_path / "image", [[entry("f", content=b"x")]])
    order = sorted((path / "blobs" / "sha256").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    target = {"configuration": order[0], "layer": order[1], "manifest": order[2]}[blob]
    changed = bytearray(target.read_bytes())
    changed[-1] ^= 1
    target.write_bytes(changed)
    with pytest.raises(InvalidArgumentError):
        await acquire(store, path)
    assert store.list() == []


async def test_content_that_is_not_what_the_configuration_says_is_refused(store, tmp_path):
    # Else an image could put its own content in place of another's, which goes by these digests.
    path = layout(tmp_path / "image", [[entry("f", content=b"evil")]], diff_ids=[sha256(b"another")])
    with pytest.raises(InvalidArgumentError, match="the content has the digest"):
        await acquire(store, path)


async def test_an_image_for_another_platform_is_refused_by_name(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f")]], architecture="mips64")
    with pytest.raises(InvalidArgumentError, match="it is for linux/mips64, this host is linux/"):
        await acquire(store, path)


# Kinds of images


async def test_the_configuration_is_kept(store, tmp_path):
    config = {"Env": ["A=b=c", "broken"], "Entrypoint": ["/e"], "Cmd": ["x", "y"], "WorkingDir": "/w"}
    path = layout(tmp_path / "image", [[entry("f")]], config)
    for _ in range(2):
        image = await acquire(store, path)
        assert image.config.environment == {"A": "b=c"}
        assert (image.config.command, image.config.working_dir) == (("/e", "x", "y"), "/w")


async def test_a_tag_chooses_in_a_layout(store, tmp_path):
    blobs = Blobs(tmp_path / "image")
    images = {tag: put_image(blobs, [[entry("f", content=tag.encode())]]) for tag in ("one", "two")}
    path = write_layout(tmp_path / "image", **images)
    image = await store.acquire(parse_source(f"oci:{path}:two"), path)
    assert tree(image) == {"f": "two"}
    with pytest.raises(InvalidArgumentError, match="several images, and none is named; it has one, two"):
        await store.acquire(parse_source(f"oci:{path}"), path)


async def test_a_tag_chooses_in_an_archive(store, tmp_path):
    path = docker_archive(tmp_path / "a.tar", [[entry("f", content=b"x")]])
    image = await store.acquire(parse_source(f"docker-archive:{path}:test"), path)
    assert tree(image) == {"f": "x"}
    with pytest.raises(InvalidArgumentError, match="no 'other:1'"):
        await store.acquire(parse_source(f"docker-archive:{path}:other:1"), path)


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
async def test_a_tar_file_of_a_root_file_system_may_be_compressed(store, tmp_path, compression):
    path = tmp_path / "root.tar"
    with tarfile.open(path, f"w:{compression}") as tar:
        info, content = entry("etc/f", content=b"x")
        tar.addfile(info, io.BytesIO(content))
    assert tree(await acquire(store, path)) == {"etc": "dir", "etc/f": "x"}


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("place", [0.5, 0.99])
async def test_a_compressed_tar_file_that_is_damaged_is_refused(store, tmp_path, compression, place):
    path = tmp_path / "root.tar"
    with tarfile.open(path, f"w:{compression}") as tar:
        info, content = entry("f", content=os.urandom(50_000))
        tar.addfile(info, io.BytesIO(content))
    damaged = bytearray(path.read_bytes())
    damaged[int(len(damaged) * place)] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(InvalidArgumentError):
        await acquire(store, path)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"table"
ZSTD: dict[str, Callable[[bytes], bytes]] = {
    "one frame": zstd.compress,
    "two frames": lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:]),
    "a table at its end, as of zstd:chunked": lambda data: zstd.compress(data) + SKIPPABLE,
    "a table at its beginning, as of pzstd": lambda data: SKIPPABLE + zstd.compress(data),
}


@pytest.mark.parametrize("kind", ZSTD)
async def test_layers_of_zstd_are_unpacked(store, tmp_path, kind):
    layers = [[entry("f", content=b"old"), entry("g", content=b"y" * 5000)], [entry("f", content=b"new")]]
    image = await acquire(store, layout(tmp_path / "image", layers, compress=ZSTD[kind]))
    assert tree(image) == {"f": "new", "g": "y" * 5000}


@pytest.mark.parametrize("kind", ZSTD)
async def test_tar_files_of_zstd_are_unpacked(store, tmp_path, kind):
    path = tmp_path / "root.tar.zst"
    path.write_bytes(ZSTD[kind](tar_bytes([directory("etc"), entry("etc/f", content=b"x" * 5000)])))
    assert tree(await acquire(store, path)) == {"etc": "dir", "etc/f": "x" * 5000}
    archive = packed(layout(tmp_path / "image", [[entry("f", content=b"x")]]))
    archive.write_bytes(ZSTD[kind](archive.read_bytes()))
    assert tree(await acquire(store, archive)) == {"f": "x"}


async def test_a_zstd_layer_that_is_damaged_or_cut_or_a_bomb_is_refused(tmp_path):
    store = opened(tmp_path / "store", bounds=Bounds(ratio=50))
    whole = zstd.compress(tar_bytes([entry("f", content=os.urandom(50_000))]))
    wide = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.content_size_flag: 0}
    layers = {
        "damaged": whole[:20_000] + b"\0" * 100 + whole[20_100:],
        "cut": whole[:30_000],
        "a bomb": zstd.compress(tar_bytes([entry("f", content=bytes(80 * 1024 * 1024))])),
        "a window of 256 MiB": zstd.ZstdCompressor(options=wide).compress(os.urandom(2000)),
    }
    for name, layer in layers.items():
        with pytest.raises(InvalidArgumentError):
            await acquire(store, raw_layout(tmp_path / name, layer))
    assert store.list() == []


async def test_a_file_that_has_changed_is_unpacked_again(store, tmp_path):
    path = tmp_path / "root.tar"
    for content in (b"one", b"two"):
        path.write_bytes(tar_bytes([directory("etc"), entry("f", content=content)]))
        assert tree(await acquire(store, path)) == {"etc": "dir", "f": content.decode()}


async def test_a_link_in_a_layout_does_not_lead_out_of_it(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f")]])
    (path / "index.json").rename(tmp_path / "index.json")
    (path / "index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(InvalidArgumentError, match=r"no file 'index\.json'"):
        await acquire(store, path)


# Keeping


async def test_images_with_the_same_content_share_it(store, tmp_path):
    one = await acquire(store, layout(tmp_path / "one", [[entry("f")]], {"Cmd": ["one"]}))
    other = await acquire(store, layout(tmp_path / "other", [[entry("f")]], {"Cmd": ["other"]}))
    assert one.rootfs == other.rootfs
    assert (one.config.cmd, other.config.cmd) == (("one",), ("other",))


async def test_what_is_in_use_is_not_removed(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f")]])
    image = await acquire(store, path)
    with pytest.raises(InvalidArgumentError, match="a sandbox uses it"):
        store.remove(parse_source(str(path)))
    image.release()
    assert store.remove(parse_source(str(path)))
    assert (image.rootfs.exists(), store.list()) == (False, [])


async def test_what_was_unused_for_longest_is_evicted_first_and_nothing_in_use(tmp_path):
    store = opened(tmp_path / "store", max_bytes=25_000)
    paths = [
        layout(tmp_path / name, [[entry(name, content=os.urandom(10_000))]]) for name in ("a", "b", "c", "d")
    ]
    in_use = await acquire(store, paths[0])
    for number, path in enumerate(paths[1:3]):
        image = await acquire(store, path)
        image.release()
        os.utime(image.rootfs.parent, (1000 + number, 1000 + number))
    (await acquire(store, paths[3])).release()
    assert in_use.rootfs.exists()
    assert [image.name for image in store.list()] == [str(paths[0]), str(paths[3])]


HOLDER = """
import asyncio, sys
from pathlib import Path
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.store import ImageStore
async def main():
    store = ImageStore(Path(sys.argv[1]))
    store.open()
    image = await store.acquire(parse_source(sys.argv[2]), Path(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def test_an_image_that_another_process_uses_is_not_removed_until_that_ends(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f")]])
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store"), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InvalidArgumentError, match="a sandbox uses it"):
            store.remove(parse_source(str(path)))
        assert [image.tree.in_use for image in store.list()] == [True]
        holder.kill()
    assert store.remove(parse_source(str(path)))


async def test_many_starts_of_one_image_unpack_it_once(tmp_path):
    events: list[str] = []
    store = opened(tmp_path / "store", report=lambda event, **_: events.append(event))
    path = layout(tmp_path / "image", [[entry("f", content=bytes(100_000))]])
    images = await asyncio.gather(*(acquire(store, path) for _ in range(10)))
    assert len({image.rootfs for image in images}) == 1
    assert events.count("image unpacking") == 1


async def test_a_start_that_is_given_up_does_not_stop_the_others(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f", content=bytes(1_000_000))]])
    first = asyncio.create_task(acquire(store, path))
    second = asyncio.create_task(acquire(store, path))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).rootfs.is_dir()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_a_killed_process_left_half_made_is_removed(tmp_path):
    store = opened(tmp_path / "store")
    (tmp_path / "store" / "trees" / ("0" * 64 + ".partial") / "tree" / "d").mkdir(parents=True)
    (tmp_path / "store" / "trees" / "trash" / "1234" / "d").mkdir(parents=True)
    store.open()
    assert [path.name for path in (tmp_path / "store" / "trees").rglob("*")] == ["trash"]


async def test_an_image_in_use_can_be_held_again_by_its_content(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f")]])
    image = await acquire(store, path)
    again = store.hold(image.chain)
    image.release()
    assert again is not None
    with pytest.raises(InvalidArgumentError, match="a sandbox uses it"):
        store.remove(parse_source(str(path)))
    again.release()
    assert store.hold(sha256(b"nothing")) is None


# What somebody exchanges, and what is neither image nor root file system


async def test_a_link_in_the_place_of_a_file_that_was_allowed_is_not_followed(store, tmp_path):
    secret = tmp_path / "secret.tar"
    secret.write_bytes(tar_bytes([directory("etc"), entry("etc/shadow", content=b"x")]))
    path = tmp_path / "image.tar"
    path.symlink_to(secret)
    with pytest.raises(InvalidArgumentError, match="Too many levels of symbolic links"):
        await acquire(store, path)


@pytest.mark.parametrize("through", ["itself", "a directory on the way"])
async def test_a_link_in_the_place_of_a_layout_that_was_allowed_is_not_followed(store, tmp_path, through):
    layout(tmp_path / "secret" / "image", [[entry("f")]])
    path = tmp_path / "allowed" / "image"
    if through == "itself":
        path.parent.mkdir()
        path.symlink_to(tmp_path / "secret" / "image")
    else:
        path.parent.symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidArgumentError, match="Too many levels of symbolic links"):
        await acquire(store, path, "oci:")


async def test_a_link_within_a_layout_is_followed(store, tmp_path):
    path = layout(tmp_path / "image", [[entry("f", content=b"x")]])
    (path / "blobs").rename(path / "kept")
    (path / "blobs").symlink_to("kept")
    assert tree(await acquire(store, path)) == {"f": "x"}


def packed(path: Path, *, prefix: str = "", compression: str = "") -> Path:
    """Pack a directory as `tar` does, with a prefix before each name."""
    target = path.with_suffix(".tar")
    with tarfile.open(target, f"w:{compression}") as tar:
        tar.add(path, arcname=prefix or ".") if prefix else [
            tar.add(each, each.name) for each in path.iterdir()
        ]
    return target


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
@pytest.mark.parametrize("prefix", ["", "./", "."])
async def test_a_layout_in_a_tar_file_is_an_image_whatever_its_names_begin_with(
    store, tmp_path, prefix, compression
):
    path = layout(tmp_path / "image", [[entry("f", content=b"x")], [entry("g", content=b"y")]])
    image = await acquire(store, packed(path, prefix=prefix, compression=compression))
    assert tree(image) == {"f": "x", "g": "y"}


NEITHER = {
    "an image without an index": ("blobs", "oci-layout"),
    "an index alone": ("index.json.bak", "oci-layout"),
    "documents": ("readme.txt", "notes"),
}


@pytest.mark.parametrize("kind", ["directory", "tar file"])
@pytest.mark.parametrize("names", NEITHER.values(), ids=NEITHER)
async def test_what_is_neither_an_image_nor_a_root_is_refused_by_what_it_holds(tmp_path, names, kind):
    path = tmp_path / "what"
    path.mkdir()
    for name in names:
        # On some file systems every file may be executed.
        (path / name).touch(mode=0o755 if name == "oci-layout" else 0o644)
    images = Images(tmp_path / "images", [tmp_path])
    images.open()
    image = path if kind == "directory" else packed(path)
    with pytest.raises(InvalidArgumentError, match="neither an image nor a root file system: .*" + names[0]):
        await images.resolve(str(image))


@pytest.mark.parametrize("name", ["usr", "bin", "etc"])
async def test_a_directory_of_a_system_makes_a_root(tmp_path, name):
    (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root" / "manifest.json").touch()
    images = Images(tmp_path / "images", [tmp_path])
    images.open()
    for image in (tmp_path / "root", packed(tmp_path / "root")):
        (await images.resolve(str(image))).release()


async def test_a_start_that_is_given_up_while_its_image_is_supplied_with_files_keeps_nothing(
    tmp_path, monkeypatch
):
    (tmp_path / "root" / "etc").mkdir(parents=True)
    images = Images(tmp_path / "images", [tmp_path])
    images.open()
    image = str(packed(tmp_path / "root"))
    (await images.resolve(image)).release()
    begun, going_on = threading.Event(), threading.Event()

    def supply(root: Path) -> None:
        begun.set()
        going_on.wait(5)

    monkeypatch.setattr(rootfs, "supply", supply)
    before = os.listdir("/proc/self/fd")
    starting = asyncio.create_task(images.resolve(image))
    assert await asyncio.to_thread(begun.wait, 30)
    # The loop goes on meanwhile.
    assert not starting.done()
    starting.cancel()
    going_on.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert os.listdir("/proc/self/fd") == before


async def test_one_program_alone_is_a_root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "program").touch(mode=0o755)
    images = Images(tmp_path / "images", [tmp_path])
    images.open()
    assert (await images.resolve(str(tmp_path / "root"))).lower == tmp_path / "root"


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
async def test_a_link_where_a_file_system_is_mounted_is_refused_in_a_directory_too(tmp_path, name):
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / name).symlink_to("/tmp")
    images = Images(tmp_path / "images", [tmp_path])
    images.open()
    with pytest.raises(InvalidArgumentError, match=f"its /{name} is not a directory"):
        await images.resolve(str(tmp_path / "root"))

"""Root file systems from tar files: what is kept, and that hostile ones write nothing outside."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_sandbox import InvalidArgumentError
from flash_sandbox.orchestrator.images.streams import unpack_stream
from flash_sandbox.orchestrator.sandboxing import archive
from flash_sandbox.orchestrator.sandboxing.bounded_tar import Bounds
from flash_sandbox.orchestrator.sandboxing.extraction import Extraction


def entry(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "", mode: int = 0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    return info, content


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def unpack(file: io.BytesIO, root: Path) -> None:
    extraction = Extraction(root, bounds=Bounds())
    unpack_stream(extraction, file, Bounds(), any_compression=True)
    extraction.finish()


@pytest.fixture
def root(tmp_path) -> Path:
    path = tmp_path / "store" / "root"
    path.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")
    return path


def outside(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root.parents[1]))
        for path in root.parents[1].rglob("*")
        if root not in (path, *path.parents)
    )


HOSTILE: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "dot-dot path": [entry("../outside/new", content=b"x")],
    "dot-dot in the middle": [entry("a/../../outside/new", content=b"x")],
    "through a link it made": [
        entry("l", tarfile.SYMTYPE, link="../../outside"),
        entry("l/new", content=b"x"),
    ],
    "through an absolute link": [
        entry("l", tarfile.SYMTYPE, link="/tmp"),
        entry("l/flash-new", content=b"x"),
    ],
    "through a file": [entry("f", content=b"x"), entry("f/new", content=b"x")],
    "hard link to outside": [entry("h", tarfile.LNKTYPE, link="../../outside/file")],
    "hard link through a link": [
        entry("l", tarfile.SYMTYPE, link="../../outside"),
        entry("h", tarfile.LNKTYPE, link="l/file"),
    ],
    "hard link to a link": [
        entry("l", tarfile.SYMTYPE, link="../../outside/file"),
        entry("h", tarfile.LNKTYPE, link="l"),
    ],
    "hard link to nothing": [entry("h", tarfile.LNKTYPE, link="nothing")],
    "very long name": [entry("n" * 300, content=b"x")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(root, name):
    before = outside(root)
    with pytest.raises(InvalidArgumentError):
        unpack(tar_of(*HOSTILE[name]), root)
    assert outside(root) == before
    assert (root.parents[1] / "outside" / "file").read_text() == "untouched"


def test_an_absolute_path_is_taken_as_one_below_the_root(root):
    unpack(tar_of(entry("/etc/motd", content=b"x")), root)
    assert (root / "etc" / "motd").read_bytes() == b"x"


def test_a_link_to_anywhere_is_kept_as_it_is(root):
    unpack(tar_of(entry("l", tarfile.SYMTYPE, link="/etc/passwd")), root)
    assert os.readlink(root / "l") == "/etc/passwd"


def test_a_later_entry_replaces_an_earlier_link_and_not_its_target(root):
    unpack(tar_of(entry("l", tarfile.SYMTYPE, link="../../outside/file"), entry("l", content=b"new")), root)
    assert ((root / "l").read_bytes(), (root / "l").is_symlink()) == (b"new", False)
    assert (root.parents[1] / "outside" / "file").read_text() == "untouched"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_are_left_out(root, kind):
    unpack(tar_of(entry("dev/disk", kind)), root)
    assert not (root / "dev" / "disk").exists()


def test_the_set_user_id_bit_is_dropped(root):
    unpack(tar_of(entry("su", content=b"x", mode=0o6755)), root)
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755


def test_modes_and_hard_links_are_kept(root):
    unpack(
        tar_of(
            entry("d", tarfile.DIRTYPE, mode=0o500),
            entry("d/a", content=b"x", mode=0o640),
            entry("d/b", tarfile.LNKTYPE, link="d/a"),
        ),
        root,
    )
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o500
    assert stat.S_IMODE((root / "d" / "a").stat().st_mode) == 0o640
    assert (root / "d" / "a").samefile(root / "d" / "b")


@pytest.mark.parametrize("cut", [1, 100, 700, 1100])
def test_a_truncated_archive_is_refused(root, cut):
    whole = tar_of(entry("a", content=b"x" * 600), entry("b", content=b"y")).getvalue()
    with pytest.raises(InvalidArgumentError):
        unpack(io.BytesIO(whole[:cut]), root)


def test_a_layer_survives_packing_and_unpacking(tmp_path):
    layer, again, file = tmp_path / "layer", tmp_path / "again", tmp_path / "layer.tar"
    (layer / "d" / "e").mkdir(parents=True)
    (layer / "d" / "f").write_bytes(bytes(range(256)))
    os.setxattr(layer / "d" / "f", "user.note", b"\xff\x00kept")
    (layer / "d").chmod(0o710)
    os.mknod(layer / "deleted", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(layer / "d" / "e", "user.overlay.opaque", b"y")
    again.mkdir()

    archive.pack_layer(layer, file)
    with file.open("rb") as packed:
        archive.unpack_layer(packed, again, None)

    assert (again / "d" / "f").read_bytes() == bytes(range(256))
    assert os.getxattr(again / "d" / "f", "user.note") == b"\xff\x00kept"
    assert stat.S_IMODE((again / "d").stat().st_mode) == 0o710
    assert stat.S_ISCHR((again / "deleted").lstat().st_mode)
    assert os.getxattr(again / "d" / "e", "user.overlay.opaque") == b"y"


def test_an_empty_layer_survives_too(tmp_path):
    layer, again, file = tmp_path / "layer", tmp_path / "again", tmp_path / "layer.tar"
    layer.mkdir()
    again.mkdir()
    archive.pack_layer(layer, file)
    with file.open("rb") as packed:
        archive.unpack_layer(packed, again, None)
    assert list(again.iterdir()) == []


def test_what_cannot_be_packed_leaves_no_file(tmp_path):
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "sparse").touch()
    os.truncate(layer / "sparse", 1 << 43)
    with pytest.raises(Exception, match="needs") as caught:
        archive.pack_layer(layer, tmp_path / "layer.tar")
    assert caught.value.reason == "unavailable"
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]


@pytest.mark.parametrize(
    "prepare", [lambda d: d.chmod(0), lambda d: (d / "x").mkdir(), lambda d: (d / "l").symlink_to("/")]
)
def test_any_tree_can_be_removed(tmp_path, prepare: Callable[[Path], object]):
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    prepare(tree / "closed")
    archive.remove_tree(tree)
    assert not tree.exists()

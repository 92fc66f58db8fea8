"""Root file systems from tar files: what is kept, and that hostile ones write nothing outside."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from small_disk import small_disk

from flash_sandbox import ConflictError, InvalidArgumentError, UnavailableError
from flash_sandbox.orchestrator.archives import layers
from flash_sandbox.orchestrator.archives.bounded_tar import Bounds
from flash_sandbox.orchestrator.archives.extraction import Extraction
from flash_sandbox.orchestrator.archives.layer_copy import copy_layer
from flash_sandbox.orchestrator.archives.layer_walk import MAX_DEPTH
from flash_sandbox.orchestrator.images.streams import unpack_stream
from flash_sandbox.orchestrator.linux.id_range import IdRange
from flash_sandbox.orchestrator.linux.tree_walk import remove_tree


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


def pack_and_unpack(layer: Path, again: Path, owners: IdRange | None, new_owners: IdRange | None) -> None:
    packed = again.with_suffix(".tar")
    layers.pack_layer(layer, packed, owners)
    with packed.open("rb") as file:
        layers.unpack_layer(file, again, new_owners)


Save = Callable[..., None]


@pytest.fixture(params=[pack_and_unpack, copy_layer])
def save(request: pytest.FixtureRequest) -> Save:
    """Fill a directory with what is in a layer."""
    return request.param


def test_a_layer_survives(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    (layer / "d" / "e").mkdir(parents=True)
    (layer / "d" / "f").write_bytes(bytes(range(256)))
    os.setxattr(layer / "d" / "f", "user.note", b"\xff\x00kept")
    (layer / "d").chmod(0o710)
    os.mknod(layer / "deleted", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(layer / "d" / "e", "user.overlay.opaque", b"y")
    again.mkdir()

    save(layer, again, None, None)

    assert (again / "d" / "f").read_bytes() == bytes(range(256))
    assert os.getxattr(again / "d" / "f", "user.note") == b"\xff\x00kept"
    assert stat.S_IMODE((again / "d").stat().st_mode) == 0o710
    assert stat.S_ISCHR((again / "deleted").lstat().st_mode)
    assert os.getxattr(again / "d" / "e", "user.overlay.opaque") == b"y"


def test_an_empty_layer_survives_too(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    save(layer, again, None, None)
    assert list(again.iterdir()) == []


def make_deep(top: Path, depth: int, name: str = "d") -> None:
    """Make nested directories, whatever the length of the path."""
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


@pytest.mark.parametrize(("depth", "name"), [(257, "d"), (1200, "d"), (40, "n" * 200)])
def test_a_path_that_no_snapshot_can_hold_is_refused_and_leaves_no_file(tmp_path, depth, name):
    layer = tmp_path / "layer"
    layer.mkdir()
    make_deep(layer, depth, name)
    with pytest.raises(ConflictError, match="a path of more than 256 directories or 3072 bytes"):
        layers.pack_layer(layer, tmp_path / "layer.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["layer"]
    remove_tree(layer)


def test_what_somebody_else_is_writing_stays(tmp_path):
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer.tar.partial").write_text("another's")
    with pytest.raises(FileExistsError):
        layers.pack_layer(tmp_path / "layer", tmp_path / "layer.tar")
    assert (tmp_path / "layer.tar.partial").read_text() == "another's"


def test_a_path_as_long_as_a_snapshot_holds_survives(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    make_deep(layer, MAX_DEPTH, "n" * 10)
    deepest = "/".join(["n" * 10] * MAX_DEPTH)
    (layer / deepest / ("f" * 255)).write_bytes(b"deep")
    save(layer, again, None, None)
    assert (again / deepest / ("f" * 255)).read_bytes() == b"deep"


def test_holes_stay_holes(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    (layer / "empty").touch()
    os.truncate(layer / "empty", 1 << 30)
    with (layer / "parts").open("wb") as parts:
        for offset in (1 << 20, 1 << 33):
            parts.seek(offset)
            parts.write(b"x" * 5000)
        parts.truncate(1 << 34)
    os.setxattr(layer / "parts", "user.note", b" path=elsewhere\n")
    os.mkdir(layer / ("long" * 50))
    os.rename(layer / "parts", layer / ("long" * 50) / "parts")

    save(layer, again, None, None)

    parts = again / ("long" * 50) / "parts"
    packed = again.with_suffix(".tar")
    assert not packed.exists() or packed.stat().st_size < 1 << 20
    assert ((again / "empty").stat().st_size, (again / "empty").stat().st_blocks) == (1 << 30, 0)
    assert (parts.stat().st_size, parts.stat().st_blocks < 100) == (1 << 34, True)
    assert os.getxattr(parts, "user.note") == b" path=elsewhere\n"
    with parts.open("rb") as file_again:
        assert file_again.read(1 << 20) == bytes(1 << 20)
        assert file_again.read(5001) == b"x" * 5000 + b"\0"
        file_again.seek(1 << 33)
        assert file_again.read(5001) == b"x" * 5000 + b"\0"


@pytest.mark.parametrize("sparse", [[(0, 600), (300, 300)], [(600, 300)], [(-1, 10)]])
def test_a_sparse_file_whose_parts_do_not_fit_is_refused(root, sparse):
    listed = "".join(f"{number}\n" for number in [len(sparse), *(n for part in sparse for n in part)])
    info, content = entry("f", content=listed.encode().ljust(512, b"\0") + b"x" * 900)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "800"}
    with pytest.raises(InvalidArgumentError):
        unpack(tar_of((info, content)), root)


def test_names_of_any_bytes_survive_and_several_names_stay_one_file(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    names = [b"new\nline", b"\xff\xfe", "ü".encode() * 100, b"n" * 255, b"  ", b"-x"]
    for name in names:
        (layer / os.fsdecode(name)).write_bytes(name)
        os.link(layer / os.fsdecode(name), os.fsencode(layer) + b"/" + name[:-1] + b"+")
    save(layer, again, None, None)
    assert sorted(os.listdir(os.fsencode(again))) == sorted([*names, *(name[:-1] + b"+" for name in names)])
    for name in names:
        one, other = again / os.fsdecode(name), again / os.fsdecode(name[:-1] + b"+")
        assert one.read_bytes() == name
        assert one.samefile(other)


def test_modes_that_deny_their_owner_are_kept(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    (layer / "closed" / "below").mkdir(parents=True)
    again.mkdir()
    (layer / "closed" / "below" / "file").write_bytes(b"x")
    closed = (layer / "closed" / "below" / "file", layer / "closed" / "below", layer / "closed")
    for path in closed:
        path.chmod(0)
    save(layer, again, None, None)
    assert stat.S_IMODE((layer / "closed").stat().st_mode) == 0
    assert stat.S_IMODE((again / "closed").stat().st_mode) == 0
    (again / "closed").chmod(0o700)
    (again / "closed" / "below").chmod(0o700)
    assert stat.S_IMODE((again / "closed" / "below" / "file").stat().st_mode) == 0
    remove_tree(layer)


def test_owners_are_the_sandboxs_own_whatever_their_ids_are_outside(tmp_path, save: Save):
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    layer, again = tmp_path / "layer", tmp_path / "again"
    before, after = IdRange(1_000_000), IdRange(2_000_000)
    owners = {"of-root": (0, 0), "of-user": (33, 42), "of-last": (65535, 65535)}
    for name, (user, group) in owners.items():
        (layer / name).mkdir(parents=True)
        (layer / name / "file").write_bytes(b"x" + bytes(1 << 20))
        os.truncate(layer / name / "file", 1 << 22)
        (layer / name / "link").symlink_to("file")
        for path in (layer / name, *(layer / name).iterdir()):
            os.chown(path, before.outside(user), before.outside(group), follow_symlinks=False)
    # What belongs to neither is nobody's.
    (layer / "of-host").touch()
    again.mkdir()
    save(layer, again, before, after)
    for name, owner in owners.items():
        for path in (again / name, *(again / name).iterdir()):
            status = path.lstat()
            assert (after.inside(status.st_uid), after.inside(status.st_gid)) == owner, path
    assert (again / "of-host").stat().st_uid == after.outside(65534)


@pytest.mark.parametrize(
    ("user", "count", "expected"), [(-1, 65536, 65534), (70000, 65536, 65534), (5, 1, 0)]
)
def test_an_owner_whom_the_sandbox_lacks_is_none_of_the_hosts(tmp_path, user, count, expected):
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    info, content = entry("file", content=b"x")
    info.pax_headers = {"uid": str(user), "gid": str(user)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    ids = IdRange(1_000_000, count)
    extraction = Extraction(tmp_path, owners=ids)
    extraction.add(file)
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (1_000_000 + expected, 1_000_000 + expected)


def test_a_copy_drops_what_would_work_for_others_and_what_only_overlayfs_may_say(tmp_path):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    (layer / "su").write_bytes(b"x")
    (layer / "su").chmod(0o6755)
    os.setxattr(layer / "su", "user.overlay.origin", b"x")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(layer / "socket"))
    listener.close()
    os.mkfifo(layer / "pipe", 0o640)
    copy_layer(layer, again, None, None)
    assert sorted(os.listdir(again)) == ["pipe", "su"]
    assert stat.S_IMODE((again / "su").stat().st_mode) == 0o755
    assert os.listxattr(again / "su") == []
    assert stat.S_ISFIFO((again / "pipe").stat().st_mode)


def test_a_copy_shares_no_blocks_that_a_writer_would_change(tmp_path, save: Save):
    layer, again = tmp_path / "layer", tmp_path / "again"
    layer.mkdir()
    again.mkdir()
    (layer / "file").write_bytes(b"before" * 100_000)
    save(layer, again, None, None)
    (layer / "file").write_bytes(b"after!" * 100_000)
    assert (again / "file").read_bytes() == b"before" * 100_000


def test_a_layer_of_another_file_system_is_packed_and_copied(tmp_path):
    content = bytes(range(256)) * 5000
    with small_disk(tmp_path / "disk", 8) as disk:
        layer = disk.path / "layer"
        layer.mkdir()
        (layer / "file").write_bytes(content)
        layers.pack_layer(layer, tmp_path / "packed.tar")
        (tmp_path / "copy").mkdir()
        copy_layer(layer, tmp_path / "copy", None, None)
    (tmp_path / "unpacked").mkdir()
    with (tmp_path / "packed.tar").open("rb") as file:
        layers.unpack_layer(file, tmp_path / "unpacked", None)
    assert (tmp_path / "unpacked" / "file").read_bytes() == content
    assert (tmp_path / "copy" / "file").read_bytes() == content


def test_a_copy_to_a_full_disk_is_unavailable(tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        for name in ("layer", "again"):
            (disk.path / name).mkdir()
        (disk.path / "layer" / "file").write_bytes(b"x" * 3_000_000)
        with pytest.raises(UnavailableError, match="No space left"):
            copy_layer(disk.path / "layer", disk.path / "again", None, None)

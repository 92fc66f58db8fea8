"""What every client does with the files in a sandbox: one body for all four, which never asks which it is."""

from __future__ import annotations

import collections
import io
import os
import stat
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flash_sandbox import (
    ConflictError,
    FileInfo,
    InvalidArgumentError,
    PayloadTooLargeError,
    Reason,
    Sandbox,
    SandboxAPI,
    SandboxError,
    SandboxFileConflictError,
    SandboxFileNotFoundError,
    SandboxFilePermissionError,
    SandboxNotFoundError,
)

MIB = 1024 * 1024

# Belongs to the host's root, who is nobody to a sandbox: of its own files a sandbox's root is denied none.
CLOSED = "/proc/tty/driver"
OF_A_PATH: dict[str, Callable[..., object]] = {
    "read_file": lambda client, sandbox_id, path, _: client.read_file(sandbox_id, path),
    "write_file": lambda client, sandbox_id, path, _: client.write_file(sandbox_id, path, b""),
    "stat": lambda client, sandbox_id, path, _: client.stat(sandbox_id, path),
    "list_dir": lambda client, sandbox_id, path, _: client.list_dir(sandbox_id, path),
    "make_dir": lambda client, sandbox_id, path, _: client.make_dir(sandbox_id, path),
    "remove": lambda client, sandbox_id, path, _: client.remove(sandbox_id, path),
    "move": lambda client, sandbox_id, path, _: client.move(sandbox_id, path, "/tmp/target"),
    "upload": lambda client, sandbox_id, path, local: client.upload(sandbox_id, local, path),
    "download": lambda client, sandbox_id, path, local: client.download(sandbox_id, path, local / "copy"),
}


def sh(client: SandboxAPI, sandbox_id: str, script: str) -> str:
    result = client.exec_command(sandbox_id, ["/bin/sh", "-c", script])
    assert result.exit_code == 0, result
    return result.stdout


def test_any_bytes_come_back_as_they_went(client: SandboxAPI, sandbox_id: str) -> None:
    @given(st.binary(max_size=2000))
    @settings(max_examples=25)
    @example(b"")
    @example(b"\0\xff\xfe\r\n\x1a")
    @example(bytes(range(256)) * 1000)
    def hold(content: bytes) -> None:
        client.write_file(sandbox_id, "/tmp/file", content)
        assert client.read_file(sandbox_id, "/tmp/file") == content

    hold()


def test_a_file_as_large_as_a_message_comes_back(client: SandboxAPI, sandbox_id: str) -> None:
    content = os.urandom(8 * MIB)
    client.write_file(sandbox_id, "/tmp/file", content)
    assert client.read_file(sandbox_id, "/tmp/file") == content


def test_a_file_larger_than_a_message_is_to_be_downloaded(client: SandboxAPI, sandbox_id: str) -> None:
    sh(client, sandbox_id, f"head -c {8 * MIB + 1} /dev/zero > /tmp/file")
    with pytest.raises(PayloadTooLargeError, match="download") as caught:
        client.read_file(sandbox_id, "/tmp/file")
    assert caught.value.operation == "read_file"


def test_content_larger_than_a_message_is_refused_before_any_transport(
    client: SandboxAPI, sandbox_id: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.write_file(sandbox_id, "/tmp/file", bytes(8 * MIB + 1))
    assert caught.value.transport is None


def test_a_text_is_written_as_utf8(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/file", "\u20ac\n")
    assert client.read_file(sandbox_id, "/tmp/file") == b"\xe2\x82\xac\n"


@pytest.mark.parametrize("name", ["a b", "-n", "*", "'\"$HOME`", "a\nb", "\u20ac", "\\0", "x" * 255])
def test_a_name_is_taken_as_it_is(client: SandboxAPI, sandbox_id: str, name: str) -> None:
    client.make_dir(sandbox_id, "/tmp/names")
    client.write_file(sandbox_id, f"/tmp/names/{name}", b"here")
    assert [info.name for info in client.list_dir(sandbox_id, "/tmp/names")] == [name]
    assert client.read_file(sandbox_id, f"/tmp/names/{name}") == b"here"
    client.move(sandbox_id, f"/tmp/names/{name}", f"/tmp/names/{name[1:]}b")
    client.remove(sandbox_id, f"/tmp/names/{name[1:]}b")
    assert client.list_dir(sandbox_id, "/tmp/names") == ()


def test_a_file_has_the_mode_that_is_asked_for(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/file", b"")
    client.write_file(sandbox_id, "/tmp/program", b"#!/bin/sh\necho runs\n", mode=0o750)
    client.make_dir(sandbox_id, "/tmp/dir", mode=0o1777)
    modes = [client.stat(sandbox_id, f"/tmp/{name}").mode for name in ("file", "program", "dir")]
    assert modes == [0o644, 0o750, 0o1777]
    assert client.exec_command(sandbox_id, ["/tmp/program"]).stdout == "runs\n"


def test_missing_directories_are_made_where_that_is_asked(client: SandboxAPI, sandbox_id: str) -> None:
    with pytest.raises(SandboxFileNotFoundError):
        client.write_file(sandbox_id, "/tmp/a/b/c", b"")
    client.write_file(sandbox_id, "/tmp/a/b/c", b"", parents=True)
    with pytest.raises(SandboxFileNotFoundError):
        client.make_dir(sandbox_id, "/tmp/x/y")
    client.make_dir(sandbox_id, "/tmp/x/y", mode=0o700, parents=True)
    client.make_dir(sandbox_id, "/tmp/x/y", parents=True)
    modes = [client.stat(sandbox_id, f"/tmp/{name}").mode for name in ("a", "a/b", "x", "x/y")]
    assert modes == [0o755, 0o755, 0o755, 0o700]


def test_stat_tells_what_is_there(client: SandboxAPI, sandbox_id: str) -> None:
    began = time.time()
    client.write_file(sandbox_id, "/tmp/file", b"12345", mode=0o600)
    sh(client, sandbox_id, "ln -s file /tmp/link; mkfifo -m 600 /tmp/fifo")
    file = client.stat(sandbox_id, "/tmp/file")
    assert began - 1 < file.modified_at < time.time() + 1
    assert file == FileInfo("/tmp/file", "file", 5, 0o600, 0, 0, file.modified_at)
    link = client.stat(sandbox_id, "/tmp/link")
    assert (link.type, link.link_target) == ("symlink", "file")
    assert client.stat(sandbox_id, "/tmp/fifo").type == "fifo"
    assert client.stat(sandbox_id, "/dev/null").type == "char_device"
    assert [client.stat(sandbox_id, path).type for path in ("/", "/tmp/", "/tmp/../tmp")] == ["directory"] * 3


def test_list_dir_tells_what_is_in_a_directory_by_name(client: SandboxAPI, sandbox_id: str) -> None:
    sh(
        client,
        sandbox_id,
        "mkdir -p /tmp/d/sub; cd /tmp/d; printf xy > .hidden; ln -s /gone link; ln -s d ../to",
    )
    found = client.list_dir(sandbox_id, "/tmp/d")
    assert [(info.name, info.type, info.link_target) for info in found] == [
        (".hidden", "file", ""),
        ("link", "symlink", "/gone"),
        ("sub", "directory", ""),
    ]
    assert found[0].size == 2
    assert found == client.list_dir(sandbox_id, "/tmp/to") == client.list_dir(sandbox_id, "/tmp/d/")


def test_a_name_that_is_not_utf8_is_told_with_replacements(client: SandboxAPI, sandbox_id: str) -> None:
    sh(client, sandbox_id, "mkdir /tmp/d; touch \"/tmp/d/$(printf 'a\\377b')\"")
    (info,) = client.list_dir(sandbox_id, "/tmp/d")
    assert info.name == "a\ufffdb"
    with pytest.raises(SandboxFileNotFoundError):
        client.read_file(sandbox_id, f"/tmp/d/{info.name}")


def test_a_large_directory_is_listed_whole(client: SandboxAPI, sandbox_id: str) -> None:
    sh(client, sandbox_id, "mkdir /tmp/d; cd /tmp/d; seq 3000 | xargs touch")
    assert len(client.list_dir(sandbox_id, "/tmp/d")) == 3000


def test_remove_takes_a_link_and_not_what_it_leads_to(client: SandboxAPI, sandbox_id: str) -> None:
    sh(client, sandbox_id, "mkdir /tmp/d; touch /tmp/d/kept; ln -s d /tmp/link")
    client.remove(sandbox_id, "/tmp/link", recursive=True)
    assert [info.name for info in client.list_dir(sandbox_id, "/tmp/d")] == ["kept"]


def test_a_full_directory_goes_only_where_that_is_asked(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/d/e/file", b"", parents=True)
    with pytest.raises(ConflictError, match="not empty") as caught:
        client.remove(sandbox_id, "/tmp/d")
    assert caught.value.reason == Reason.FILE_CONFLICT
    client.remove(sandbox_id, "/tmp/d", recursive=True)
    client.make_dir(sandbox_id, "/tmp/d")
    client.remove(sandbox_id, "/tmp/d")
    with pytest.raises(SandboxFileNotFoundError):
        client.stat(sandbox_id, "/tmp/d")


def test_move_replaces_a_file_but_no_directory(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/a", b"a")
    client.write_file(sandbox_id, "/tmp/b", b"b")
    client.make_dir(sandbox_id, "/tmp/d")
    client.move(sandbox_id, "/tmp/a", "/tmp/b")
    assert client.read_file(sandbox_id, "/tmp/b") == b"a"
    for source, target, reason in (
        ("/tmp/b", "/tmp/d", Reason.FILE_EXISTS),
        ("/tmp/d", "/tmp/b", Reason.FILE_EXISTS),
        ("/tmp/d", "/tmp/d/e", Reason.FILE_CONFLICT),
    ):
        with pytest.raises(SandboxFileConflictError) as caught:
            client.move(sandbox_id, source, target)
        assert caught.value.reason == reason
    client.move(sandbox_id, "/tmp/d", "/dev/shm/d")
    assert [info.type for info in client.list_dir(sandbox_id, "/dev/shm")] == ["directory"]


def test_a_link_is_replaced_by_a_write_and_followed_by_a_read(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/file", b"old")
    sh(client, sandbox_id, "ln -s file /tmp/link; ln -s loop /tmp/loop")
    assert client.read_file(sandbox_id, "/tmp/link") == b"old"
    for name in ("link", "loop"):
        client.write_file(sandbox_id, f"/tmp/{name}", b"new")
        assert client.stat(sandbox_id, f"/tmp/{name}").type == "file"
    assert client.read_file(sandbox_id, "/tmp/file") == b"old"


def test_a_reader_sees_the_old_content_or_the_new_one(client: SandboxAPI, sandbox_id: str) -> None:
    contents = [letter * 300_000 for letter in (b"a", b"b", b"c")]
    client.write_file(sandbox_id, "/tmp/file", contents[0])
    watch = (
        "until [ -e /tmp/end ]; do tr -d a < /tmp/file | tr -d '\\n' | wc -c;"
        " wc -c < /tmp/file; done 2>&1 | sort | uniq"
    )
    process = client.start_process(sandbox_id, ["/bin/sh", "-c", watch])
    for number in range(12):
        client.write_file(sandbox_id, "/tmp/file", contents[number % 3])
    client.write_file(sandbox_id, "/tmp/end", b"")
    seen = client.wait_process(sandbox_id, process).stdout.split()
    assert set(seen) <= {"0", "300000"}
    assert "300000" in seen


def test_a_write_leaves_nothing_else_behind(client: SandboxAPI, sandbox_id: str) -> None:
    client.write_file(sandbox_id, "/tmp/d/file", b"", parents=True)
    sh(client, sandbox_id, "mkdir /tmp/d/dir; mkfifo /tmp/d/fifo")
    for name in ("dir", "fifo"):
        with pytest.raises(ConflictError):
            client.write_file(sandbox_id, f"/tmp/d/{name}", b"x")
    assert [info.name for info in client.list_dir(sandbox_id, "/tmp/d")] == ["dir", "fifo", "file"]


# An upload makes what is not there.
@pytest.mark.parametrize("method", sorted(OF_A_PATH.keys() - {"upload"}))
def test_what_is_not_there_is_told(client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxFileNotFoundError) as caught:
        OF_A_PATH[method](client, sandbox_id, "/tmp/no/such/file", tmp_path)
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == ("file_not_found", 404, "NOT_FOUND")
    assert "/tmp/no/such/file" in error.detail
    assert error.detail.endswith("no such file or directory")


@pytest.mark.parametrize("method", OF_A_PATH)
def test_a_path_through_a_file_is_a_conflict(
    client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path
) -> None:
    client.write_file(sandbox_id, "/tmp/file", b"")
    with pytest.raises(ConflictError) as caught:
        OF_A_PATH[method](client, sandbox_id, "/tmp/file/x", tmp_path)
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == (
        "file_conflict",
        409,
        "FAILED_PRECONDITION",
    )


@pytest.mark.parametrize("method", OF_A_PATH)
def test_what_may_not_be_reached_is_denied(
    client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path
) -> None:
    with pytest.raises(SandboxFilePermissionError) as caught:
        OF_A_PATH[method](client, sandbox_id, f"{CLOSED}/x", tmp_path)
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == ("file_denied", 403, "PERMISSION_DENIED")


@pytest.mark.parametrize("method", ["write_file", "make_dir", "remove", "move", "upload"])
def test_what_is_read_only_is_denied(
    client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path
) -> None:
    path = "/usr/bin/env" if method in ("remove", "move") else "/usr/new"
    (tmp_path / "file").touch()
    with pytest.raises(SandboxFilePermissionError) as caught:
        OF_A_PATH[method](client, sandbox_id, path, tmp_path)
    assert caught.value.reason == Reason.FILE_DENIED


@pytest.mark.parametrize("method", ["read_file", "write_file", "download"])
@pytest.mark.parametrize("path", ["/tmp/fifo", "/dev/null", "/dev/zero"])
def test_what_is_no_regular_file_is_not_opened(
    client: SandboxAPI, sandbox_id: str, method: str, path: str, tmp_path: Path
) -> None:
    sh(client, sandbox_id, "mkfifo /tmp/fifo")
    with pytest.raises(ConflictError, match="no regular file") as caught:
        OF_A_PATH[method](client, sandbox_id, path, tmp_path)
    assert caught.value.reason == Reason.FILE_CONFLICT


@pytest.mark.parametrize("method", ["read_file", "write_file"])
def test_a_directory_is_no_file(client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="is a directory"):
        OF_A_PATH[method](client, sandbox_id, "/tmp", tmp_path)


def test_the_root_is_not_removed(client: SandboxAPI, sandbox_id: str) -> None:
    for path in ("/", "//", "/tmp/.."):
        with pytest.raises(ConflictError):
            client.remove(sandbox_id, path, recursive=True)
    assert client.stat(sandbox_id, "/").type == "directory"


@pytest.mark.parametrize("method", OF_A_PATH)
@pytest.mark.parametrize("path", ["", "relative", "a\0", "/a\0", "/\ud800", "/" + "x" * 4095, None, b"/x"])
def test_malformed_path_is_refused_before_any_transport(
    client: SandboxAPI, method: str, path: Any, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        OF_A_PATH[method](client, "unknown", path, tmp_path)
    assert caught.value.transport is None


@pytest.mark.parametrize("method", OF_A_PATH)
def test_unknown_sandbox_is_not_found(client: SandboxAPI, method: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxNotFoundError) as caught:
        OF_A_PATH[method](client, "unknown", "/tmp/file", tmp_path)
    assert caught.value.reason == Reason.SANDBOX_NOT_FOUND


@pytest.mark.parametrize("method", OF_A_PATH)
def test_paused_sandbox_is_a_conflict(
    client: SandboxAPI, sandbox_id: str, method: str, tmp_path: Path
) -> None:
    client.snapshot_sandbox(sandbox_id)
    with pytest.raises(ConflictError, match="paused") as caught:
        OF_A_PATH[method](client, sandbox_id, "/tmp/file", tmp_path)
    assert caught.value.reason == Reason.WRONG_STATE


def tree(directory: Path) -> None:
    """Make one of each kind that is copied."""
    (directory / "sub" / "empty").mkdir(parents=True)
    (directory / "sub" / "file").write_bytes(os.urandom(100_000))
    (directory / "none").touch()
    (directory / "program").write_text("#!/bin/sh\n")
    (directory / "program").chmod(0o755)
    (directory / "link").symlink_to("sub/file")
    (directory / "sub" / "up").symlink_to("../none")
    (directory / ("long" * 60)).mkdir()
    (directory / ("long" * 60) / ("name" * 60)).write_text("long")
    os.utime(directory / "none", (1_000_000_000, 1_000_000_000))


def held(directory: Path) -> dict[str, object]:
    """Return what a directory holds: content, target or kind, by name."""
    found: dict[str, object] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            mode = stat.S_IMODE(path.stat().st_mode)
            found[name] = (
                (path.read_bytes(), mode, int(path.stat().st_mtime)) if path.is_file() else "directory"
            )
    return found


def test_a_tree_comes_back_as_it_went(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "made" / "copy"
    tree(source)
    sent: list[tuple[int, int | None]] = []
    came: list[tuple[int, int | None]] = []
    client.upload(sandbox_id, source, "/tmp/made/tree", progress=lambda *told: sent.append(told))
    client.download(sandbox_id, "/tmp/made/tree", copy, progress=lambda *told: came.append(told))
    assert held(copy) == held(source)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    assert (sent[-1], came[-1]) == ((size, size), (size, None))


def test_a_file_gets_the_path_that_is_asked_for(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "made" / "copy"
    source.write_bytes(os.urandom(300_000))
    source.chmod(0o755)
    told: list[tuple[int, int | None]] = []
    client.upload(sandbox_id, source, "/tmp/made/file")
    client.download(sandbox_id, "/tmp/made/file", copy, progress=lambda *each: told.append(each))
    assert copy.read_bytes() == source.read_bytes() == client.read_file(sandbox_id, "/tmp/made/file")
    assert client.stat(sandbox_id, "/tmp/made/file").mode == stat.S_IMODE(copy.stat().st_mode) == 0o755
    assert told[-1] == (300_000, 300_000)
    assert os.listdir(copy.parent) == ["copy"]


def test_an_empty_directory_is_copied(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    client.upload(sandbox_id, tmp_path / "source", "/tmp/empty")
    client.download(sandbox_id, "/tmp/empty", tmp_path / "copy")
    assert (client.list_dir(sandbox_id, "/tmp/empty"), held(tmp_path / "copy")) == ((), {})


def test_what_is_there_is_replaced_file_by_file(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("new")
    client.write_file(sandbox_id, "/tmp/tree/file", b"old", parents=True)
    client.write_file(sandbox_id, "/tmp/tree/kept", b"kept")
    client.upload(sandbox_id, tmp_path / "source", "/tmp/tree")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("mine")
    (tmp_path / "copy" / "file").symlink_to(tmp_path / "copy" / "mine")
    client.download(sandbox_id, "/tmp/tree", tmp_path / "copy")
    texts = {path.name: path.read_text() for path in (tmp_path / "copy").iterdir()}
    assert texts == {"file": "new", "kept": "kept", "mine": "mine"}


def test_a_link_is_followed_by_a_download(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    client.write_file(sandbox_id, "/tmp/d/file", b"content", parents=True)
    sh(client, sandbox_id, "ln -s d/file /tmp/to-file; ln -s d /tmp/to-dir")
    client.download(sandbox_id, "/tmp/to-file", tmp_path / "file")
    client.download(sandbox_id, "/tmp/to-dir", tmp_path / "dir")
    assert (tmp_path / "file").read_text() == (tmp_path / "dir" / "file").read_text() == "content"


def test_what_is_neither_file_nor_directory_nor_link_is_left_out(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "fifo")
    (tmp_path / "source" / "file").touch()
    client.upload(sandbox_id, tmp_path / "source", "/tmp/d")
    sh(client, sandbox_id, "mkfifo /tmp/d/another")
    client.download(sandbox_id, "/tmp/d", tmp_path / "copy")
    assert [info.name for info in client.list_dir(sandbox_id, "/tmp/d")] == ["another", "file"]
    assert list(held(tmp_path / "copy")) == ["file"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", "sub/.."])
def test_a_link_out_of_the_tree_is_copied_as_it_is_both_ways(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path, target: str
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "sub").mkdir(parents=True)
    (source / "link").symlink_to(target)
    client.upload(sandbox_id, source, "/tmp/d")
    client.download(sandbox_id, "/tmp/d", copy)
    assert os.readlink(copy / "link") == client.stat(sandbox_id, "/tmp/d/link").link_target == target


def test_more_than_is_asked_for_is_not_taken(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    client.write_file(sandbox_id, "/tmp/d/file", bytes(1_000_000), parents=True)
    copy = tmp_path / "copy"
    with pytest.raises(PayloadTooLargeError, match="max_bytes, which is 999999"):
        client.read_file(sandbox_id, "/tmp/d/file", max_bytes=999_999)
    with pytest.raises(PayloadTooLargeError):
        client.download(sandbox_id, "/tmp/d/file", copy, max_bytes=1_000_000)
    with (
        pytest.raises(PayloadTooLargeError),
        client.download_archive(sandbox_id, "/tmp/d", max_bytes=100_000) as archive,
    ):
        for _ in archive:
            pass
    assert not copy.exists()
    assert len(client.read_file(sandbox_id, "/tmp/d/file", max_bytes=1_000_000)) == 1_000_000
    client.download(sandbox_id, "/tmp/d", copy, max_bytes=1_100_000)
    assert (copy / "file").stat().st_size == 1_000_000


@pytest.mark.parametrize("bound", [-1, 2**63, 1.5, "1"])
def test_a_bound_that_is_none_is_refused(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path, bound: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        client.read_file(sandbox_id, "/etc/passwd", max_bytes=bound)
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        client.download(sandbox_id, "/etc/passwd", tmp_path / "copy", max_bytes=bound)


def test_the_holes_of_a_file_are_read_as_zeros(client: SandboxAPI, sandbox_id: str) -> None:
    write = "printf text | dd of=/tmp/hole bs=1 seek=1M conv=notrunc"
    sh(client, sandbox_id, f"truncate -s 3M /tmp/hole; {write}")
    assert client.read_file(sandbox_id, "/tmp/hole") == bytes(MIB) + b"text" + bytes(2 * MIB - 4)
    sh(client, sandbox_id, "truncate -s 1000 /tmp/nothing; truncate -s 1G /tmp/large")
    assert client.read_file(sandbox_id, "/tmp/nothing") == bytes(1000)
    with pytest.raises(PayloadTooLargeError, match="download it"):
        client.read_file(sandbox_id, "/tmp/large")


def test_a_file_of_no_blocks_takes_none_once_it_is_downloaded(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    sh(client, sandbox_id, "truncate -s 32M /tmp/sparse")
    client.download(sandbox_id, "/tmp/sparse", tmp_path / "copy")
    status = (tmp_path / "copy").stat()
    assert status.st_size == 32 * MIB > 8 * 512 * status.st_blocks


def test_a_tree_that_cannot_be_read_whole_is_an_error(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    with pytest.raises(SandboxFilePermissionError) as caught:
        client.download(sandbox_id, os.path.dirname(CLOSED), tmp_path / "copy")
    assert caught.value.reason == Reason.FILE_DENIED


def test_an_archive_that_breaks_off_is_an_error(client: SandboxAPI, sandbox_id: str) -> None:
    sh(client, sandbox_id, "mkdir /tmp/d; head -c 90000000 /dev/zero > /tmp/d/a")
    # The process that packs it is the agent's only one without a child.
    kill = (
        "exec 2> /dev/null; for p in /proc/[1-9]*; do"
        " if [ $p != /proc/1 ] && [ $(cat $p/comm) = $(cat /proc/1/comm) ]"
        ' && [ ! "$(cat $p/task/*/children)" ]; then kill -9 ${p#/proc/}; echo killed; fi; done'
    )
    with client.download_archive(sandbox_id, "/tmp/d") as archive:
        assert archive.read() != b""
        assert sh(client, sandbox_id, kill) == "killed\n"
        with pytest.raises(SandboxError):
            collections.deque(iter(archive.read, b""), maxlen=0)


def test_an_upload_that_cannot_be_stored_is_told(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20 * MIB))
    for path, kind in (("/usr/file", SandboxFilePermissionError), ("/tmp", ConflictError)):
        with pytest.raises(kind):
            client.upload(sandbox_id, tmp_path / "file", path)
    # A sandbox's /dev/shm holds 64 MiB.
    with (tmp_path / "file").open("wb") as file:
        file.truncate(70 * MIB)
    with (
        Sandbox.create(client=client, memory_mb=256) as large,
        pytest.raises(ConflictError, match="no space left"),
    ):
        large.upload(tmp_path / "file", "/dev/shm/file")


def test_a_local_file_that_is_not_there_is_an_error_of_the_system(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload(sandbox_id, tmp_path / "no such file", "/tmp/file")


def test_a_local_file_that_cannot_be_read_to_its_end_is_an_error_of_the_system(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(4 * MIB))

    def shorten(done: int, total: int | None) -> None:
        os.truncate(tmp_path / "file", MIB)

    with pytest.raises(OSError, match="shorter") as caught:
        client.upload(sandbox_id, tmp_path / "file", "/tmp/file", progress=shorten)
    assert not isinstance(caught.value, SandboxError)
    assert client.get_status(sandbox_id) == "running"


def test_a_progress_that_raises_ends_the_copy(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        raise Enough

    (tmp_path / "file").write_bytes(bytes(4 * MIB))
    with pytest.raises(Enough):
        client.upload(sandbox_id, tmp_path / "file", "/tmp/file", progress=stop)
    # Under another name: what was begun of the first is removed once the orchestrator notices its end.
    sh(client, sandbox_id, f"head -c {4 * MIB} /dev/zero > /tmp/whole")
    with pytest.raises(Enough):
        client.download(sandbox_id, "/tmp/whole", tmp_path / "copy", progress=stop)
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_local_directory_is_not_replaced_by_a_file(
    client: SandboxAPI, sandbox_id: str, tmp_path: Path
) -> None:
    client.write_file(sandbox_id, "/tmp/file", b"")
    with pytest.raises(OSError, match="directory"):
        client.download(sandbox_id, "/tmp/file", tmp_path)
    assert os.listdir(tmp_path.parent).count(tmp_path.name) == 1


def test_an_archive_of_another_maker_is_unpacked(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    sh(client, sandbox_id, "mkdir /tmp/d; cd /tmp/d; echo one > one; ln one two")
    client.download(sandbox_id, "/tmp/d", tmp_path / "copy")
    assert (tmp_path / "copy" / "one").read_text() == (tmp_path / "copy" / "two").read_text() == "one\n"


def test_a_sandbox_object_has_the_same_methods(client: SandboxAPI, sandbox_id: str, tmp_path: Path) -> None:
    sandbox = Sandbox.connect(sandbox_id, client=client)
    sandbox.make_dir("/tmp/d")
    sandbox.write_file("/tmp/d/a", "text")
    sandbox.move("/tmp/d/a", "/tmp/d/b")
    assert (sandbox.read_file("/tmp/d/b"), sandbox.stat("/tmp/d/b").size) == (b"text", 4)
    sandbox.download("/tmp/d", tmp_path / "copy")
    sandbox.upload(tmp_path / "copy", "/tmp/e")
    assert [info.name for info in sandbox.list_dir("/tmp/e")] == ["b"]
    sandbox.remove("/tmp/d", recursive=True)


def test_archive_goes_through_as_it_is(client: SandboxAPI, sandbox_id: str) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("one")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"\0\xff\n"))
    client.upload_archive(sandbox_id, "/tmp/unpacked", iter([content.getvalue()]))
    assert client.read_file(sandbox_id, "/tmp/unpacked/one") == b"\0\xff\n"
    with client.download_archive(sandbox_id, "/tmp/unpacked") as chunks:
        packed = b"".join(iter(chunks.read, b""))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        (found,) = (each for each in archive if each.isfile())
        file = archive.extractfile(found)
        assert file is not None
        assert file.read() == b"\0\xff\n"


def test_an_archive_comes_in_pieces_of_any_size(client: SandboxAPI, sandbox_id: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("one")
        member.size = 20 * MIB
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    whole = packed.getvalue()
    for pieces in ([b"", whole[:1], memoryview(whole)[1:]], [bytearray(whole), b""]):
        client.upload_archive(sandbox_id, "/tmp/unpacked", iter(pieces))
        assert client.stat(sandbox_id, "/tmp/unpacked/one").size == member.size


@pytest.mark.parametrize("pieces", [b"abc", [None], [[1]]])
def test_what_is_no_piece_of_an_archive_is_refused(client: SandboxAPI, pieces: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"a chunk must be bytes or str, not \w+"):
        client.upload_archive("a", "/tmp", iter(pieces))

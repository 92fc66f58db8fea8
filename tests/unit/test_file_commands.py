"""What the commands that work on files print, and how it is understood: it is the sandbox's word."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flash_sandbox.errors import ConflictError, Reason, SandboxError, UnsupportedError
from flash_sandbox.models import FileInfo
from flash_sandbox.orchestrator.file_commands import failure, only_changed, only_vanished
from flash_sandbox.orchestrator.file_records import directory_records, file_records
from flash_sandbox.orchestrator.runtimes.base import Ended


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        # dash, bash, coreutils, busybox with glibc and with musl, GNU tar.
        ("sh: 1: cannot create ./x: Permission denied", Reason.FILE_DENIED, "permission denied"),
        (
            "sh: 9: cannot create /x/y: Directory nonexistent",
            Reason.FILE_NOT_FOUND,
            "no such file or directory",
        ),
        ("sh: can't create /x/y: nonexistent directory", Reason.FILE_NOT_FOUND, "no such file or directory"),
        ("sh: line 1: /x: No such file or directory", Reason.FILE_NOT_FOUND, "no such file or directory"),
        ("cat: /x: Is a directory", Reason.FILE_CONFLICT, "is a directory"),
        ("cat: can't open '/x': Symbolic link loop", Reason.FILE_CONFLICT, "too many levels of links"),
        ("cat: /x: Too many levels of symbolic links", Reason.FILE_CONFLICT, "too many levels of links"),
        ("cat: can't open '/x': Filename too long", Reason.INVALID_ARGUMENT, "a name is too long"),
        ("rmdir: failed to remove '/x': Directory not empty", Reason.FILE_CONFLICT, "directory not empty"),
        ("rm: cannot remove '/x': Device or resource busy", Reason.FILE_CONFLICT, "in use"),
        ("mv: cannot move 'a' to 'b': Read-only file system", Reason.FILE_DENIED, "read-only file system"),
        ("tar: f: Wrote only 6656 of 10240 bytes", Reason.FILE_CONFLICT, "no space left on device"),
        ("tar: ./a: Cannot open: Permission denied\ntar: Exiting", Reason.FILE_DENIED, "permission denied"),
        ("something else\n", Reason.FILE_CONFLICT, "something else"),
        ("", Reason.FILE_CONFLICT, "the command ended with status 1"),
    ],
)
def test_a_failure_is_told_alike_whoever_words_it(said: str, reason: Reason, told: str) -> None:
    error = failure("/x", Ended(1), said.encode())
    assert (error.reason, error.detail) == (reason, f"/x: {told}")


def test_a_name_that_reads_like_a_cause_is_none() -> None:
    error = failure("/x", Ended(1), b"cat: /Permission denied/x: No such file or directory")
    assert error.reason == Reason.FILE_NOT_FOUND


@pytest.mark.parametrize("status", [126, 127])
def test_a_program_that_is_not_there_is_named(status: int) -> None:
    error = failure("/x", Ended(status), b"sh: 3: tar: not found\n")
    assert isinstance(error, UnsupportedError)
    assert "tar: not found" in error.detail


def test_a_command_that_was_ended_is_told() -> None:
    assert failure("/x", Ended(137, 9), b"").detail == "/x: the command was ended by signal 9"


def test_a_list_may_lack_only_what_has_vanished() -> None:
    vanished = b"find: '/x/a': No such file or directory\n"
    assert only_vanished(Ended(1), vanished * 2)
    assert not only_vanished(Ended(1), vanished + b"find: '/x/': Permission denied\n")
    assert not only_vanished(Ended(80), vanished)
    assert not only_vanished(Ended(1), b"")


def test_an_archive_may_only_hold_files_that_were_written_to() -> None:
    changed = b"tar: ./a: file changed as we read it\n"
    assert only_changed(Ended(0), b"tar: ./s: socket ignored\n")
    assert only_changed(Ended(1), changed)
    assert not only_changed(Ended(1), changed + b"tar: ./b: File shrank by 5 bytes; padding with zeros\n")
    assert not only_changed(Ended(2), changed)


def test_both_ways_of_printing_are_read_alike() -> None:
    by_find = b"f 3 640 1 2 5.0 a\nb\0\0l 1 777 1 2 5.0 c\0x //\n\0d 0 1777 1 2 5.0 \xff\0\0"
    by_stat = (
        b"\x0081a0 3 1 2 5 ./a\nb//\na1ff 1 1 2 5 ./c//\n43ff 0 1 2 5 ./\xff//\n" + b"\0" + b"c\0x //\n\0"
    )
    assert (
        file_records(by_find)
        == file_records(by_stat)
        == (
            FileInfo("a\nb", "file", 3, 0o640, 1, 2, 5.0),
            FileInfo("c", "symlink", 1, 0o777, 1, 2, 5.0, "x //\n"),
            FileInfo("\ufffd", "directory", 0, 0o1777, 1, 2, 5.0),
        )
    )


@given(st.binary())
@example(b"\0")
@example(b"\0x")
@example(b"f 3")
@example(b"f 3 640 1 2 inf a\0\0")
@example(b"f -3 640 1 2 1 a\0\0")
@example(b"q 3 640 1 2 1 a\0\0")
@example(b"\0ffff 0 1 2 5 ./x//\n\0")
def test_any_bytes_are_files_or_nonsense(printed: bytes) -> None:
    try:
        found = file_records(printed)
    except ConflictError:
        return
    assert all(isinstance(info, FileInfo) for info in found)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"../x", b"/x", b"a/b"])
def test_a_name_that_no_file_in_a_directory_has_is_nonsense(name: bytes) -> None:
    with pytest.raises(ConflictError, match="nonsense"):
        directory_records(b"f 3 640 1 2 5.0 %s\0\0" % name)
    with pytest.raises(ConflictError, match="nonsense"):
        directory_records(b"\x0081a0 3 1 2 5 ./%s//\n\0" % name)


@given(st.integers(0, 255), st.binary())
def test_any_failure_is_one_of_our_errors(status: int, said: bytes) -> None:
    error = failure("/x", Ended(status), said)
    assert isinstance(error, SandboxError)
    assert error.status_code is not None

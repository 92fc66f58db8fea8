"""Files of a sandbox, by way of its guest agent."""

from __future__ import annotations

import errno
import signal
import stat
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import Answers, Host, piece, request, running_agent
from hypothesis import given, settings
from hypothesis import strategies as st

Kind = guest.FileKind


# One file


@given(st.binary(max_size=500_000))
@settings(max_examples=10)
def test_what_is_written_is_read(agent: Path, content: bytes) -> None:
    with running_agent(agent) as host:
        assert host.file(Kind.WRITE, "/tmp/file", content).status == 0
        assert host.file(Kind.READ, "/tmp/file").content == content


def test_a_file_keeps_its_permissions_where_it_is_replaced(host: Host) -> None:
    host.file(Kind.WRITE, "/tmp/program", b"#!/bin/sh\necho one\n", mode=0o755)
    host.file(Kind.WRITE, "/tmp/program", b"#!/bin/sh\necho two\n")
    assert host.run("/tmp/program").stdout == b"two\n"
    host.file(Kind.WRITE, "/tmp/program", b"", mode=0o640)
    assert host.file(Kind.STAT, "/tmp/program").entry.mode == stat.S_IFREG | 0o640
    host.file(Kind.WRITE, "/tmp/new", b"")
    assert host.file(Kind.STAT, "/tmp/new").entry.mode == stat.S_IFREG | 0o644


def test_a_link_is_read_through_and_replaced(host: Host) -> None:
    host.sh("echo target > /tmp/target; ln -s target /tmp/link")
    assert host.file(Kind.READ, "/tmp/link", follow=True).content == b"target\n"
    assert host.file(Kind.STAT, "/tmp/link").entry.link == b"target"
    host.file(Kind.WRITE, "/tmp/link", b"new")
    assert host.sh("cat /tmp/target; cat /tmp/link").stdout == b"target\nnew"


def test_a_file_is_never_half_there(host: Host) -> None:
    host.file(Kind.WRITE, "/tmp/file", b"old")
    task = host.files()
    host.write(task, request(Kind.WRITE, "/tmp/file") + piece(b"new"))
    assert host.file(Kind.READ, "/tmp/file").content == b"old"
    host.write(task, piece(b", and whole") + piece(b""), end=True)
    assert host.finish(task).status == 0
    assert host.file(Kind.READ, "/tmp/file").content == b"new, and whole"
    assert host.sh("ls -A /tmp").stdout.split() == [b"agent", b"file"]


def test_what_a_write_that_was_killed_has_left_is_in_nobodys_way(host: Host) -> None:
    host.sh("n=0; while [ $n -lt 300 ]; do n=$((n+1)); : > /tmp/.flash-sandbox-$n; done")
    assert host.file(Kind.WRITE, "/tmp/file", b"new").status == 0
    assert host.file(Kind.READ, "/tmp/file").content == b"new"


@pytest.mark.parametrize(
    ("kind", "path", "error"),
    [
        (Kind.READ, "/tmp/none", errno.ENOENT),
        (Kind.READ, "/tmp", errno.EISDIR),
        (Kind.READ, "/tmp/pipe", errno.EINVAL),
        (Kind.READ, "/dev/zero", errno.EINVAL),
        (Kind.READ, "/tmp/loop", errno.ELOOP),
        (Kind.WRITE, "/tmp/dir", errno.EISDIR),
        (Kind.WRITE, "/tmp/none/file", errno.ENOENT),
        (Kind.WRITE, "/tmp/file/file", errno.ENOTDIR),
        (Kind.WRITE, "/usr/file", errno.EROFS),
        (Kind.STAT, "/tmp/none", errno.ENOENT),
        (Kind.ENTER, "/tmp/file", errno.ENOTDIR),
        (Kind.ENTER, "/tmp/none", errno.ENOENT),
        (Kind.LEAVE, "/tmp", errno.EINVAL),
        (Kind.UNLINK, "/tmp/none", errno.ENOENT),
        (Kind.UNLINK, "/tmp/dir", errno.EISDIR),
        (Kind.REMOVE_DIR, "/tmp/dir", errno.ENOTEMPTY),
        (Kind.MOVE, "/tmp/file", errno.ENOENT),
        (Kind.UNSPECIFIED, "/tmp", errno.ENOSYS),
        (Kind.READ, "/tmp/" + "n" * 300, errno.ENAMETOOLONG),
        (Kind.READ, "/tmp/" + "n" * 5000, errno.ENAMETOOLONG),
        (Kind.READ, "/tmp/" + "n" * 20_000, errno.ENAMETOOLONG),
    ],
)
def test_what_is_not_possible_is_told_by_the_kernels_number(
    host: Host, kind: guest.FileKind, path: str, error: int
) -> None:
    host.sh("mkdir -p /tmp/dir/below; echo > /tmp/file; mkfifo /tmp/pipe; ln -s loop /tmp/loop")
    result = host.file(kind, path, b"" if kind is Kind.WRITE else None)
    assert (result.status, result.stdout) == (error, b"")


@pytest.mark.parametrize(("mode", "error"), [(0o040755, errno.EEXIST), (0o120777, errno.EEXIST)])
def test_nothing_is_made_where_there_is_something(host: Host, mode: int, error: int) -> None:
    host.sh("mkdir -p /tmp/dir/below")
    assert host.file(Kind.MAKE, "/tmp/dir", mode=mode, target=b"x").status == error
    assert host.file(Kind.MAKE, "/tmp/dir", mode=mode, target=b"x", tolerated=1 << error).status == 0
    assert host.file(Kind.MAKE, "/tmp/none/dir", mode=mode, target=b"x").status == errno.ENOENT
    assert host.sh("ls /tmp/dir").stdout == b"below\n"


def test_a_move_replaces_a_file_and_stays_on_its_file_system(host: Host) -> None:
    host.sh("mkdir /tmp/dir; echo one > /tmp/one; echo two > /tmp/two")
    assert host.file(Kind.MOVE, "/tmp/one", target=b"/tmp/two").status == 0
    assert host.sh("cat /tmp/two; ls -A /tmp").stdout == b"one\nagent\ndir\ntwo\n"
    assert host.file(Kind.MOVE, "/tmp/two", target=b"/dev/shm/two").status == errno.EXDEV


def test_a_list_has_everything(host: Host) -> None:
    host.sh(
        "cd /tmp; mkdir d; echo 12345 > f; ln -s f l; mkfifo p; echo > \"$(printf 'n\\n\\377')\"; chmod 600 f"
    )
    answers = Answers(host.file(Kind.ENTER, "/tmp", list=True).stdout)
    found = sorted(answers.entries(), key=lambda entry: entry.name)
    assert [entry.name for entry in found] == [b"", b"agent", b"d", b"f", b"l", b"n\n\xff", b"p"]
    file, link = found[3], found[4]
    assert (file.mode, file.size, file.uid, file.gid) == (stat.S_IFREG | 0o600, 6, 0, 0)
    assert (stat.S_ISLNK(link.mode), link.link) == (True, b"f")
    assert abs(file.modified_ns / 1e9 - float(host.sh("date +%s.%N").stdout)) < 60


def test_an_operation_that_hangs_holds_up_nothing_and_can_be_ended(host: Host) -> None:
    task = host.files()
    host.write(task, request(Kind.WRITE, "/tmp/file") + piece(b"x"))
    while b"flash-sandbox" not in host.sh("ls -A /tmp").stdout:
        pass
    assert host.file(Kind.STAT, "/tmp").status == 0
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.unknown
    assert host.sh("ls -A /tmp").stdout == b"agent\n"


def test_a_worker_that_is_killed_is_told_and_one_that_is_stopped_goes_on(host: Host) -> None:
    host.file(Kind.WRITE, "/tmp/file", b"x")
    # To each child of the agent but the supervisor of this program itself.
    signals = """
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/stat") as file:
        parent = file.read().rpartition(")")[2].split()[1]
    if parent == "1" and int(pid) != os.getppid():
        os.kill(int(pid), int(sys.argv[1]))
"""
    task = host.files()
    host.run("python3", "-c", signals, str(int(signal.SIGSTOP)))
    host.write(task, request(Kind.READ, "/tmp/file"), end=True)
    assert host.finish(task).content == b"x"
    task = host.files()
    host.run("python3", "-c", signals, str(int(signal.SIGKILL)))
    assert host.finish(task).ended.unknown


def test_operations_side_by_side(host: Host) -> None:
    tasks = []
    for number in range(20):
        task = host.files()
        host.write(task, request(Kind.WRITE, b"/tmp/%d" % number))
        tasks.append(task)
    for task in tasks:
        host.write(task, piece(b"%d" % task) + piece(b""), end=True)
    assert [host.finish(task).status for task in tasks] == [0] * 20
    read = b"".join(host.file(Kind.READ, f"/tmp/{number}").content for number in range(20))
    assert read == b"".join(b"%d" % task for task in tasks)


# Going through trees


def test_a_worker_goes_below_a_directory_and_back(host: Host) -> None:
    host.sh("mkdir -p /tmp/one/two; echo x > /tmp/one/two/file; ln -s two /tmp/one/link")
    task = host.files()
    asked = [
        request(Kind.ENTER, "/tmp/one", list=True),
        request(Kind.ENTER, "two", keep=1),
        request(Kind.STAT, "file"),
        request(Kind.LEAVE, ""),
        request(Kind.ENTER, "link", tolerated=1 << errno.ENOTDIR | 1 << errno.ELOOP),
        request(Kind.LINK, "same", target=b"file", kept=1),
        request(Kind.ENTER, "", kept=1, list=True),
    ]
    host.write(task, b"".join(asked), end=True)
    result = host.finish(task)
    answers = Answers(result.stdout)
    assert result.status == 0
    assert sorted(entry.name for entry in answers.entries()) == [b"", b"link", b"two"]
    assert [stat.S_ISDIR(entry.mode) for entry in answers.entries()] == [True]
    assert [entry.size for entry in answers.entries()] == [2]
    assert [answers.entries() for _ in range(3)] == [[], [], []]
    assert [(entry.name, entry.names) for entry in answers.entries()][1:] == [(b"file", 2)]


def test_a_directory_that_was_moved_is_not_left(host: Host) -> None:
    host.sh("mkdir -p /tmp/one/two /tmp/other")
    task = host.files()
    host.write(task, request(Kind.ENTER, "/tmp/one") + request(Kind.ENTER, "two"))
    while not host.tasks[task].output[0].count(b"\0") > 1:
        host.take()
    host.sh("mv /tmp/one/two /tmp/other")
    host.write(task, request(Kind.LEAVE, "") + request(Kind.MAKE, "made", mode=stat.S_IFDIR), end=True)
    assert host.finish(task).status == errno.ESTALE
    assert host.sh("ls /tmp/one /tmp/other/two").stdout == b"/tmp/one:\n\n/tmp/other/two:\n"


def test_what_was_done_before_a_failure_is_answered(host: Host) -> None:
    task = host.files()
    asked = request(Kind.STAT, "/tmp") + request(Kind.UNLINK, "/tmp/none") + request(Kind.STAT, "/tmp")
    host.write(task, asked, end=True)
    result = host.finish(task)
    assert (result.status, len(Answers(result.stdout).entries())) == (errno.ENOENT, 1)
    assert result.stdout.endswith(b"\0")


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 20,
        b"\x05\x0a\x03",
        b"\x02\x12\x7f",
        request(Kind.WRITE, "/tmp/file") + piece(b"content")[:-1],
        request(Kind.WRITE, "/tmp/file"),
    ],
    ids=["number", "short", "field", "content", "no content"],
)
def test_what_is_no_request_is_refused(host: Host, sent: bytes) -> None:
    task = host.files()
    host.write(task, sent, end=True)
    assert host.finish(task).status == errno.EBADMSG
    assert host.sh("ls -A /tmp").stdout == b"agent\n"


def test_devices_are_not_made(host: Host) -> None:
    assert host.file(Kind.MAKE, "/tmp/zero", mode=stat.S_IFCHR | 0o666).status == errno.EINVAL

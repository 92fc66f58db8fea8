"""Files of a sandbox, by way of its guest agent."""

from __future__ import annotations

import errno
import signal
import stat
from dataclasses import replace
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import Host, running_agent
from hypothesis import given, settings
from hypothesis import strategies as st

Kind = guest.FileKind


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _encoded(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _entries(listed: bytes) -> list[guest.Entry]:
    at, found = 0, []
    while at < len(listed):
        size, at = _varint(listed, at)
        found.append(guest.Entry.parse(listed[at : at + size]))
        at += size
    return found


def _unpacked(packed: bytes) -> dict[bytes, tuple[guest.Entry, bytes]]:
    """Return what PACK has sent, by name: each entry, and the content of a file."""
    at, found = 0, {}
    while at < len(packed):
        size, at = _varint(packed, at)
        entry = guest.Entry.parse(packed[at : at + size])
        at += size
        content = bytearray()
        while stat.S_ISREG(entry.mode) and not entry.same_as:
            skipped, at = _varint(packed, at)
            size, at = _varint(packed, at)
            content += bytes(skipped) + packed[at : at + size]
            at += size
            if not size:
                break
        found[entry.name] = (entry, bytes(content))
    return found


def _item(entry: guest.Entry, content: bytes = b"") -> bytes:
    head = bytes(entry)
    item = _encoded(len(head)) + head
    if not stat.S_ISREG(entry.mode) or entry.same_as:
        return item
    piece = _encoded(0) + _encoded(len(content)) + content if content else b""
    return item + piece + _encoded(0) + _encoded(0)


# One file


@given(st.binary(max_size=500_000))
@settings(max_examples=10)
def test_what_is_written_is_read(agent: Path, content: bytes) -> None:
    with running_agent(agent) as host:
        assert host.file(Kind.WRITE, "/tmp/file", content).status == 0
        assert host.file(Kind.READ, "/tmp/file").stdout == content


def test_a_file_keeps_its_permissions_where_it_is_replaced(host: Host) -> None:
    host.file(Kind.WRITE, "/tmp/program", b"#!/bin/sh\necho one\n", mode=0o755)
    host.file(Kind.WRITE, "/tmp/program", b"#!/bin/sh\necho two\n")
    assert host.run("/tmp/program").stdout == b"two\n"
    host.file(Kind.WRITE, "/tmp/program", b"", mode=0o640)
    assert guest.Entry.parse(host.file(Kind.STAT, "/tmp/program").stdout).mode == stat.S_IFREG | 0o640
    host.file(Kind.WRITE, "/tmp/new", b"")
    assert guest.Entry.parse(host.file(Kind.STAT, "/tmp/new").stdout).mode == stat.S_IFREG | 0o644


def test_a_link_is_read_through_and_replaced(host: Host) -> None:
    host.sh("echo target > /tmp/target; ln -s target /tmp/link")
    assert host.file(Kind.READ, "/tmp/link").stdout == b"target\n"
    assert guest.Entry.parse(host.file(Kind.STAT, "/tmp/link").stdout).link == b"target"
    host.file(Kind.WRITE, "/tmp/link", b"new")
    assert host.sh("cat /tmp/target; cat /tmp/link").stdout == b"target\nnew"


def test_a_file_is_never_half_there(host: Host) -> None:
    task = host.new_task()
    host.file(Kind.WRITE, "/tmp/file", b"old")
    task = host.new_task()
    host.send(task, file=guest.FileTask(kind=Kind.WRITE, path=b"/tmp/file", window=65536))
    host.write(task, b"new")
    assert host.file(Kind.READ, "/tmp/file").stdout == b"old"
    host.write(task, b", and whole", end=True)
    assert host.finish(task).status == 0
    assert host.file(Kind.READ, "/tmp/file").stdout == b"new, and whole"
    assert host.sh("ls -A /tmp").stdout.split() == [b"agent", b"file"]


def test_what_a_write_that_was_killed_has_left_is_in_nobodys_way(host: Host) -> None:
    host.sh("n=0; while [ $n -lt 300 ]; do n=$((n+1)); : > /tmp/.flash-sandbox-$n; done")
    assert host.file(Kind.WRITE, "/tmp/file", b"new").status == 0
    assert host.file(Kind.READ, "/tmp/file").stdout == b"new"


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
        (Kind.LIST, "/tmp/file", errno.ENOTDIR),
        (Kind.LIST, "/tmp/none", errno.ENOENT),
        (Kind.MAKE_DIR, "/tmp/dir", errno.EEXIST),
        (Kind.MAKE_DIR, "/tmp/none/dir", errno.ENOENT),
        (Kind.REMOVE, "/tmp/none", errno.ENOENT),
        (Kind.REMOVE, "/tmp/dir", errno.ENOTEMPTY),
        (Kind.REMOVE, "/", errno.EINVAL),
        (Kind.REMOVE, "/tmp/dir/..", errno.EINVAL),
        (Kind.REMOVE, "/tmp/.", errno.EINVAL),
        (Kind.PACK, "/tmp/none", errno.ENOENT),
        (Kind.PACK, "/tmp/pipe", errno.EINVAL),
        (Kind.UNSPECIFIED, "/tmp", errno.ENOSYS),
        (Kind.READ, "/tmp/" + "n" * 300, errno.ENAMETOOLONG),
    ],
)
def test_what_is_not_possible_is_told_by_the_kernels_number(
    host: Host, kind: guest.FileKind, path: str, error: int
) -> None:
    host.sh("mkdir -p /tmp/dir/below; echo > /tmp/file; mkfifo /tmp/pipe; ln -s loop /tmp/loop")
    result = host.file(kind, path, b"" if kind is Kind.WRITE else None)
    assert (result.status, result.stderr) == (error, path.encode())


def test_the_root_is_not_removed_with_all_that_it_holds(host: Host) -> None:
    host.sh("mkdir /tmp/d; echo > /tmp/d/kept; ln -s / /tmp/root")
    for path in ("/", "/tmp/..", "/tmp/d/..", "/tmp/d/.", "/tmp/root/"):
        assert host.file(Kind.REMOVE, path, recursive=True).status == errno.EINVAL
    assert host.sh("ls /tmp/d").stdout == b"kept\n"


def test_directories_are_made_and_removed(host: Host) -> None:
    assert host.file(Kind.MAKE_DIR, "/tmp/a/b/c", parents=True, mode=0o700).status == 0
    assert host.file(Kind.MAKE_DIR, "/tmp/a/b/c", parents=True).status == 0
    assert host.file(Kind.WRITE, "/tmp/a/x/y/file", b"", parents=True).status == 0
    assert host.sh("stat -c '%a %n' /tmp/a/b /tmp/a/b/c").stdout == b"755 /tmp/a/b\n700 /tmp/a/b/c\n"
    assert host.file(Kind.REMOVE, "/tmp/a", recursive=True).status == 0
    assert host.file(Kind.STAT, "/tmp/a").status == errno.ENOENT


def test_a_move_replaces_a_file_and_no_directory(host: Host) -> None:
    host.sh("mkdir /tmp/dir; echo one > /tmp/one; echo two > /tmp/two")
    assert host.file(Kind.MOVE, "/tmp/one", target=b"/tmp/two").status == 0
    assert host.sh("cat /tmp/two; ls -A /tmp").stdout == b"one\nagent\ndir\ntwo\n"
    assert host.file(Kind.MOVE, "/tmp/two", target=b"/tmp/dir").status == errno.EEXIST
    assert host.file(Kind.MOVE, "/tmp/dir", target=b"/tmp/two").status == errno.EEXIST
    assert host.file(Kind.MOVE, "/tmp/two", target=b"/dev/shm/two").status == errno.EXDEV


def test_a_list_has_everything_by_name(host: Host) -> None:
    host.sh(
        "cd /tmp; mkdir d; echo 12345 > f; ln -s f l; mkfifo p; echo > \"$(printf 'n\\n\\377')\"; chmod 600 f"
    )
    found = _entries(host.file(Kind.LIST, "/tmp").stdout)
    assert [entry.name for entry in found] == [b"agent", b"d", b"f", b"l", b"n\n\xff", b"p"]
    file, link = found[2], found[3]
    assert (file.mode, file.size, file.uid, file.gid) == (stat.S_IFREG | 0o600, 6, 0, 0)
    assert (stat.S_ISLNK(link.mode), link.link) == (True, b"f")
    assert abs(file.modified_ns / 1e9 - float(host.sh("date +%s.%N").stdout)) < 60


def test_an_operation_that_hangs_holds_up_nothing_and_can_be_ended(host: Host) -> None:
    task = host.new_task()
    host.send(task, file=guest.FileTask(kind=Kind.WRITE, path=b"/tmp/file", window=65536))
    assert host.file(Kind.LIST, "/tmp").status == 0
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.unknown


# Prints, and ends if asked to, each worker that waits: a process of the agent without a child.
WAITING = """
import os, sys
parents = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        text = open(f"/proc/{pid}/stat").read()
    except OSError:
        continue
    parents[int(pid)] = (text.split("(")[1].split(")")[0], int(text.rpartition(")")[2].split()[1]))
busy = {parent for _, parent in parents.values()}
for pid, (name, parent) in parents.items():
    if parent == 1 and pid not in busy and name == parents[1][0]:
        print(pid)
        if sys.argv[1:]: os.kill(pid, int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_waits_for_the_next_operation_and_may_be_killed_or_stopped(
    host: Host, number: signal.Signals
) -> None:
    for _ in range(5):
        killed = b""
        while not killed:
            assert host.file(Kind.STAT, "/tmp").status == 0
            killed = host.run("python3", "-c", WAITING, str(int(number))).stdout
        # One that is about to end might be given the next operation.
        while number == signal.SIGKILL and host.run("python3", "-c", WAITING).stdout:
            pass
    assert host.file(Kind.WRITE, "/tmp/file", b"content").status == 0
    assert host.file(Kind.READ, "/tmp/file").stdout == b"content"


def test_a_worker_that_nobody_needs_ends(host: Host) -> None:
    assert host.file(Kind.STAT, "/tmp").status == 0
    while host.run("python3", "-c", WAITING).stdout:
        pass


def test_operations_side_by_side(host: Host) -> None:
    tasks = []
    for number in range(20):
        task = host.new_task()
        path = b"/tmp/%d" % number
        host.send(task, file=guest.FileTask(kind=Kind.WRITE, path=path, window=65536))
        tasks.append(task)
    for task in tasks:
        host.write(task, b"%d" % task, end=True)
    assert [host.finish(task).status for task in tasks] == [0] * 20
    read = b"".join(host.file(Kind.READ, f"/tmp/{number}").stdout for number in range(20))
    assert read == b"".join(b"%d" % task for task in tasks)


# Trees


def test_trees_of_any_depth_name_and_mode_are_removed(host: Host) -> None:
    script = """
import os
os.chdir("/tmp"); os.mkdir("deep"); os.chdir("deep")
for level in range(300):
    os.mkdir("x" * 200); os.chdir("x" * 200)
open("file", "w").close()
os.chdir("/tmp"); os.mkdir("wide"); os.chdir("wide")
for name in range(3000): open(bytes([0xff]) + b"\\n%d" % name, "w").close()
os.makedirs("closed/inner"); os.chmod("closed/inner", 0); os.chmod("closed", 0)
"""
    assert host.run("python3", "-c", script).status == 0
    packed = host.file(Kind.PACK, "/tmp/deep")
    assert (packed.status, max(map(len, _unpacked(packed.stdout)))) == (0, 201 * 300 + 4)
    for name in ("deep", "wide"):
        result = host.file(Kind.REMOVE, f"/tmp/{name}", recursive=True)
        assert (result.status, result.stderr[-100:]) == (0, b"")
    assert host.sh("ls -A /tmp").stdout == b"agent\n"


def test_a_packed_tree_unpacks_to_the_same_tree(host: Host) -> None:
    make = """
mkdir -p /tmp/one/empty /tmp/one/closed; cd /tmp/one
echo content > file; chmod 751 file; touch -d @12345.678 file
ln file again; ln -s /etc/passwd absolute; ln -s nowhere broken; mkfifo pipe
echo inner > closed/file; chmod 500 closed
truncate -s 50M sparse; printf end >> sparse
touch -d @77 empty
"""
    assert host.sh(make).stderr == b""
    packed = host.file(Kind.PACK, "/tmp/one")
    assert len(packed.stdout) < 100_000
    unpacked = host.file(Kind.UNPACK, "/tmp/two", packed.stdout)
    assert (unpacked.status, unpacked.stderr) == (0, b"")
    listing = (
        "cd /tmp/%s; find . ! -name . -printf '%%p %%y %%m %%n %%T@ %%l %%b\\n' | sort; cat file closed/file"
    )
    one, two = (host.sh(listing % name).stdout for name in ("one", "two"))
    assert one == two
    assert host.sh("cmp /tmp/one/sparse /tmp/two/sparse").status == 0


def test_a_file_is_packed_alone(host: Host) -> None:
    host.sh("echo content > /tmp/file; ln -s file /tmp/link")
    for name in (b"file", b"link"):
        ((found, (entry, content)),) = _unpacked(host.file(Kind.PACK, b"/tmp/" + name).stdout).items()
        assert (found, entry.size, content) == (name, 8, b"content\n")


def test_what_is_unpacked_takes_the_place_of_what_is_there(host: Host) -> None:
    host.sh("mkdir -p /tmp/there/dir; cd /tmp/there; echo old > file; ln -s /usr link; echo keep > dir/keep")
    file, directory = guest.Entry(mode=stat.S_IFREG | 0o600), guest.Entry(mode=stat.S_IFDIR | 0o750)
    sent = _item(replace(directory, name=b"dir")) + _item(replace(file, name=b"file"), b"new")
    sent += _item(replace(directory, name=b"link")) + _item(replace(file, name=b"link/x"), b"x")
    sent += _item(replace(file, name=b"not/there/yet"), b"y")
    result = host.file(Kind.UNPACK, "/tmp/there", sent)
    assert (result.status, result.stderr) == (0, b"")
    assert host.sh("cd /tmp/there; cat file dir/keep link/x not/there/yet").stdout == b"newkeep\nxy"
    assert host.sh("stat -c %F /tmp/there/link").stdout == b"directory\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 20,
        b"\x05\x0a\x03",
        _encoded(2) + b"\x0a\x7f",
        _encoded(2**21),
        b"\x07\x0a\x01f\x10\xa4\x83\x02\x00",
    ],
    ids=["number", "short", "field", "name", "content"],
)
def test_what_cannot_be_unpacked_is_refused(host: Host, sent: bytes) -> None:
    assert host.file(Kind.UNPACK, "/tmp/two", sent).status == errno.EBADMSG


def test_devices_are_not_unpacked(host: Host) -> None:
    entry = guest.Entry(name=b"zero", mode=stat.S_IFCHR | 0o666)
    assert host.file(Kind.UNPACK, "/tmp/two", _item(entry)).status == errno.EINVAL

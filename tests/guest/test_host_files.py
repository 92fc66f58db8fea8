"""The host's operations on the files of a sandbox: with an agent in one, and with agents that lie."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import signal
import stat
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import flash_sandbox_guest as guest
import pytest
from channels import Liar, opened, printed, sh
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_sandbox.errors import (
    ConflictError,
    InvalidArgumentError,
    PayloadTooLargeError,
    PermissionDeniedError,
    Reason,
    SandboxEndedError,
    SandboxError,
    SandboxFileConflictError,
    SandboxFileExistsError,
    SandboxFileNotFoundError,
    SandboxFilePermissionError,
    SandboxTimeoutError,
    statuses_of,
)
from flash_sandbox.models import MAX_MESSAGE_BYTES
from flash_sandbox.orchestrator.guest import file_worker, files, trees
from flash_sandbox.orchestrator.guest.channel import Channel
from flash_sandbox.orchestrator.guest.file_worker import CAUSES
from flash_sandbox.orchestrator.guest.messages import encoded_number
from flash_sandbox.orchestrator.guest.tasks import WINDOW


async def script(channel: Channel, text: str) -> bytes:
    task = sh(channel, text)
    data = await printed(task)
    assert (await task.ended()).status == 0, data
    return data


async def chunks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def packed(channel: Channel, path: str) -> bytes:
    return b"".join([chunk async for chunk in files.pack(channel, path)])


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        return {info.name: info for info in tar}


def tar(*infos: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format, errors="surrogateescape") as archive:
        for info, content in infos:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in more.items():
        setattr(info, field, value)
    return info


# One file


async def test_any_content_comes_back(agent: Path) -> None:
    async with opened(agent) as channel:
        for content in (b"", b"x", os.urandom(65_536), os.urandom(1_000_001), bytes(MAX_MESSAGE_BYTES)):
            await files.write_file(channel, "/tmp/a/file", content, parents=True)
            assert await files.read_file(channel, "/tmp/a/file") == content
        await script(channel, "printf x >> /tmp/a/file")
        with pytest.raises(PayloadTooLargeError, match="download"):
            await files.read_file(channel, "/tmp/a/file")
        # What was given up is in nobody's way.
        assert await files.read_file(channel, "/etc/hostname") is not None


async def test_a_file_that_is_replaced_keeps_mode_and_owner_unless_given(agent: Path) -> None:
    async with opened(agent) as channel:
        await files.write_file(channel, "/tmp/new", b"")
        assert (await files.stat(channel, "/tmp/new")).mode == 0o644
        for mode in (0o755, 0o600, 0o4750):
            await files.write_file(channel, "/tmp/file", b"old", mode=mode)
            await files.write_file(channel, "/tmp/file", b"new")
            assert (await files.stat(channel, "/tmp/file")).mode == mode
        await files.write_file(channel, "/tmp/file", b"", mode=0o640)
        assert (await files.stat(channel, "/tmp/file")).mode == 0o640


async def test_what_is_there_is_described(agent: Path) -> None:
    async with opened(agent) as channel:
        make = (
            "mkdir /tmp/d; cd /tmp/d; printf 12345 > file; chmod 640 file; touch -d @1234.5 file;"
            " ln -s 'to\n' link; mkfifo pipe; mkdir -m 1777 dir; : > \"$(printf 'a\\n\\377')\""
        )
        await script(channel, make)
        found = await files.list_dir(channel, "/tmp/d")
        assert [(info.name, info.type) for info in found] == [
            ("a\n\ufffd", "file"),
            ("dir", "directory"),
            ("file", "file"),
            ("link", "symlink"),
            ("pipe", "fifo"),
        ]
        file = found[2]
        assert (file.size, file.mode, file.modified_at) == (5, 0o640, 1234.5)
        assert (found[1].mode, found[3].link_target) == (0o1777, "to\n")
        for info in found[1:]:
            assert (await files.stat(channel, f"/tmp/d/{info.name}")).type == info.type
        assert (await files.stat(channel, "/dev/null")).type == "char_device"
        assert await files.list_dir(channel, "/tmp/d/dir") == ()


async def test_directories_are_made_and_removed(agent: Path) -> None:
    async with opened(agent) as channel:
        await files.make_dir(channel, "/tmp/a/b", mode=0o700, parents=True)
        await files.make_dir(channel, "/tmp/a/b", parents=True)
        assert (await files.stat(channel, "/tmp/a/b")).mode == 0o700
        with pytest.raises(ConflictError, match="not empty"):
            await files.remove(channel, "/tmp/a")
        await files.remove(channel, "/tmp/a", recursive=True)
        with pytest.raises(SandboxFileNotFoundError):
            await files.stat(channel, "/tmp/a")


async def _unpack(channel: Channel, path: str) -> None:
    await files.unpack(channel, path, chunks(tar((member("x"), b"y"))))


FAILURES: list[tuple[Callable[[Channel], Awaitable[object]], type[SandboxError], Reason, str]] = [
    (
        lambda channel: files.read_file(channel, "/tmp/none"),
        SandboxFileNotFoundError,
        Reason.FILE_NOT_FOUND,
        "/tmp/none: no such file or directory",
    ),
    (
        lambda channel: files.read_file(channel, "/tmp"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp: is a directory",
    ),
    (
        lambda channel: files.read_file(channel, "/tmp/pipe"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/pipe: is no regular file",
    ),
    (
        lambda channel: files.read_file(channel, "/tmp/" + "n" * 256),
        InvalidArgumentError,
        Reason.INVALID_ARGUMENT,
        "/tmp/" + "n" * 256 + ": a name is too long",
    ),
    (
        lambda channel: files.write_file(channel, "/", b""),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/: is a directory",
    ),
    (
        lambda channel: files.write_file(channel, "/dev/null", b""),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/dev/null: is no regular file",
    ),
    (
        lambda channel: files.write_file(channel, "/usr/new", b"x" * 500_000),
        SandboxFilePermissionError,
        Reason.FILE_DENIED,
        "/usr/new: read-only file system",
    ),
    (
        lambda channel: files.stat(channel, "/tmp/file/x"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/file/x: not a directory",
    ),
    (
        lambda channel: files.list_dir(channel, "/tmp/loop"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/loop: too many levels of links",
    ),
    (
        lambda channel: files.make_dir(channel, "/tmp/file"),
        SandboxFileExistsError,
        Reason.FILE_EXISTS,
        "/tmp/file: there is one already",
    ),
    (
        lambda channel: files.remove(channel, "/usr/bin/env"),
        SandboxFilePermissionError,
        Reason.FILE_DENIED,
        "/usr/bin/env: read-only file system",
    ),
    (
        lambda channel: files.remove(channel, "/dev", recursive=True),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "in use",
    ),
    (
        lambda channel: files.move(channel, "/tmp/dir", "/tmp/dir/below"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/dir: cannot be moved into itself",
    ),
    (
        lambda channel: files.move(channel, "/tmp/file", "/tmp/dir"),
        SandboxFileExistsError,
        Reason.FILE_EXISTS,
        "/tmp/file: /tmp/dir: there is one already",
    ),
    (
        lambda channel: packed(channel, "/tmp/pipe"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/pipe: is no regular file",
    ),
    (
        lambda channel: _unpack(channel, "/tmp/file"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/file: not a directory",
    ),
    (
        lambda channel: _unpack(channel, "/tmp/full"),
        SandboxFileConflictError,
        Reason.FILE_CONFLICT,
        "/tmp/full: x: is a directory",
    ),
]


async def test_what_is_not_possible_is_an_error_that_says_why(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(
            channel, "mkdir -p /tmp/dir /tmp/full/x; touch /tmp/file; mkfifo /tmp/pipe; ln -s loop /tmp/loop"
        )
        for call, kind, reason, words in FAILURES:
            with pytest.raises(kind) as caught:
                await call(channel)
            assert caught.value.reason == reason
            assert caught.value.detail.endswith(words), caught.value.detail


# Moving


async def test_a_move_to_another_file_system_is_a_copy_that_replaces_at_once(agent: Path) -> None:
    async with opened(agent) as channel:
        make = (
            "mkdir -p /tmp/tree/sub; cd /tmp/tree; echo one > file; chmod 4751 file; ln file same;"
            " ln -s file link; mkfifo pipe; touch -d @77 sub; chmod 500 sub; chmod 711 .;"
            " truncate -s 1G sparse; printf x > \"$(printf '\\377\\n')\""
        )
        await script(channel, make)
        look = "cd %s; find . -printf '%%p %%y %%m %%n %%T@ %%l %%b\\n' | sort; cat file"
        before = await script(channel, look % "/tmp/tree")
        await files.move(channel, "/tmp/tree", "/dev/shm/moved")
        assert await script(channel, look % "/dev/shm/moved") == before
        assert await script(channel, "ls -A /tmp") == b"agent\n"
        for name in ("file", "link", "pipe", "sparse"):
            source, target = f"/dev/shm/moved/{name}", f"/tmp/{name}"
            await script(channel, f"echo old > {target}")
            info = await files.stat(channel, source)
            await files.move(channel, source, target)
            assert (await files.stat(channel, target)) == _named(info, target)
            with pytest.raises(SandboxFileNotFoundError):
                await files.stat(channel, source)
        assert await script(channel, "ls -A /tmp") == b"agent\nfile\nlink\npipe\nsparse\n"


def _named(info: Any, name: str) -> Any:
    return type(info)(**{field: getattr(info, field) for field in info.__slots__} | {"name": name})


async def test_a_move_that_fails_leaves_everything_as_it_was(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(channel, "mkdir -p /tmp/d; echo kept > /tmp/d/file; echo old > /dev/shm/old")
        # It has no room for all of it.
        await script(channel, "mkdir /dev/shm/few; head -c 20000000 /dev/zero > /tmp/d/large")
        for source, target, words in (
            ("/tmp/d", "/usr/d", "read-only"),
            ("/tmp/d/file", "/dev/shm/none/file", "no such file"),
            ("/dev/null", "/tmp/null", "cannot be moved to another file system"),
            ("/usr/bin/env", "/tmp/env", "read-only"),
        ):
            with pytest.raises(SandboxError, match=words):
                await files.move(channel, source, target)
        assert (
            await script(channel, "cat /tmp/d/file /dev/shm/old; ls -A /dev/shm") == b"kept\nold\nfew\nold\n"
        )


# Trees


def _has_files_of_any_kind(channel: Channel) -> Awaitable[bytes]:
    return script(
        channel,
        "mkdir -p /tmp/t/empty /tmp/t/closed; cd /tmp/t; echo content > file; chmod 4751 file;"
        " touch -d @12345 file; ln file same; ln -s /etc/passwd absolute; ln -s nowhere broken;"
        " mkfifo pipe; echo x > closed/x; chmod 555 closed; truncate -s 3M sparse; printf end >> sparse;"
        " : > none; printf y > \"$(printf 'n\\n\\377')\";"
        " python3 -c 'import socket; socket.socket(1).bind(\"socket\")'",
    )


async def test_a_tree_is_a_tar_archive(agent: Path) -> None:
    async with opened(agent) as channel:
        await _has_files_of_any_kind(channel)
        archive = await packed(channel, "/tmp/t")
        found = members(archive)
        assert list(found) == [
            ".",
            "./absolute",
            "./broken",
            "./closed",
            "./closed/x",
            "./empty",
            "./file",
            os.fsdecode(b"./n\n\xff"),
            "./none",
            "./pipe",
            "./same",
            "./sparse",
        ]
        file = found["./file"]
        assert (file.mode, file.mtime, file.uid, file.gid, file.size) == (0o4751, 12345, 0, 0, 8)
        assert (found["./same"].type, found["./same"].linkname) == (tarfile.LNKTYPE, "./file")
        assert (found["./absolute"].type, found["./absolute"].linkname) == (tarfile.SYMTYPE, "/etc/passwd")
        assert found["./pipe"].type == tarfile.FIFOTYPE
        with tarfile.open(fileobj=io.BytesIO(archive)) as read:
            sparse = read.extractfile("./sparse")
            assert sparse is not None
            assert sparse.read() == bytes(3 * 2**20) + b"end"


async def test_what_is_packed_is_unpacked_to_the_same(agent: Path) -> None:
    async with opened(agent) as channel:
        await _has_files_of_any_kind(channel)
        await files.unpack(channel, "/tmp/u/v", chunks(await packed(channel, "/tmp/t"), 777))
        look = (
            "cd %s; rm -f socket; find . ! -name . -printf '%%p %%y %%m %%n %%l %%Ts\\n' | sort;"
            " cat file closed/x"
        )
        # Times have no fraction in this archive.
        assert await script(channel, look % "/tmp/t") == await script(channel, look % "/tmp/u/v")


async def test_what_is_unpacked_takes_the_place_of_what_is_there(agent: Path) -> None:
    make = "mkdir -p /tmp/there/dir; cd /tmp/there; echo old > file; ln -s /usr link; echo keep > dir/keep"
    archive = tar(
        (member("dir", tarfile.DIRTYPE, mode=0o750), b""),
        (member("file", mode=0o600), b"new"),
        (member("link", tarfile.DIRTYPE, mode=0o750), b""),
        (member("link/x"), b"x"),
        (member("not/there/yet"), b"y"),
    )
    async with opened(agent) as channel:
        await script(channel, make)
        await files.unpack(channel, "/tmp/there", chunks(archive))
        look = "cd /tmp/there; cat file dir/keep link/x not/there/yet; stat -c %F link; stat -c %a dir file"
        assert await script(channel, look) == b"newkeep\nxydirectory\n750\n600\n"


async def test_trees_of_any_depth_name_and_mode_are_removed(agent: Path) -> None:
    make = """
import os
os.chdir("/tmp"); os.mkdir("deep"); os.chdir("deep")
for level in range(300):
    os.mkdir("x" * 200); os.chdir("x" * 200)
open("file", "w").close()
os.chdir("/tmp"); os.mkdir("wide"); os.chdir("wide")
for name in range(3000): open(bytes([0xff]) + b"\\n%d" % name, "w").close()
os.makedirs("closed/inner"); os.chmod("closed/inner", 0); os.chmod("closed", 0)
"""
    async with opened(agent) as channel:
        await files.write_file(channel, "/tmp/make", make.encode())
        await script(channel, "python3 /tmp/make; rm /tmp/make")
        assert max(map(len, members(await packed(channel, "/tmp/deep")))) == 201 * 300 + 6
        for name in ("deep", "wide"):
            await files.remove(channel, f"/tmp/{name}", recursive=True)
        assert await script(channel, "ls -A /tmp") == b"agent\n"


async def test_directories_with_more_names_than_are_kept_are_removed_but_not_packed(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "_HELD", 50)
    async with opened(agent) as channel:
        await script(
            channel, "mkdir -p /tmp/a/b; cd /tmp/a; seq 120 | xargs touch; cd b; seq 60 | xargs touch"
        )
        with pytest.raises(PayloadTooLargeError):
            await packed(channel, "/tmp/a")
        await files.remove(channel, "/tmp/a", recursive=True)
        assert await script(channel, "ls -A /tmp") == b"agent\n"


async def test_the_root_is_not_removed_with_all_that_it_holds(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(channel, "mkdir /tmp/d; echo > /tmp/d/kept; ln -s / /tmp/root")
        for path in ("/", "/tmp/..", "/tmp/d/..", "/tmp/d/.", "/tmp/root/"):
            for recursive in (False, True):
                with pytest.raises(SandboxFileConflictError, match="cannot be removed"):
                    await files.remove(channel, path, recursive=recursive)
        assert await script(channel, "ls /tmp/d") == b"kept\n"


async def test_a_move_replaces_a_file_and_no_directory(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(channel, "mkdir /tmp/dir; echo one > /tmp/one; echo two > /tmp/two")
        await files.move(channel, "/tmp/one", "/tmp/two")
        assert await script(channel, "cat /tmp/two; ls -A /tmp") == b"one\nagent\ndir\ntwo\n"
        for source, target in (("/tmp/two", "/tmp/dir"), ("/tmp/dir", "/tmp/two")):
            with pytest.raises(SandboxFileExistsError):
                await files.move(channel, source, target)


async def test_files_of_the_kernel_that_say_no_size_are_read(agent: Path) -> None:
    async with opened(agent) as channel:
        assert b"Name:" in await files.read_file(channel, "/proc/1/status")
        assert list(members(await packed(channel, "/proc/self/status"))) == ["./status"]


# A worker is used again.


CHILDREN = """
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/stat") as file:
        parent = file.read().rpartition(")")[2].split()[1]
    if parent == "1" and int(pid) != os.getppid():
        print(pid)
        if sys.argv[1:]: os.kill(int(pid), int(sys.argv[1]))
"""


async def _workers(channel: Channel, number: int | None = None) -> list[bytes]:
    """Return the workers of the agent that wait, and send each a signal if that is asked."""
    argv = [b"python3", b"-c", CHILDREN.encode(), *([b"%d" % number] if number else [])]
    return (await printed(channel.run(guest.Run(argv=argv, env=[b"PATH=/usr/bin:/bin"])))).split()


async def test_a_worker_serves_one_operation_after_another(agent: Path) -> None:
    async with opened(agent) as channel:
        seen = set()
        for number in range(5):
            await files.write_file(channel, "/tmp/file", b"%d" % number)
            assert await files.read_file(channel, "/tmp/file") == b"%d" % number
            await files.list_dir(channel, "/tmp")
            seen |= {*await _workers(channel)}
        assert len(seen) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_worker_that_waits_may_be_killed_or_stopped(agent: Path, number: signal.Signals) -> None:
    async with opened(agent) as channel:
        for _ in range(5):
            await files.stat(channel, "/tmp")
            assert await _workers(channel, number)
            await files.write_file(channel, "/tmp/file", b"content")
            assert await files.read_file(channel, "/tmp/file") == b"content"


async def test_a_worker_that_nobody_needs_ends(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_worker, "_IDLE_SECONDS", 0.1)
    async with opened(agent) as channel:
        await asyncio.gather(*(files.stat(channel, "/tmp") for _ in range(10)))
        while await _workers(channel):
            pass


async def test_one_file_is_packed_under_its_name(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(channel, "cd /tmp; echo content > file; ln -s file link")
        assert list(members(await packed(channel, "/tmp/file"))) == ["./file"]
        link = members(await packed(channel, "/tmp/link"))["./link"]
        assert (link.type, link.size) == (tarfile.REGTYPE, 8)


async def test_deep_trees_go_through(agent: Path) -> None:
    deep = "import os; os.chdir('/tmp')\nfor _ in range(200): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
    async with opened(agent) as channel:
        await script(channel, f"python3 -c \"{deep}open('file', 'w').write('deep')\"")
        top = "/tmp/" + "d" * 200
        archive = await packed(channel, top)
        assert len(members(archive)) == 201
        await files.unpack(channel, "/tmp/copy", chunks(archive))
        assert await packed(channel, "/tmp/copy") == archive
        await files.move(channel, "/tmp/copy", "/dev/shm/copy")
        assert await packed(channel, "/dev/shm/copy") == archive
        await files.remove(channel, top, recursive=True)
        assert [info.name for info in await files.list_dir(channel, "/tmp")] == ["agent"]


async def test_huge_files_of_holes_go_through(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(
            channel, "truncate -s 8E /tmp/huge 2> /dev/null || truncate -s 4E /tmp/huge; mkdir /tmp/d"
        )
        size = (await files.stat(channel, "/tmp/huge")).size
        assert size >= 2**62
        seen = 0
        async with aclosing(files.pack(channel, "/tmp/huge")) as archive:
            async for chunk in archive:
                seen += len(chunk)
                if seen > 2**24:
                    break
        await files.move(channel, "/tmp/huge", "/dev/shm/huge")
        assert (await files.stat(channel, "/dev/shm/huge")).size == size


async def test_what_changes_meanwhile_is_packed_as_it_is_found(agent: Path) -> None:
    change = (
        "mkdir /tmp/t; cd /tmp/t; seq 9999 > a; echo on;"
        " while :; do rm -rf b; mkdir b; : > b/x; rm -rf b; ln -s a b;"
        " : > a; seq 9999 > a; rm a; mkfifo a; rm a; mkdir a; rmdir a; done 2> /dev/null"
    )
    async with opened(agent) as channel:
        changing = sh(channel, change)
        await anext(changing.output())
        failures: list[str] = []
        for _ in range(30):
            try:
                members(await packed(channel, "/tmp/t"))
            except SandboxError as error:
                failures.append(error.detail)
        await changing.end()
        assert [detail for detail in failures if "meanwhile" not in detail] == []
        assert "." in members(await packed(channel, "/tmp/t"))


async def test_directories_that_deny_everything_are_unpacked(agent: Path) -> None:
    async with opened(agent) as channel:
        archive = tar(
            (member("d", tarfile.DIRTYPE, mode=0o555, mtime=99), b""),
            (member("d/e", tarfile.DIRTYPE, mode=0o000), b""),
            (member("d/e/file", mode=0o400, uid=1234), b"x"),
        )
        await files.unpack(channel, "/tmp/t", chunks(archive))
        look = "cd /tmp/t; find . ! -name . -printf '%p %m %U\\n' | sort; stat -c %Y d"
        assert await script(channel, look) == b"./d 555 0\n./d/e 0 0\n./d/e/file 400 0\n99\n"


async def test_an_archive_does_not_lead_out_of_its_directory(agent: Path) -> None:
    async with opened(agent) as channel:
        await script(channel, "mkdir -p /tmp/t/real /tmp/out; ln -s real /tmp/t/way")
        for infos in (
            [member("../out/x")],
            [member("l", tarfile.SYMTYPE, linkname="../out"), member("l/x")],
            [member("l", tarfile.SYMTYPE, linkname="/tmp/out"), member("l/x")],
            [
                member("a", tarfile.SYMTYPE, linkname="../out"),
                member("b", tarfile.SYMTYPE, linkname="a"),
                member("b/x"),
            ],
            [
                member("l", tarfile.SYMTYPE, linkname="/tmp/out"),
                member("m", tarfile.LNKTYPE, linkname="l"),
                member("m/x"),
            ],
            [
                member("l", tarfile.SYMTYPE, linkname="/etc"),
                member("p", tarfile.LNKTYPE, linkname="l/passwd"),
            ],
        ):
            with pytest.raises(SandboxError):
                await files.unpack(channel, "/tmp/t", chunks(tar(*((info, b"") for info in infos))))
        assert await script(channel, "ls -A /tmp/out") == b""
        # A link that was there before is the sandbox's own.
        await files.unpack(channel, "/tmp/t", chunks(tar((member("way/x"), b"y"))))
        assert await files.read_file(channel, "/tmp/t/real/x") == b"y"


async def test_what_is_no_archive_is_the_callers_mistake(agent: Path) -> None:
    whole = tar((member("a"), b"x" * 5000))
    async with opened(agent) as channel:
        for archive in (b"no archive" * 100, whole[:2000], tar((member("null", tarfile.CHRTYPE), b""))):
            with pytest.raises(InvalidArgumentError, match="cannot be unpacked"):
                await files.unpack(channel, "/tmp/t", chunks(archive))


async def test_an_upload_that_cannot_be_stored_is_given_up_at_once(agent: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        head = member("file")
        head.size = 2**40
        yield head.tobuf(tarfile.GNU_FORMAT)
        while True:
            taken += 1
            yield bytes(100_000)

    async with opened(agent) as channel:
        with pytest.raises(PermissionDeniedError):
            await files.unpack(channel, "/usr/t", endless())
        assert taken < 20


# Trees of any shape

_names = st.binary(min_size=1, max_size=120).filter(
    lambda name: not {0, ord("/")} & {*name} and name not in (b".", b"..")
)
_files = st.tuples(
    st.binary(max_size=3000), st.sampled_from([0o644, 0o4755, 0o000, 0o1777]), st.integers(0, 2**31)
)
_trees = st.recursive(
    _files | st.binary(min_size=1, max_size=200).filter(lambda target: 0 not in target),
    lambda inner: st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_Tree = Any


def _members_of(tree: dict[bytes, _Tree], prefix: bytes = b"") -> list[tuple[tarfile.TarInfo, bytes]]:
    found = []
    for name, value in tree.items():
        path = os.fsdecode(prefix + name)
        if isinstance(value, dict):
            found.append((member(path, tarfile.DIRTYPE, mode=0o755), b""))
            found += _members_of(value, prefix + name + b"/")
        elif isinstance(value, bytes):
            found.append((member(path, tarfile.SYMTYPE, linkname=os.fsdecode(value)), b""))
        else:
            content, mode, mtime = value
            found.append((member(path, mode=mode, mtime=mtime), content))
    return found


def _tree_of(archive: bytes) -> dict[bytes, _Tree]:
    root: dict[bytes, _Tree] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        for info in tar:
            *above, name = os.fsencode(info.name).split(b"/")
            if not above:
                continue
            directory = root
            for part in above[1:]:
                directory = directory[part]
            file = tar.extractfile(info) if info.isreg() else None
            if info.isdir():
                directory[name] = {}
            elif file is None:
                directory[name] = os.fsencode(info.linkname)
            else:
                directory[name] = (file.read(), info.mode, info.mtime)
    return root


@given(
    st.dictionaries(_names, _trees, max_size=4),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 100_000),
)
@settings(max_examples=15)
async def test_any_tree_is_the_same_after_unpacking_and_packing(
    agent: Path, tree: dict[bytes, _Tree], format: int, size: int
) -> None:
    async with opened(agent) as channel:
        await files.unpack(channel, "/tmp/t", chunks(tar(*_members_of(tree), format=format), size))
        assert _tree_of(await packed(channel, "/tmp/t")) == tree


# Deadlines


async def test_what_hangs_is_given_up(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SECONDS", 0.3)
    monkeypatch.setattr(files, "TREE_SECONDS", 0.3)
    monkeypatch.setattr(files, "STALL_SECONDS", 0.3)
    for call in (
        lambda channel: files.read_file(channel, "/x"),
        lambda channel: files.write_file(channel, "/x", bytes(2**20)),
        lambda channel: files.stat(channel, "/x"),
        lambda channel: files.list_dir(channel, "/x"),
        lambda channel: files.make_dir(channel, "/x"),
        lambda channel: files.remove(channel, "/x"),
        lambda channel: files.move(channel, "/x", "/y"),
        lambda channel: packed(channel, "/x"),
        lambda channel: files.unpack(channel, "/x", chunks(tar((member("x"), bytes(2**20))))),
    ):
        liar = await Liar().opened()
        with pytest.raises(SandboxTimeoutError, match="given up"):
            await call(liar.channel)
        assert liar.asked[-1].kill is not None
    async with opened(agent) as channel:
        assert (await files.stat(channel, "/tmp")).type == "directory"


# Agents that lie


async def told(call: Callable[[Channel], Awaitable[object]], *said: dict[str, Any]) -> object:
    """Call with an agent that says something of the operation, whatever it is asked."""
    liar = await Liar().opened()
    calling = asyncio.ensure_future(call(liar.channel))
    await asyncio.sleep(0)
    offset = 0
    for one in said:
        if (data := one.get("data")) is not None:
            one = {"output": guest.Output(offset=offset, **one)}
            offset += len(data)
        elif not one:
            one = {"ended": guest.Ended()}
        liar.say(1, **one)
    return await calling


def ended(status: int, **more: object) -> dict[str, Any]:
    return {"ended": guest.Ended(status=status, **more)}


async def test_every_number_is_an_error() -> None:
    for number in (*errno.errorcode, 200, 2**32 - 1):
        with pytest.raises(SandboxError) as caught:
            await told(lambda channel: files.read_file(channel, "/x"), ended(number))
        assert statuses_of(caught.value)[0] in (400, 403, 404, 409)
        words = caught.value.detail.removeprefix("/x: ")
        assert words not in ("", caught.value.detail)
        if number in CAUSES:
            assert (caught.value.reason, words) == CAUSES[number]


async def test_a_path_that_the_sandbox_reports_is_short_and_printable() -> None:
    root, top = guest.Entry(mode=stat.S_IFDIR, inode=1), guest.Entry(mode=stat.S_IFDIR, inode=2)
    for name in (b"a\n\x1b[31m\xff\xe2\x80\xae", b"x" * 60_000):
        inner = guest.Entry(name=name, mode=stat.S_IFREG)
        with pytest.raises(ConflictError) as caught:
            await told(
                lambda channel: files.remove(channel, "/x", recursive=True),
                {"data": answer(root) + answer(top) + answer(top, inner)},
                ended(errno.EBUSY),
            )
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 300
        assert caught.value.detail.endswith(": in use")


def answer(*entries: guest.Entry) -> bytes:
    """Return the answer of a worker: entries, and its end."""
    return b"".join(encoded_number(len(bytes(each))) + bytes(each) for each in entries) + b"\0"


def content(*numbers: int | bytes) -> bytes:
    """Return the answer of a worker that reads a file of three bytes, with this content."""
    said = (each if isinstance(each, bytes) else encoded_number(each) for each in numbers)
    return answer(guest.Entry(mode=stat.S_IFREG, size=3))[:-1] + b"".join(said) + b"\0"


def _named_file(name: bytes) -> guest.Entry:
    return guest.Entry(name=name, mode=stat.S_IFREG)


def _listed(name: bytes) -> list[dict[str, Any]]:
    return [{"data": answer(guest.Entry(mode=stat.S_IFDIR), _named_file(name)) + answer(guest.Entry())}, {}]


NAMES = (b"", b".", b"..", b"../x", b"/x", b"a/b", b"a\0")
# What nobody has asked a worker for that reads a file, or looks for a directory first.
_TOLERATED = {"data": b"\0"}
LIES: dict[str, tuple[Callable[[Channel], Awaitable[object]], list[dict[str, Any]]]] = {
    "no entry": (lambda channel: files.stat(channel, "/x"), [{}]),
    "nothing": (lambda channel: files.stat(channel, "/x"), [{"data": b"\0"}]),
    "two entries": (
        lambda channel: files.stat(channel, "/x"),
        [{"data": answer(guest.Entry(mode=stat.S_IFREG), guest.Entry(mode=stat.S_IFREG))}],
    ),
    "no type": (lambda channel: files.stat(channel, "/x"), [{"data": answer(guest.Entry(mode=0o644))}]),
    "mode": (lambda channel: files.stat(channel, "/x"), [{"data": answer(guest.Entry(mode=2**31))}]),
    "size": (
        lambda channel: files.stat(channel, "/x"),
        [{"data": answer(guest.Entry(mode=stat.S_IFREG, size=2**63))}],
    ),
    "number": (lambda channel: files.stat(channel, "/x"), [{"data": b"\xff" * 20}]),
    "no answer": (lambda channel: files.write_file(channel, "/x", b""), [{}]),
    "an entry for nothing": (
        lambda channel: files.make_dir(channel, "/x"),
        [{"data": answer(guest.Entry(mode=stat.S_IFREG))}],
    ),
    **{f"name {name!r}": (lambda channel: files.list_dir(channel, "/x"), _listed(name)) for name in NAMES},
    **{
        f"packed name {name!r}": (
            lambda channel: packed(channel, "/x"),
            [_TOLERATED, {"data": answer(guest.Entry(mode=stat.S_IFDIR), _named_file(name))}],
        )
        for name in NAMES
    },
    "cut short": (
        lambda channel: files.list_dir(channel, "/x"),
        [{"data": answer(guest.Entry(name=b"a", mode=stat.S_IFREG))[:-2]}, {}],
    ),
    "large": (lambda channel: files.list_dir(channel, "/x"), [{"data": encoded_number(2**40)}]),
    "no archive": (lambda channel: packed(channel, "/x"), [{"data": b"\xff" * 500}]),
    "too much": (lambda channel: packed(channel, "/x"), [{"data": content(0, 4, b"1234", 0, 0)}]),
    "too far": (lambda channel: packed(channel, "/x"), [{"data": content(2**62, 0)}]),
    "too little": (lambda channel: packed(channel, "/x"), [{"data": content(0, 2, b"12", 0, 0)}]),
    "more behind it": (
        lambda channel: packed(channel, "/x"),
        [{"data": content(0, 3, b"123", 0, 0)[:-1] + answer(guest.Entry(mode=stat.S_IFREG))}],
    ),
    "ends early": (
        lambda channel: files.unpack(channel, "/x", chunks(tar((member("a"), bytes(2**20))))),
        [{}],
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_nonsense_is_an_error(lie: str) -> None:
    with pytest.raises(ConflictError, match="nonsense") as caught:
        await told(LIES[lie][0], *LIES[lie][1])
    assert caught.value.reason == Reason.FILE_CONFLICT


_FILE = guest.Entry(name=b"a", mode=stat.S_IFREG)
_DIRECTORY = guest.Entry(name=b"d" * 255, mode=stat.S_IFDIR)


@pytest.mark.parametrize(
    ("call", "first", "data"),
    [
        (lambda channel: files.read_file(channel, "/x"), b"", answer(_FILE)[:-1]),
        (lambda channel: files.list_dir(channel, "/x"), b"", answer(_FILE)[:-1]),
        # Each directory holds another one.
        (lambda channel: packed(channel, "/x"), b"\0", answer(_DIRECTORY, _DIRECTORY)),
    ],
    ids=["read", "list", "pack"],
)
async def test_answers_without_end_are_not_kept(
    call: Callable[[Channel], Awaitable[object]],
    first: bytes,
    data: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The longest path that is kept, of directories that the liar lets be entered without more credit.
    monkeypatch.setattr(trees, "_PATH_BYTES", 100_000)
    liar = await Liar().opened()
    calling = asyncio.ensure_future(call(liar.channel))
    await asyncio.sleep(0)
    offset = limit = 0
    data *= 60_000 // len(data)
    while not calling.done():
        for asked in liar.asked:
            if asked.window is not None:
                limit = max(limit, asked.window.limit)
        said = data if offset else first + data
        if offset + len(said) <= max(limit, WINDOW):
            liar.say(1, output=guest.Output(offset=offset, data=said))
            offset += len(said)
        await asyncio.sleep(0)
    with pytest.raises((PayloadTooLargeError, InvalidArgumentError)):
        await calling
    assert offset < MAX_MESSAGE_BYTES + 2**20
    assert liar.failures == []


async def test_an_agent_that_is_lost_ends_the_operation() -> None:
    liar = await Liar().opened()
    calling = asyncio.ensure_future(files.read_file(liar.channel, "/x"))
    await asyncio.sleep(0)
    liar.channel.lost()
    with pytest.raises(SandboxEndedError):
        await calling
    with pytest.raises(SandboxEndedError):
        await files.read_file(liar.channel, "/x")

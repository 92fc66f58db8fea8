"""The files in a sandbox, whatever runs it and whatever carries the calls.

How each call behaves in detail is in tests/parity/test_files.py; here, that it does on every runtime, and
what a sandbox can do against it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker_engine
import pytest
from every_runtime import Runtime

from flash_sandbox import (
    ConflictError,
    FileInfo,
    InvalidArgumentError,
    NotFoundError,
    PayloadTooLargeError,
    Reason,
    SandboxError,
    SandboxFileConflictError,
    SandboxFileNotFoundError,
    SandboxFilePermissionError,
    SandboxTimeoutError,
)
from flash_sandbox.orchestrator.guest import files

MIB = 1024 * 1024
SECRET = b"what only the host holds"
ANY_FAILURE = (ConflictError, NotFoundError, SandboxFilePermissionError)


@pytest.fixture(scope="module")
def busybox(runtime: Runtime, need) -> Iterator[Runtime]:
    """The same runtime with an image that has nothing but busybox, all of it the sandbox's own to change."""
    need("docker", docker_engine.missing())
    if runtime.type == "docker":
        yield runtime
        return
    image = runtime.state_dir / "rootfs" / "files.tar"
    image.parent.mkdir(exist_ok=True)
    image.write_bytes(docker_engine.busybox_root())
    yield Runtime(runtime.client, runtime.type, str(image), runtime.state_dir)


@pytest.fixture(scope="module")
def place(runtime: Runtime, idle: str) -> tuple[Runtime, str]:
    """A sandbox and what runs it."""
    return runtime, idle


@pytest.fixture
def home(place: tuple[Runtime, str]) -> Iterator[str]:
    """An empty directory."""
    runtime, sandbox_id = place
    runtime.client.make_dir(sandbox_id, "/tmp/home")
    yield "/tmp/home"
    runtime.sh(sandbox_id, "chmod -R u+rwx /tmp/home; rm -rf /tmp/home")


class TestFiles:
    def test_any_bytes_come_back(self, place, home: str) -> None:
        runtime, sandbox_id = place
        for content in (b"", bytes(range(256)), os.urandom(3 * MIB)):
            runtime.client.write_file(sandbox_id, f"{home}/a/file", content, parents=True)
            assert runtime.client.read_file(sandbox_id, f"{home}/a/file") == content

    def test_what_is_written_again_stays_what_it_was(self, place, home: str) -> None:
        runtime, sandbox_id = place
        write = runtime.client.write_file
        for mode in (0o755, 0o600, 0o4750):
            write(sandbox_id, f"{home}/program", b"#!/bin/sh\necho old\n", mode=mode)
            write(sandbox_id, f"{home}/program", b"#!/bin/sh\necho new\n")
            assert runtime.client.stat(sandbox_id, f"{home}/program").mode == mode
        assert runtime.sh(sandbox_id, f"{home}/program") == "new\n"
        write(sandbox_id, f"{home}/program", b"", mode=0o640)
        assert runtime.client.stat(sandbox_id, f"{home}/program").mode == 0o640

    def test_a_new_file_and_one_in_the_place_of_a_link_have_the_usual_mode(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"cd {home}; touch other; chmod 600 other; ln -s other link")
        for name in ("new", "link"):
            runtime.client.write_file(sandbox_id, f"{home}/{name}", b"x")
            assert runtime.client.stat(sandbox_id, f"{home}/{name}").mode == 0o644

    def test_what_is_written_again_keeps_its_owner(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.client.write_file(sandbox_id, f"{home}/file", b"old", mode=0o640)
        runtime.sh(sandbox_id, f"chown 1234:2345 {home}/file || true")
        before = runtime.client.stat(sandbox_id, f"{home}/file")
        runtime.client.write_file(sandbox_id, f"{home}/file", b"new")
        after = runtime.client.stat(sandbox_id, f"{home}/file")
        assert (after.uid, after.gid, after.mode) == (before.uid, before.gid, 0o640)
        runtime.client.remove(sandbox_id, f"{home}/file")

    def test_a_file_larger_than_a_message_is_refused(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"head -c {8 * MIB + 1} /dev/zero > {home}/file")
        with pytest.raises(PayloadTooLargeError):
            runtime.client.read_file(sandbox_id, f"{home}/file")

    def test_what_is_there_is_told(self, place, home: str) -> None:
        runtime, sandbox_id = place
        began = time.time()
        runtime.client.write_file(sandbox_id, f"{home}/file", b"12345", mode=0o640)
        runtime.sh(
            sandbox_id, f"cd {home}; ln -s 'to\n//' link; mkfifo -m 600 fifo; mkdir -m 1777 dir; touch .h"
        )
        found = {info.name: info for info in runtime.client.list_dir(sandbox_id, home)}
        kinds = {name: (info.type, info.link_target) for name, info in found.items()}
        assert kinds == {
            ".h": ("file", ""),
            "dir": ("directory", ""),
            "fifo": ("fifo", ""),
            "file": ("file", ""),
            "link": ("symlink", "to\n//"),
        }
        file = found["file"]
        assert file == FileInfo("file", "file", 5, 0o640, 0, 0, file.modified_at)
        assert began - 2 < file.modified_at < time.time() + 2
        assert found["dir"].mode == 0o1777
        for name, info in found.items():
            told = runtime.client.stat(sandbox_id, f"{home}/{name}")
            assert (told.type, told.size, told.mode, told.link_target) == (
                info.type,
                info.size,
                info.mode,
                info.link_target,
            )

    def test_names_of_any_kind_are_listed(self, place, home: str) -> None:
        runtime, sandbox_id = place
        names = ["-n", "*", " ", "a\nb", "..x", "\u20ac", "$(touch x)", "x" * 255]
        for name in names:
            runtime.client.write_file(sandbox_id, f"{home}/{name}", name)
        runtime.sh(sandbox_id, f"touch \"{home}/$(printf 'not\\377utf8')\"")
        listed = [info.name for info in runtime.client.list_dir(sandbox_id, home)]
        assert sorted(listed) == sorted([*names, "not\ufffdutf8"])
        assert all(runtime.client.read_file(sandbox_id, f"{home}/{name}") == name.encode() for name in names)

    def test_directories_are_made_moved_and_removed(self, place, home: str) -> None:
        runtime, sandbox_id = place
        client = runtime.client
        client.make_dir(sandbox_id, f"{home}/a/b", mode=0o700, parents=True)
        client.write_file(sandbox_id, f"{home}/a/b/file", b"x")
        client.move(sandbox_id, f"{home}/a", f"{home}/c")
        assert client.stat(sandbox_id, f"{home}/c/b").mode == 0o700
        with pytest.raises(ConflictError, match="not empty"):
            client.remove(sandbox_id, f"{home}/c")
        client.remove(sandbox_id, f"{home}/c", recursive=True)
        assert client.list_dir(sandbox_id, home) == ()

    def test_failures_are_told_alike(self, place, home: str, tmp_path: Path) -> None:
        runtime, sandbox_id = place
        runtime.sh(
            sandbox_id,
            f"cd {home}; touch file; mkdir dir; mkfifo fifo; ln -s loop loop",
        )
        client = runtime.client
        expected = {
            "gone": (SandboxFileNotFoundError, Reason.FILE_NOT_FOUND, "no such file or directory"),
            "file/x": (SandboxFileConflictError, Reason.FILE_CONFLICT, "not a directory"),
            "loop/x": (SandboxFileConflictError, Reason.FILE_CONFLICT, "too many levels of links"),
            "n" * 256: (InvalidArgumentError, Reason.INVALID_ARGUMENT, "a name is too long"),
        }
        if runtime.type == "bubblewrap":
            # Of its own files a sandbox's root is denied none.
            expected["/proc/tty/driver/x"] = (
                SandboxFilePermissionError,
                Reason.FILE_DENIED,
                "permission denied",
            )
        for name, (kind, reason, told) in expected.items():
            path = os.path.join(home, name)
            for call in (
                lambda path=path: client.read_file(sandbox_id, path),
                lambda path=path: client.stat(sandbox_id, path),
                lambda path=path: client.list_dir(sandbox_id, path),
                lambda path=path: client.remove(sandbox_id, path),
                lambda path=path: client.write_file(sandbox_id, f"{path}/y", b""),
                lambda path=path: client.make_dir(sandbox_id, f"{path}/y"),
                lambda path=path: client.download(sandbox_id, path, tmp_path / "copy"),
            ):
                with pytest.raises(kind) as caught:
                    call()
                assert (caught.value.reason, caught.value.detail.rpartition(": ")[2]) == (reason, told)

    def test_a_directory_that_may_not_be_read_is_not_told_to_be_empty(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.client.make_dir(sandbox_id, f"{home}/dir/sub", mode=0o311, parents=True)
        assert [entry.name for entry in runtime.client.list_dir(sandbox_id, f"{home}/dir")] == ["sub"]
        if runtime.type == "bubblewrap":
            with pytest.raises(SandboxFilePermissionError) as caught:
                runtime.client.list_dir(sandbox_id, "/proc/tty/driver")
            assert caught.value.reason == Reason.FILE_DENIED

    def test_what_is_no_file_is_not_opened(self, place, home: str, tmp_path: Path) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"mkfifo {home}/fifo")
        for path in (f"{home}/fifo", "/dev/zero"):
            with pytest.raises(ConflictError, match="no regular file"):
                runtime.client.read_file(sandbox_id, path)
            with pytest.raises(ConflictError, match="no regular file"):
                runtime.client.write_file(sandbox_id, path, b"")
            with pytest.raises(ConflictError, match="no regular file"):
                runtime.client.download(sandbox_id, path, tmp_path / "copy")


class TestCopies:
    def test_a_tree_comes_back_as_it_went(self, place, home: str, tmp_path: Path) -> None:
        runtime, sandbox_id = place
        source, copy = tmp_path / "source", tmp_path / "copy"
        (source / "sub" / "empty").mkdir(parents=True)
        (source / "sub" / ("n" * 200)).write_bytes(os.urandom(2 * MIB))
        (source / "program").touch(mode=0o755)
        (source / "link").symlink_to("sub")
        runtime.client.upload(sandbox_id, source, f"{home}/a/tree")
        assert (
            runtime.sh(sandbox_id, f"test -x {home}/a/tree/program && readlink {home}/a/tree/link") == "sub\n"
        )
        runtime.client.download(sandbox_id, f"{home}/a/tree", copy)
        assert sorted(os.listdir(copy)) == ["link", "program", "sub"]
        assert (copy / "link" / ("n" * 200)).read_bytes() == (source / "sub" / ("n" * 200)).read_bytes()

    def test_one_file_comes_back_as_it_went(self, place, home: str, tmp_path: Path) -> None:
        runtime, sandbox_id = place
        (tmp_path / "source").write_bytes(os.urandom(5 * MIB + 1))
        runtime.client.upload(sandbox_id, tmp_path / "source", f"{home}/file")
        runtime.client.download(sandbox_id, f"{home}/file", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "source").read_bytes()

    def test_what_cannot_be_stored_is_told(self, place, home: str, tmp_path: Path) -> None:
        runtime, sandbox_id = place
        runtime.client.write_file(sandbox_id, f"{home}/file", b"")
        runtime.client.make_dir(sandbox_id, f"{home}/dir")
        (tmp_path / "source").write_bytes(bytes(3 * MIB))
        for path in (f"{home}/file/x", f"{home}/dir"):
            with pytest.raises(ConflictError):
                runtime.client.upload(sandbox_id, tmp_path / "source", path)
        assert runtime.client.stat(sandbox_id, f"{home}/dir").type == "directory"


class TestAttacks:
    """A sandbox that does what it can to have the orchestrator, or the client, touch a file of the host."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Iterator[Path]:
        """A file of the host that a sandbox knows of."""
        path = tmp_path / "secret"
        path.write_bytes(SECRET)
        yield path
        assert path.read_bytes() == SECRET
        assert sorted(os.listdir(tmp_path)) in (["secret"], ["copies", "secret"])

    def test_no_path_leads_to_the_host(self, place, home: str, secret: Path) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"cd {home}; ln -s {secret} link; ln -s / root; ln -s /proc/1/root init")
        prefixes = ("", "/../../..", "/proc/self/root", "/proc/1/root", "/proc/self/cwd/../..")
        ways = [f"{prefix}{secret}" for prefix in prefixes]
        ways += [
            f"{home}/link",
            f"{home}/root{secret}",
            f"{home}/init{secret}",
            "/proc/self/fd/0",
            "/proc/1/fd/0",
        ]
        for way in ways:
            with suppress(*ANY_FAILURE):
                assert SECRET not in runtime.client.read_file(sandbox_id, way)
            with suppress(*ANY_FAILURE):
                runtime.client.remove(sandbox_id, f"{way}/../secret")

    def test_loops_of_links_and_long_names_end(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"cd {home}; ln -s b a; ln -s a b; ln -s . dot; mkdir d; ln -s .. d/up")
        longest = home + "/dot" * ((4095 - len(home)) // 4)
        with pytest.raises((ConflictError, InvalidArgumentError)):
            runtime.client.read_file(sandbox_id, longest)
        for path in (f"{home}/a", f"{home}/d/up/a", f"{home}/a/x"):
            with pytest.raises(ConflictError):
                runtime.client.read_file(sandbox_id, path)
        with pytest.raises(InvalidArgumentError):
            runtime.client.read_file(sandbox_id, f"{home}/{'x' * 4096}")
        runtime.client.remove(sandbox_id, f"{home}/d", recursive=True)

    @contextmanager
    def changing(self, runtime: Runtime, sandbox_id: str, script: str) -> Iterator[None]:
        """Run a script over and over in the sandbox for the length of a block."""
        loop = f"echo on; until [ -e /tmp/end ]; do {script}; done 2> /dev/null; rm /tmp/end"
        with runtime.client.exec_stream(sandbox_id, ["/bin/sh", "-c", loop]) as changes:
            while next(changes).type != "stdout":
                pass
            try:
                yield
            finally:
                runtime.client.write_file(sandbox_id, "/tmp/end", b"")
                for _ in changes:
                    pass

    def test_links_that_are_swapped_lead_to_nothing_of_the_host(
        self, place, home: str, secret: Path, tmp_path: Path
    ) -> None:
        runtime, sandbox_id = place
        client = runtime.client
        runtime.sh(sandbox_id, f"cd {home}; mkdir real; echo mine > real/secret; echo mine > file")
        swap = (
            f"cd {home}; ln -sfn real way; ln -sfn {secret.parent} way;"
            f" rm -f name; ln -s {secret} name; rm -f name; cp file name"
        )
        with self.changing(runtime, sandbox_id, swap):
            for number in range(6):
                for path in (f"{home}/way/secret", f"{home}/name"):
                    with suppress(*ANY_FAILURE):
                        assert client.read_file(sandbox_id, path) in (b"mine\n", b"theirs", b"")
                    with suppress(*ANY_FAILURE):
                        client.write_file(sandbox_id, path, b"theirs", parents=True)
                    with suppress(*ANY_FAILURE):
                        client.remove(sandbox_id, path, recursive=True)
                    with suppress(*ANY_FAILURE):
                        client.list_dir(sandbox_id, f"{home}/way")
                with suppress(SandboxError):
                    client.download(sandbox_id, home, tmp_path / "copies" / str(number))
        for path in (tmp_path / "copies").rglob("*"):
            assert path.is_symlink() or path.is_dir() or SECRET not in path.read_bytes()

    def test_a_pipe_that_takes_the_place_of_a_file_holds_nothing_up(
        self, place, home: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runtime, sandbox_id = place
        monkeypatch.setattr(files, "SECONDS", 1.0)
        swap = f"cd {home}; mkfifo new; mv -f new name; echo content > new; mv -f new name"
        failures = (ConflictError, NotFoundError, SandboxTimeoutError)
        with self.changing(runtime, sandbox_id, swap):
            began = time.monotonic()
            for _ in range(6):
                with suppress(*failures):
                    assert runtime.client.read_file(sandbox_id, f"{home}/name") in (b"content\n", b"")
            # Each of them may have hung and been ended.
            assert time.monotonic() - began < 30

    def test_a_list_of_what_changes_is_a_list(self, place, home: str) -> None:
        runtime, sandbox_id = place
        runtime.sh(sandbox_id, f"cd {home}; touch stays")
        with self.changing(runtime, sandbox_id, f"cd {home}; touch a b c; rm a b c"):
            for _ in range(10):
                names = {info.name for info in runtime.client.list_dir(sandbox_id, home)}
                assert {"stays"} <= names <= {"stays", "a", "b", "c"}


def test_files_need_no_program_in_the_sandbox(busybox: Runtime, tmp_path: Path) -> None:
    client = busybox.client
    with busybox.sandbox() as sandbox_id:
        for info in client.list_dir(sandbox_id, "/bin"):
            client.remove(sandbox_id, f"/bin/{info.name}")
        assert client.list_dir(sandbox_id, "/bin") == ()
        client.write_file(sandbox_id, "/tmp/d/file", b"content", parents=True)
        client.make_dir(sandbox_id, "/tmp/e")
        client.move(sandbox_id, "/tmp/d/file", "/tmp/e/file")
        assert client.read_file(sandbox_id, "/tmp/e/file") == b"content"
        client.download(sandbox_id, "/tmp/e", tmp_path / "copy")
        client.upload(sandbox_id, tmp_path / "copy", "/tmp/f")
        assert [(info.name, info.size) for info in client.list_dir(sandbox_id, "/tmp/f")] == [("file", 7)]
        client.remove(sandbox_id, "/tmp/e", recursive=True)
        with pytest.raises(SandboxFileNotFoundError):
            client.stat(sandbox_id, "/tmp/e")


def test_own_programs_of_the_usual_names_are_not_run(runtime: Runtime, tmp_path: Path) -> None:
    with runtime.sandbox() as sandbox_id:
        names = ("sh", "find", "stat", "cat", "tar", "rm", "mv", "mkdir")
        first = runtime.sh(sandbox_id, "echo ${PATH%%:*}").strip()
        for name in names:
            program = b"#!/bin/sh\n: > /tmp/ran\n"
            runtime.client.write_file(sandbox_id, f"{first}/{name}", program, mode=0o755, parents=True)
        runtime.client.write_file(sandbox_id, "/tmp/d/file", b"content", parents=True)
        runtime.client.download(sandbox_id, "/tmp/d", tmp_path / "copy")
        runtime.client.remove(sandbox_id, "/tmp/d", recursive=True)
        assert [info.name for info in runtime.client.list_dir(sandbox_id, "/tmp")] == []

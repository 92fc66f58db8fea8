"""Sandboxes, commands, processes and files as objects."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import flash_sandbox
from flash_sandbox import (
    AsyncSandbox,
    CommandFailedError,
    ConflictError,
    InvalidArgumentError,
    Process,
    Sandbox,
    SandboxAPI,
    SandboxFileNotFoundError,
    SandboxNotFoundError,
    SandboxTimeoutError,
)
from flash_sandbox.orchestrator import Orchestrator


@pytest.fixture
def sandbox(client: SandboxAPI) -> Iterator[Sandbox]:
    """Start an idle sandbox, stopped at the end."""
    with Sandbox.create(client=client, memory_mb=64) as started:
        yield started


class TestSandbox:
    def test_is_created_from_the_image_that_comes_first(self, client: SandboxAPI) -> None:
        with Sandbox.create("host", memory_mb=64, ttl=600, labels={"a": "b"}, client=client) as sandbox:
            info = sandbox.info()
            assert (info.image, info.labels) == ("host", ("a=b",))
            assert 590 < info.expires_at - time.time() <= 600
            assert sandbox.keep_alive(1200) > info.expires_at

    def test_refuses_options_by_position(self, client: SandboxAPI) -> None:
        with pytest.raises(TypeError):
            Sandbox.create("host", ["true"], client=client)  # type: ignore[misc]

    def test_is_paused_resumed_and_measured(self, sandbox: Sandbox) -> None:
        sandbox.pause()
        assert sandbox.status() == "paused"
        sandbox.resume()
        assert sandbox.status() == "running"
        assert sandbox.metrics().memory_limit_bytes == 64 * 2**20
        assert "system" in sandbox.platform_info()

    def test_starts_from_a_snapshot_of_another(self, sandbox: Sandbox, client: SandboxAPI) -> None:
        sandbox.files.write("/tmp/kept", "content")
        snapshot = sandbox.snapshot()
        assert sandbox.status() == "paused"
        try:
            for form in (snapshot, snapshot.snapshot_path, client.list_snapshots()[-1]):
                with Sandbox.create(snapshot=form, client=client) as fork:
                    assert fork.files.read("/tmp/kept") == b"content"
        finally:
            client.remove_snapshot(snapshot.snapshot_path)

    def test_is_gone_once_it_is_stopped(self, client: SandboxAPI) -> None:
        sandbox = Sandbox.create(memory_mb=64, client=client)
        sandbox.stop()
        with pytest.raises(SandboxNotFoundError):
            sandbox.status()

    def test_that_is_closed_goes_on(self, sandbox: Sandbox) -> None:
        sandbox.close()
        assert sandbox.status() == "running"

    def test_is_listed_by_label_beside_what_is_known_of_it(self, client: SandboxAPI) -> None:
        labels = {"test": "objects"}
        with (
            Sandbox.create(memory_mb=64, labels=labels, client=client) as one,
            Sandbox.create(memory_mb=64, labels=labels, client=client) as other,
            Sandbox.create(memory_mb=64, client=client),
        ):
            assert [each.id for each in Sandbox.list(labels=labels, client=client)] == [one.id, other.id]
            assert [info.id for info in client.sandboxes(labels=labels)] == [one.id, other.id]
            assert list(client.sandboxes(labels=labels, status="paused")) == []

    def test_calls_have_the_clients_names_too(self, sandbox: Sandbox) -> None:
        sandbox.write_file("/tmp/file", b"content")
        assert sandbox.exec_command("cat /tmp/file").stdout == "content"
        assert sandbox.get_status() == "running"
        sandbox.stop_sandbox()


class TestRun:
    def test_tells_how_a_command_ended(self, sandbox: Sandbox) -> None:
        result = sandbox.run("cat; echo $A; pwd; exit 3", stdin="in\n", env={"A": "b"}, cwd="/tmp")
        assert (result.stdout, result.exit_code) == ("in\nb\n/tmp\n", 3)

    def test_is_that_of_the_commands(self, sandbox: Sandbox) -> None:
        assert sandbox.commands.run(["echo", "hi"]).stdout == "hi\n"

    def test_raises_what_failed_where_it_is_checked(self, sandbox: Sandbox) -> None:
        assert sandbox.run("echo fine", check=True).stdout == "fine\n"
        with pytest.raises(CommandFailedError, match="oh no") as caught:
            sandbox.run("echo oh no >&2; exit 3", check=True)
        assert caught.value.result is not None
        assert caught.value.result.exit_code == 3

    def test_limit_is_the_commands(self, sandbox: Sandbox) -> None:
        result = sandbox.run("echo begun; sleep 30", limit=0.5)
        assert (result.stdout, result.timed_out) == ("begun\n", True)

    def test_limit_prolongs_the_clients_time_out(self, client: SandboxAPI, sandbox: Sandbox) -> None:
        hasty = Sandbox(client.with_options(timeout=1), sandbox.id)
        assert hasty.run("sleep 1.5; echo done", limit=20).stdout == "done\n"

    def test_timeout_is_the_calls(self, sandbox: Sandbox) -> None:
        with pytest.raises(SandboxTimeoutError):
            sandbox.run("sleep 30", timeout=0.5)
        with pytest.raises(SandboxTimeoutError):
            sandbox.run("sleep 30", timeout=0.5, limit=20)

    @pytest.mark.parametrize("limit", [0, -1, float("nan"), "1", True])
    def test_limit_out_of_range_is_refused(self, sandbox: Sandbox, limit: float) -> None:
        for call in (sandbox.run, sandbox.commands.start, sandbox.commands.stream):
            with pytest.raises(InvalidArgumentError, match="limit must be"):
                call("true", limit=limit)


class TestProcess:
    def test_is_waited_for(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start("echo out; exit 4")
        assert (process.wait().stdout, process.wait().exit_code) == ("out\n", 4)
        with pytest.raises(CommandFailedError):
            process.wait(check=True)

    def test_is_killed_with_all_that_it_started(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start("setsid sleep 7401 & sleep 7402")
        process.kill()
        assert process.wait().signal == 9
        assert sandbox.run("pgrep -f '[s]leep 740'").exit_code == 1

    def test_takes_signals(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start(["sleep", "30"])
        process.signal("INT")
        assert process.wait().signal == 2

    def test_takes_input_and_is_iterated(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start(["cat"], keep_stdin=True)
        process.send_stdin("one\n")
        process.send_stdin(b"two\n", end=True)
        frames = list(process)
        assert [frames[0].type, frames[-1].type] == ["started", "exit"]
        assert b"".join(frame.data for frame in frames) == b"one\ntwo\n"
        # What is kept of the output is told again.
        assert b"".join(frame.data for frame in process) == b"one\ntwo\n"

    def test_terminal_is_resized(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start("read -r x; stty size", tty=True)
        process.resize(31, 91)
        process.send_stdin("\n")
        assert "31 91" in process.wait().stdout

    def test_is_found_again_by_its_id(self, sandbox: Sandbox) -> None:
        process = sandbox.commands.start(["sleep", "30"])
        assert [info.process_id for info in sandbox.commands.list()] == [process.process_id]
        again = sandbox.commands.process(process.process_id)
        assert isinstance(again, Process)
        again.kill()
        assert process.wait().signal == 9

    def test_of_a_stream_is_killed(self, sandbox: Sandbox) -> None:
        with sandbox.commands.stream(["sleep", "30"]) as stream:
            stream.kill()
            assert list(stream)[-1].signal == 9


class TestFiles:
    def test_are_written_read_listed_and_removed(self, sandbox: Sandbox) -> None:
        files = sandbox.files
        files.make_dir("/tmp/a/b", parents=True)
        files.write("/tmp/a/b/file", "content", mode=0o600)
        files.move("/tmp/a/b/file", "/tmp/a/file")
        assert files.read("/tmp/a/file") == b"content"
        assert (files.stat("/tmp/a/file").mode, files.stat("/tmp/a/file").size) == (0o600, 7)
        assert [info.name for info in files.list("/tmp/a")] == ["b", "file"]
        files.remove("/tmp/a", recursive=True)
        with pytest.raises(SandboxFileNotFoundError):
            files.stat("/tmp/a")

    def test_are_copied_in_and_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "in").write_text("content")
        sandbox.files.upload(tmp_path / "in", "/tmp/file")
        sandbox.files.download("/tmp/file", tmp_path / "out")
        assert (tmp_path / "out").read_text() == "content"

    def test_of_a_paused_sandbox_are_refused(self, sandbox: Sandbox) -> None:
        sandbox.pause()
        with pytest.raises(ConflictError):
            sandbox.files.read("/etc/hostname")


@pytest.mark.parametrize("name", ["HTTPClient", "SandboxClient"])
def test_a_pickled_sandbox_is_used_by_another_process(name: str, orchestrator: Orchestrator) -> None:
    address = orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address
    program = (
        "import pickle, sys\n"
        "sandbox, process = pickle.load(sys.stdin.buffer)\n"
        "print(sandbox.run('echo hi').stdout, process.wait().stdout)\n"
        "sandbox.stop()"
    )
    with getattr(flash_sandbox, name)(address=address) as client:
        sandbox = Sandbox.create(memory_mb=64, client=client)
        pickled = pickle.dumps((sandbox, sandbox.commands.start("echo started")))
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, input=pickled, capture_output=True, timeout=60, check=False)
        assert done.stdout == b"hi\n started\n\n", done.stderr
        with pytest.raises(SandboxNotFoundError):
            sandbox.status()


@pytest.mark.parametrize("name", ["AsyncHTTPClient", "AsyncSandboxClient"])
async def test_the_asynchronous_objects_do_the_same(name: str, orchestrator: Orchestrator) -> None:
    address = orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address
    async with getattr(flash_sandbox, name)(address=address) as client:
        async with await AsyncSandbox.create(memory_mb=64, labels=["async=1"], client=client) as sandbox:
            assert (await sandbox.run("echo hi", check=True)).stdout == "hi\n"
            await sandbox.files.write("/tmp/file", "content")
            assert await sandbox.files.read("/tmp/file") == b"content"
            process = await sandbox.commands.start(["cat"], keep_stdin=True)
            await process.send_stdin("in", end=True)
            assert b"".join([frame.data async for frame in process]) == b"in"
            assert (await process.wait()).exit_code == 0
            found = AsyncSandbox.list(labels=["async=1"], client=client)
            assert [each.id async for each in found] == [sandbox.id]
            assert (await AsyncSandbox.connect(sandbox.id, client=client)).id == sandbox.id
        with pytest.raises(SandboxNotFoundError):
            await sandbox.status()

"""`flash-sandbox serve` as the process that it is: how it starts, stops, and is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import ordinary_user
import pytest
from other_user import NOBODY, acting_as
from served import Serving, serve

from flash_sandbox import AuthenticationError, SandboxNotFoundError
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database


def refusal(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flash_sandbox.cli", "serve", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come true in {seconds} s"
        threading.Event().wait(0.01)


def processes_with(text: str) -> list[int]:
    """Return the processes of this host whose command line holds `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in arguments:
                found.append(int(entry.name))
    return found


def cgroups_named(name: str) -> list[str]:
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(path) == name]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_and_its_sandboxes(
        self, state_dir: Path, limits: Limits, number: signal.Signals
    ) -> None:
        marker = f"{4720 + number}"
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            sandbox = client.start_sandbox(type="bubblewrap", command=["sleep", marker])
            assert processes_with(f"sleep\0{marker}")
            serving.process.send_signal(number)
            assert serving.process.wait(timeout=10) == 0
        assert not processes_with(f"sleep\0{marker}")
        assert not cgroups_named(sandbox)
        assert not [path for path in state_dir.rglob("*") if sandbox in path.name]

    def test_snapshots_are_kept(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            path = client.snapshot_sandbox(client.start_sandbox(type="bubblewrap")).snapshot_path
            serving.process.terminate()
            serving.process.wait(timeout=10)
        with serve(state_dir, limits=limits) as serving, serving.client("grpc") as other:
            assert other.start_sandbox(type="bubblewrap", snapshot_path=path)

    def test_a_call_in_flight_does_not_keep_it(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("grpc") as client:
            sandbox = client.start_sandbox(type="bubblewrap")
            errors: list[Exception] = []

            def run() -> None:
                try:
                    client.exec_command(sandbox, ["sleep", "4730"])
                except Exception as error:
                    errors.append(error)

            running = threading.Thread(target=run)
            running.start()
            wait_until(lambda: bool(processes_with("sleep\x004730")), 10)
            serving.process.terminate()
            assert serving.process.wait(timeout=10) == 0
            running.join()
            assert len(errors) == 1

    def test_it_writes_no_traceback(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("grpc") as client:
            client.start_sandbox(type="bubblewrap")
            serving.process.terminate()
            serving.process.wait(timeout=10)
            assert "Traceback" not in serving.log.read_text()


class TestKill:
    def test_no_process_of_a_sandbox_outlives_it(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            client.start_sandbox(type="bubblewrap", command=["sh", "-c", "sleep 4740 & sleep 4740"])
            wait_until(lambda: len(processes_with("sleep\x004740")) == 2, 10)
            serving.process.kill()
            wait_until(lambda: not processes_with("sleep\x004740"), 2)

    def test_not_even_those_of_a_frozen_one_or_of_a_command(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("grpc") as client:
            frozen = client.start_sandbox(type="bubblewrap", command=["sleep", "4741"])
            client.snapshot_sandbox(frozen)
            other = client.start_sandbox(type="bubblewrap")
            client.exec_command(other, ["sh", "-c", "setsid sleep 4741 > /dev/null 2>&1 &"])
            wait_until(lambda: len(processes_with("sleep\x004741")) == 2, 10)
            serving.process.kill()
            wait_until(lambda: not processes_with("sleep\x004741"), 2)

    def test_the_next_start_ends_what_outlived_both_it_and_its_launcher(
        self, state_dir: Path, limits: Limits
    ) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            # On cgroup v1 a frozen process is not even ended by SIGKILL.
            sandbox = client.start_sandbox(type="bubblewrap", command=["sleep", "4742"])
            client.snapshot_sandbox(sandbox)
            (launcher,) = processes_with(f'launcher.py\x00{{"program": "{state_dir}/')
            serving.process.send_signal(signal.SIGSTOP)
            os.kill(launcher, signal.SIGKILL)
            serving.process.kill()
            serving.process.wait(timeout=10)
        with serve(state_dir, limits=limits):
            wait_until(lambda: not processes_with("sleep\x004742"), 2)
            assert not cgroups_named(sandbox)

    def test_the_next_start_removes_what_was_left(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            sandbox = client.start_sandbox(type="bubblewrap")
            serving.process.kill()
            serving.process.wait(timeout=10)
        with serve(state_dir, limits=limits) as serving, serving.client("http") as client:
            with pytest.raises(SandboxNotFoundError):
                client.get_status(sandbox)
            assert not cgroups_named(sandbox)
            assert not [path for path in state_dir.rglob("*") if sandbox in path.name]


class TestSnapshotAge:
    def test_a_snapshot_is_removed_at_its_age(self, state_dir: Path, limits: Limits) -> None:
        hours = ("--max-snapshot-age", str(0.5 / 3600))
        with serve(state_dir, *hours, limits=limits) as serving, serving.client("grpc") as client:
            sandbox = client.start_sandbox(type="bubblewrap")
            path = client.snapshot_sandbox(sandbox).snapshot_path
            wait_until(
                lambda: f'event="snapshot expired" snapshot={path}' in serving.log.read_text(), seconds=15
            )
            assert client.list_snapshots() == []
            assert not list((state_dir / "snapshots").iterdir())

    def test_what_is_too_old_is_removed_at_the_start_and_the_rest_kept(
        self, state_dir: Path, limits: Limits
    ) -> None:
        layer = state_dir / "layer"
        layer.mkdir(parents=True)

        async def write() -> tuple[Path, Path]:
            database = Database(state_dir)
            store = Snapshots(state_dir / "snapshots", database)
            old, kept = [store.files.write(layer, "bubblewrap", "host") for _ in range(2)]
            await store.add(replace(old, created=time.time() - 3601))
            await store.add(kept)
            database.close()
            return old.path, kept.path

        old, kept = asyncio.run(write())
        hours = ("--max-snapshot-age", "1")
        with serve(state_dir, *hours, limits=limits) as serving, serving.client("http") as client:
            wait_until(lambda: not old.exists(), seconds=15)
            assert [info.snapshot_path for info in client.list_snapshots()] == [str(kept)]


class TestLog:
    @pytest.mark.parametrize("transport", ["http", "grpc"])
    def test_the_line_of_a_failed_call_has_the_request_id_of_its_error(
        self, state_dir: Path, limits: Limits, transport: str
    ) -> None:
        with (
            serve(state_dir, "--log-format", "json", limits=limits) as serving,
            serving.client(transport) as client,
        ):
            with pytest.raises(SandboxNotFoundError) as caught:
                client.get_status("unknown")
            wait_until(lambda: caught.value.request_id in serving.log.read_text(), 5)
            line = json.loads(serving.log.read_text().splitlines()[-1])
        assert (
            line["request_id"],
            line["transport"],
            line["operation"],
            line["sandbox"],
            line["reason"],
        ) == (
            caught.value.request_id,
            transport,
            "get_status",
            "unknown",
            "sandbox_not_found",
        )

    def test_neither_bodies_nor_keys_are_logged(self, state_dir: Path, limits: Limits) -> None:
        with (
            serve(state_dir, "--api-key", "key-5f2a", limits=limits) as serving,
            serving.client("http", "key-5f2a") as client,
        ):
            sandbox = client.start_sandbox(type="bubblewrap")
            client.exec_command(sandbox, ["echo", "body-77c1"])
            wait_until(lambda: "operation=exec_command" in serving.log.read_text(), 5)
            log = serving.log.read_text()
        assert "key-5f2a" not in log
        assert "body-77c1" not in log


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, limits: Limits) -> Iterator[Serving]:
    state = tmp_path_factory.mktemp("guarded") / "state"
    with serve(state, limits=limits, environment={"FLASH_SANDBOX_API_KEY": "right"}) as serving:
        yield serving


class TestKey:
    @pytest.mark.parametrize("transport", ["http", "grpc"])
    @pytest.mark.parametrize("key", [None, "wrong", "right2", "righ"])
    def test_a_wrong_or_absent_key_is_refused(
        self, guarded: Serving, transport: str, key: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("FLASH_SANDBOX_API_KEY", raising=False)
        with guarded.client(transport, key) as client, pytest.raises(AuthenticationError):
            client.start_sandbox(type="bubblewrap")

    @pytest.mark.parametrize("transport", ["http", "grpc"])
    def test_the_right_key_is_let_in(self, guarded: Serving, transport: str) -> None:
        with guarded.client(transport, "right") as client, pytest.raises(SandboxNotFoundError):
            client.get_status("unknown")


class TestOtherUsers:
    @pytest.mark.parametrize("transport", ["http", "grpc"])
    def test_of_one_that_an_ordinary_user_runs_that_user_and_root_may_call_and_no_other(
        self, of_nobody: Serving, transport: str
    ) -> None:
        for user in (0, NOBODY):
            with acting_as(user), of_nobody.client(transport) as client:
                assert client.list_sandboxes().sandboxes == ()
        with (
            acting_as(NOBODY - 1),
            of_nobody.client(transport) as client,
            pytest.raises(AuthenticationError, match="answers only its own user and root"),
        ):
            client.list_sandboxes()

    @pytest.mark.parametrize("transport", ["http", "grpc"])
    def test_no_key_lets_them_in_and_is_told_at_the_start(
        self, state_dir: Path, limits: Limits, transport: str
    ) -> None:
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        with serve(state_dir, "--no-key", limits=limits) as serving:
            assert "every user of this machine may call: no key is asked for" in serving.log.read_text()
            with acting_as(user), serving.client(transport) as client:
                assert client.list_sandboxes().sandboxes == ()

    def test_nothing_is_told_where_only_its_own_user_may_call(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits) as serving:
            assert "may call" not in serving.log.read_text()

    def test_no_key_and_a_key_contradict_each_other(self, state_dir: Path) -> None:
        code, said = refusal("--no-key", "--state-dir", str(state_dir), FLASH_SANDBOX_API_KEY="right")
        assert (code, "--no-key contradicts" in said, "Traceback" in said) == (1, True, False)


@pytest.fixture(scope="module")
def of_nobody(need: Callable[[str, str | None], None]) -> Iterator[Serving]:
    """Run one as an ordinary user."""
    found = ordinary_user.command()
    if isinstance(found, str):
        need("ordinary-user", found)
        return
    command, environment = found
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, NOBODY, NOBODY)
        state = Path(home, "state")
        with serve(state, limits="best-effort", environment=environment, command=command) as serving:
            yield serving


class TestHosts:
    def test_a_browser_may_call_it_by_the_name_that_is_given(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, "--allow-host", "proxy.example.com", limits=limits) as serving:
            for host, status in (("proxy.example.com", 200), ("localhost", 200), ("evil.example", 403)):
                response = httpx.get(f"{serving.http}/sandboxes", headers={"host": host})
                assert response.status_code == status


class TestRefusal:
    @pytest.mark.parametrize("hours", ["0", "-1", "nan"])
    def test_an_age_that_keeps_no_snapshot(self, state_dir: Path, limits: Limits, hours: str) -> None:
        options = ("--max-snapshot-age", hours, "--http-port", "0", "--grpc-port", "0", "--limits", limits)
        code, said = refusal(*options, "--state-dir", str(state_dir))
        assert (code, "more than 0 hours" in said, "Traceback" in said) == (1, True, False)

    def test_listening_beyond_loopback_needs_a_key(self, state_dir: Path) -> None:
        code, said = refusal("--host", "0.0.0.0", "--state-dir", str(state_dir), FLASH_SANDBOX_API_KEY="")
        assert (code, "set an API key" in said) == (1, True)

    def test_a_port_that_is_taken(self, state_dir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, said = refusal("--http-port", port, "--grpc-port", "0", "--state-dir", str(state_dir))
        assert (code, "in use" in said, "Traceback" in said) == (1, True, False)

    def test_a_state_directory_that_another_orchestrator_uses(self, state_dir: Path, limits: Limits) -> None:
        with serve(state_dir, limits=limits):
            ports = ("--http-port", "0", "--grpc-port", "0")
            code, said = refusal(*ports, "--limits", limits, "--state-dir", str(state_dir))
        assert (code, "another orchestrator uses" in said) == (1, True)

    def test_a_state_directory_that_cannot_be_made(self) -> None:
        code, said = refusal("--http-port", "0", "--grpc-port", "0", "--state-dir", "/proc/nowhere")
        assert (code, "name another with --state-dir" in said) == (1, True)

    def test_a_host_without_cgroups_unless_best_effort_will_do(
        self, need: Callable[[str, str | None], None]
    ) -> None:
        found = ordinary_user.command()
        if isinstance(found, str):
            need("ordinary-user", found)
            return
        command, environment = found
        with tempfile.TemporaryDirectory() as home:
            os.chown(home, ordinary_user.NOBODY, ordinary_user.NOBODY)
            done = subprocess.run(
                [*command, "-m", "flash_sandbox.cli", "serve", "--http-port", "0", "--grpc-port", "0"],
                env=environment | {"XDG_STATE_HOME": home},
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        assert (done.returncode, "--limits best-effort" in done.stderr) == (1, True)

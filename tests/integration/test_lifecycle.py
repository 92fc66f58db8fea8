"""The life of a sandbox over the live server: the same over either transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from flash_sandbox import HTTPClient, SandboxClient
from flash_sandbox.errors import (
    ConflictError,
    InvalidArgumentError,
    RuntimeUnavailableError,
    SandboxEndedError,
    SandboxError,
    SandboxNotFoundError,
    UnsupportedError,
)
from flash_sandbox.orchestrator import Orchestrator

Client = HTTPClient | SandboxClient


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, orchestrator: Orchestrator) -> Iterator[Client]:
    with connect(request.param, orchestrator) as connected:
        yield connected


@pytest.fixture
def sandbox(client: Client) -> Iterator[str]:
    sandbox_id = client.start_sandbox(type="bubblewrap")
    yield sandbox_id
    with suppress(SandboxNotFoundError):
        client.stop_sandbox(sandbox_id)


def connect(transport: str, orchestrator: Orchestrator) -> Client:
    if transport == "http":
        return HTTPClient(address=orchestrator.http_address)
    return SandboxClient(address=orchestrator.grpc_address)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.01)


def shows(client: Client, sandbox: str, text: str) -> bool:
    """Tell whether the command line of a process in the sandbox holds `text`."""
    listing = client.exec_command(sandbox, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
    return text in listing.stdout


class TestRunning:
    def test_a_started_sandbox_is_running(self, client: Client, sandbox: str) -> None:
        assert client.get_status(sandbox) == "running"

    def test_exec_answers_output_and_exit_code(self, client: Client, sandbox: str) -> None:
        result = client.exec_command(sandbox, ["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 7)

    def test_commands_run_at_the_same_time(self, client: Client, sandbox: str) -> None:
        wait = ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.01; done"]
        outcome: list[int] = []
        waiting = threading.Thread(
            target=lambda: outcome.append(client.exec_command(sandbox, wait).exit_code)
        )
        waiting.start()
        client.exec_command(sandbox, ["touch", "/tmp/go"])
        waiting.join()
        assert outcome == [0]

    def test_auto_starts_a_sandbox(self, client: Client) -> None:
        sandbox_id = client.start_sandbox(type="auto")
        assert client.get_status(sandbox_id) == "running"
        client.stop_sandbox(sandbox_id)

    def test_metrics_count_the_main_process(self, client: Client, sandbox: str) -> None:
        assert client.get_metrics(sandbox).pids_current >= 1

    def test_resuming_is_a_conflict(self, client: Client, sandbox: str) -> None:
        with pytest.raises(ConflictError, match="running"):
            client.resume_sandbox(sandbox)
        assert client.get_status(sandbox) == "running"


class TestPaused:
    @pytest.fixture
    def paused(self, client: Client, sandbox: str) -> str:
        client.snapshot_sandbox(sandbox)
        return sandbox

    def test_a_snapshot_leaves_the_sandbox_paused(self, client: Client, paused: str) -> None:
        assert client.get_status(paused) == "paused"

    def test_exec_is_a_conflict_that_names_the_state(self, client: Client, paused: str) -> None:
        with pytest.raises(ConflictError, match="paused"):
            client.exec_command(paused, ["true"])
        assert client.get_status(paused) == "paused"

    def test_metrics_can_be_read(self, client: Client, paused: str) -> None:
        assert client.get_metrics(paused).pids_current >= 1

    def test_another_snapshot_leaves_it_paused(self, client: Client, paused: str) -> None:
        assert client.snapshot_sandbox(paused).snapshot_path
        assert client.get_status(paused) == "paused"

    def test_resume_makes_it_run(self, client: Client, paused: str) -> None:
        client.resume_sandbox(paused)
        assert client.exec_command(paused, ["true"]).exit_code == 0

    def test_it_can_be_stopped(self, client: Client, paused: str) -> None:
        client.stop_sandbox(paused)
        with pytest.raises(SandboxNotFoundError):
            client.get_status(paused)

    def test_a_new_sandbox_starts_from_the_snapshot(self, client: Client, sandbox: str) -> None:
        client.exec_command(sandbox, ["sh", "-c", "echo kept > /root/note || echo kept > /var/tmp/note"])
        path = client.snapshot_sandbox(sandbox).snapshot_path
        copy = client.start_sandbox(type="bubblewrap", snapshot_path=path)
        result = client.exec_command(copy, ["sh", "-c", "cat /root/note /var/tmp/note 2>/dev/null"])
        client.stop_sandbox(copy)
        assert result.stdout == "kept\n"


class TestMainProcessEnded:
    @pytest.fixture
    def ended(self, client: Client) -> Iterator[str]:
        sandbox_id = client.start_sandbox(type="bubblewrap", command=["sh", "-c", "exit 3"])
        wait_until(lambda: client.get_status(sandbox_id) == "stopped")
        yield sandbox_id
        client.stop_sandbox(sandbox_id)

    def test_exec_is_a_conflict_that_names_the_state(self, client: Client, ended: str) -> None:
        with pytest.raises(ConflictError, match="stopped"):
            client.exec_command(ended, ["true"])

    def test_metrics_are_a_conflict_that_names_the_state(self, client: Client, ended: str) -> None:
        with pytest.raises(ConflictError, match="stopped"):
            client.get_metrics(ended)

    def test_a_snapshot_is_a_conflict_that_names_the_state(self, client: Client, ended: str) -> None:
        with pytest.raises(ConflictError, match="stopped"):
            client.snapshot_sandbox(ended)


class TestStopped:
    @pytest.mark.parametrize(
        "operation",
        [
            lambda client, sandbox: client.get_status(sandbox),
            lambda client, sandbox: client.exec_command(sandbox, ["true"]),
            lambda client, sandbox: client.get_metrics(sandbox),
            lambda client, sandbox: client.snapshot_sandbox(sandbox),
            lambda client, sandbox: client.resume_sandbox(sandbox),
            lambda client, sandbox: client.stop_sandbox(sandbox),
        ],
        ids=["status", "exec", "metrics", "snapshot", "resume", "stop"],
    )
    def test_the_id_is_unknown(
        self, client: Client, sandbox: str, operation: Callable[[Client, str], object]
    ) -> None:
        client.stop_sandbox(sandbox)
        with pytest.raises(SandboxNotFoundError, match=sandbox):
            operation(client, sandbox)

    def test_stop_ends_a_command_that_runs(self, client: Client, sandbox: str) -> None:
        errors: list[SandboxError] = []

        def run() -> None:
            try:
                client.exec_command(sandbox, ["sleep", "4711"])
            except SandboxError as error:
                errors.append(error)

        running = threading.Thread(target=run)
        running.start()
        wait_until(lambda: shows(client, sandbox, "sleep 4711"))
        client.stop_sandbox(sandbox)
        running.join()
        assert [type(error) for error in errors] == [SandboxEndedError]


class TestRefused:
    @pytest.mark.parametrize("option", ["kernel_image", "initrd_path", "mem_file_path"])
    def test_an_option_that_the_runtime_has_no_use_for(self, client: Client, option: str) -> None:
        with pytest.raises(UnsupportedError, match=option):
            client.start_sandbox(type="bubblewrap", **{option: "/somewhere"})  # type: ignore[arg-type]

    def test_an_unknown_runtime_with_a_list_of_the_known_ones(self, client: Client) -> None:
        with pytest.raises(InvalidArgumentError, match="bubblewrap, docker, firecracker, gvisor") as caught:
            client.start_sandbox(type="jail")
        assert caught.value.reason == "unknown_runtime"

    def test_a_runtime_that_cannot_be_driven_with_what_to_do(self, client: Client) -> None:
        with pytest.raises(RuntimeUnavailableError, match=r"unix:///nowhere/docker\.sock; install docker"):
            client.start_sandbox(type="docker")

    @pytest.mark.parametrize("name", ["docker", "firecracker", "jail"])
    def test_with_the_same_error_on_both_transports(self, orchestrator: Orchestrator, name: str) -> None:
        errors = []
        for transport in ("http", "grpc"):
            with connect(transport, orchestrator) as client, pytest.raises(SandboxError) as caught:
                client.start_sandbox(type=name)
            error = caught.value
            errors.append((type(error), error.reason, error.detail, error.status_code, error.grpc_status))
        assert errors[0] == errors[1]


class TestTimeOut:
    def test_the_command_ends_with_its_time(self, client: Client, sandbox: str) -> None:
        assert client.exec_command(sandbox, ["sleep", "4712"], timeout=0.3).timed_out
        wait_until(lambda: not shows(client, sandbox, "sleep 4712"))

    def test_the_sandbox_goes_on(self, client: Client, sandbox: str) -> None:
        assert client.exec_command(sandbox, ["sleep", "60"], timeout=0.3).timed_out
        assert client.get_status(sandbox) == "running"

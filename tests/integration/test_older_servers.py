"""All four clients drive an orchestrator of 0.1.0: what they send it, and what they make of its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import older_orchestrator
import pytest
from older_orchestrator import METRICS, Asked, OlderOrchestrator

from flash_sandbox import InternalServerError, SandboxAPI, SandboxHTTPError, SandboxNotFoundError

Connect = Callable[..., SandboxAPI]


@pytest.fixture
def older() -> Iterator[OlderOrchestrator]:
    with older_orchestrator.running() as running:
        yield running


@pytest.fixture
def client(connect: Connect, kind: str, older: OlderOrchestrator) -> Iterator[SandboxAPI]:
    client = connect(older.http_address if "HTTP" in kind else older.grpc_address)
    yield client
    # The server ends with its last connection.
    client.close()


def test_sandbox_lives(client: SandboxAPI) -> None:
    sandbox_id = client.start_sandbox(type="docker", image="alpine:latest", command=["sleep", "1"])
    assert sandbox_id == "sandbox-1"
    assert client.get_status(sandbox_id) == "running"
    client.snapshot_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "paused"
    client.resume_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "running"
    client.stop_sandbox(sandbox_id)
    with pytest.raises(SandboxNotFoundError):
        client.get_status(sandbox_id)


def test_result_of_a_command_is_read_without_the_fields_that_came_later(client: SandboxAPI) -> None:
    result = client.exec_command(client.start_sandbox(), ["a", "b"])
    assert (result.stdout, result.stderr, result.exit_code) == ("a b", "\u20ac", -1)
    assert (result.stdout_dropped, result.stderr_dropped) == (0, 0)


def test_metrics_are_read_over_their_whole_range(client: SandboxAPI) -> None:
    metrics = client.get_metrics(client.start_sandbox())
    assert {name: getattr(metrics, name) for name in METRICS} == METRICS


def test_snapshot_is_read(client: SandboxAPI) -> None:
    snapshot = client.snapshot_sandbox(client.start_sandbox())
    assert (snapshot.snapshot_path, snapshot["mem_file_path"]) == ("/snapshots/1", "/snapshots/1.mem")


def test_plain_error_is_the_error_of_its_status(client: SandboxAPI) -> None:
    with pytest.raises(SandboxNotFoundError) as caught:
        client.exec_command("gone", ["true"])
    error = caught.value
    assert (error.detail, error.reason, error.status_code) == (
        "sandbox gone not found",
        "sandbox_not_found",
        404,
    )
    assert (error.grpc_status, error.operation, error.request_id) == ("NOT_FOUND", "exec_command", "")


def test_plain_failure_of_the_server_is_an_error_of_the_server(
    client: SandboxAPI, older: OlderOrchestrator
) -> None:
    with pytest.raises(InternalServerError) as caught:
        client.start_sandbox(image="broken")
    assert caught.value.detail == "failed to create sandbox: no such image"
    assert isinstance(caught.value, SandboxHTTPError)
    assert len(older.calls) == 1


def test_start_sends_nothing_that_was_not_given(client: SandboxAPI, older: OlderOrchestrator) -> None:
    client.start_sandbox("docker", "alpine", ["sleep", "1"], 128, 0.5)
    assert older.calls == [
        Asked(
            "StartSandbox",
            {
                "type": "docker",
                "image": "alpine",
                "command": ["sleep", "1"],
                "memory_mb": 128,
                "cpu_cores": 0.5,
            },
        )
    ]


def test_start_sends_the_defaults_of_the_release(client: SandboxAPI, older: OlderOrchestrator) -> None:
    client.start_sandbox("docker", "alpine")
    fields = older.calls[0].fields
    assert (fields["memory_mb"], fields["cpu_cores"]) == (512, 1.0)
    assert not fields.get("command")


def test_exec_sends_the_command_and_nothing_else_but_its_time(
    client: SandboxAPI, older: OlderOrchestrator
) -> None:
    sandbox_id = client.start_sandbox()
    client.exec_command(sandbox_id, ["sh", "-c", ""], timeout=None)
    client.exec_command(sandbox_id, ["sh", "-c", ""], timeout=7)
    asked = {"id": sandbox_id, "command": ["sh", "-c", ""]}
    plain, timed = older.calls[1:]
    assert plain == Asked("ExecCommand", asked)
    # Over gRPC, where 0.1.0 has no name for it, as one unknown field.
    assert timed in (
        Asked("ExecCommand", {**asked, "timeout_ms": 7000}),
        Asked("ExecCommand", asked, unknown=1),
    )


@pytest.mark.parametrize(
    ("method", "rpc"),
    [
        ("get_status", "GetStatus"),
        ("get_metrics", "GetMetrics"),
        ("snapshot_sandbox", "SnapshotSandbox"),
        ("resume_sandbox", "ResumeSandbox"),
        ("stop_sandbox", "StopSandbox"),
    ],
)
def test_other_calls_send_the_id_and_nothing_else(
    client: SandboxAPI, older: OlderOrchestrator, method: str, rpc: str
) -> None:
    sandbox_id = client.start_sandbox()
    getattr(client, method)(sandbox_id)
    assert older.calls[1:] == [Asked(rpc, {"id": sandbox_id})]


def test_field_that_came_later_is_sent_where_it_is_given(
    client: SandboxAPI, older: OlderOrchestrator
) -> None:
    client.start_sandbox("firecracker", "alpine", kernel_image="/boot/vmlinux")
    asked = older.calls[0]
    assert asked.fields.get("kernel_image") == "/boot/vmlinux" or asked.unknown == 1

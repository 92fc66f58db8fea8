"""What every client does, on a live orchestrator: one body for all four, which never asks which it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from flash_sandbox import (
    AlreadyExistsError,
    ClientClosedError,
    ConflictError,
    InvalidArgumentError,
    Sandbox,
    SandboxAPI,
    SandboxConnectionError,
    SandboxNotFoundError,
    SandboxTimeoutError,
)

Connect = Callable[..., SandboxAPI]

OF_ONE_SANDBOX = (
    "stop_sandbox",
    "get_status",
    "get_metrics",
    "get_metrics_history",
    "snapshot_sandbox",
    "fork_sandbox",
    "pause_sandbox",
    "resume_sandbox",
)


def test_start_returns_an_id_that_is_running(client: SandboxAPI, sandbox_id: str) -> None:
    assert isinstance(sandbox_id, str)
    assert client.get_status(sandbox_id) == "running"


def test_exec_tells_output_and_exit_code_apart(client: SandboxAPI, sandbox_id: str) -> None:
    result = client.exec_command(sandbox_id, ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)


def test_arguments_reach_the_command_unchanged(client: SandboxAPI, sandbox_id: str) -> None:
    text = "\u20ac \\ \" ' \n $HOME \U0001f600 "
    result = client.exec_command(sandbox_id, ["printf", "%s|", text, "", "b"])
    assert result.stdout == f"{text}||b|"


def test_large_output_comes_back_whole(client: SandboxAPI, sandbox_id: str) -> None:
    result = client.exec_command(sandbox_id, ["/bin/sh", "-c", "yes x | head -c 500000"])
    assert len(result.stdout) == 500_000


def test_metrics_are_measured(client: SandboxAPI, sandbox_id: str) -> None:
    metrics = client.get_metrics(sandbox_id)
    assert metrics.pids_current >= 1


def test_history_is_told_from_any_moment_on(client: SandboxAPI, sandbox_id: str) -> None:
    began = time.time()
    (*_, last) = client.get_metrics_history(sandbox_id)
    assert began - 10 < last.at <= time.time()
    assert last.pids_current >= 1
    assert [point.at for point in client.get_metrics_history(sandbox_id, max_points=1)] >= [last.at]
    assert last not in client.get_metrics_history(sandbox_id, since=last.at)
    assert last in client.get_metrics_history(sandbox_id, since=last.at - 0.001)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", -1),
        ("since", math.nan),
        ("since", 1e300),
        ("since", "1"),
        ("max_points", -1),
        ("max_points", 721),
    ],
)
def test_history_that_cannot_be_is_refused_before_any_transport(
    client: SandboxAPI, name: str, value: Any
) -> None:
    with pytest.raises(InvalidArgumentError, match=name) as caught:
        client.get_metrics_history("some", **{name: value})
    assert caught.value.transport is None


def test_snapshot_pauses_and_resume_runs_on(client: SandboxAPI, sandbox_id: str) -> None:
    snapshot = client.snapshot_sandbox(sandbox_id)
    assert snapshot["snapshot_path"] == snapshot.snapshot_path != ""
    assert client.get_status(sandbox_id) == "paused"
    client.resume_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "running"


def test_pause_freezes_and_resume_runs_on(client: SandboxAPI, sandbox_id: str) -> None:
    client.pause_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "paused"
    with pytest.raises(ConflictError) as caught:
        client.pause_sandbox(sandbox_id)
    assert (caught.value.reason, caught.value.status_code) == ("wrong_state", 409)
    assert "is paused" in caught.value.detail
    client.resume_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "running"


def test_sandbox_starts_from_a_snapshot(client: SandboxAPI, sandbox_id: str) -> None:
    client.exec_command(sandbox_id, ["/bin/sh", "-c", "echo kept > /tmp/file"])
    snapshot = client.snapshot_sandbox(sandbox_id)
    with Sandbox.create(client=client, snapshot=snapshot.snapshot_path, memory_mb=64) as copy:
        assert copy.exec_command(["cat", "/tmp/file"]).stdout == "kept\n"


def test_forks_have_what_it_has_and_go_their_own_ways(client: SandboxAPI) -> None:
    known = set(client.list_snapshots())
    with Sandbox.create(client=client, memory_mb=64, labels={"a": "b"}, env={"V": "1"}) as sandbox:
        sandbox.run("echo kept > /tmp/file")
        copies = sandbox.fork(2)
        assert len({sandbox.id, *(copy.id for copy in copies)}) == 3
        assert [each.status() for each in (sandbox, *copies)] == ["running"] * 3
        copies[0].run("echo more >> /tmp/file")
        seen = [each.run("cat /tmp/file; echo $V").stdout for each in (sandbox, *copies)]
        assert seen == ["kept\n1\n", "kept\nmore\n1\n", "kept\n1\n"]
        for copy in copies:
            info = copy.info()
            assert (info.memory_mb, dict(label.split("=") for label in info.labels)) == (64, {"a": "b"})
            copy.stop()
        sandbox.pause()
        (copy,) = sandbox.fork()
        assert (sandbox.status(), copy.status()) == ("paused", "running")
        copy.stop()
    assert set(client.list_snapshots()) == known


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_number_of_forks_that_cannot_be_is_refused(client: SandboxAPI, sandbox_id: str, count: int) -> None:
    with pytest.raises(InvalidArgumentError, match="count"):
        client.fork_sandbox(sandbox_id, count)


def test_snapshots_are_listed_the_oldest_first(client: SandboxAPI, sandbox_id: str) -> None:
    began = time.time()
    paths = [client.snapshot_sandbox(sandbox_id).snapshot_path for _ in range(2)]
    found = [info for info in client.list_snapshots() if info.snapshot_path in paths]
    assert [info.snapshot_path for info in found] == paths
    assert [(info.type, info.image) for info in found] == [("bubblewrap", "host")] * 2
    assert began - 1 < found[0].created_at < found[1].created_at < time.time() + 1
    assert all(info.size_bytes > 0 for info in found)


def test_a_snapshot_is_found_by_its_id_its_name_and_its_path(client: SandboxAPI, sandbox_id: str) -> None:
    client.exec_command(sandbox_id, ["/bin/sh", "-c", "echo kept > /tmp/file"])
    made = client.snapshot_sandbox(sandbox_id, name="base", labels={"of": "all", "for": "this=that"})
    assert (made.id[:5], made.name, made.labels) == ("snap-", "base", ("of=all", "for=this=that"))
    (info,) = [each for each in client.list_snapshots() if each.id == made.id]
    assert (info.snapshot_path, info.name, info.labels) == (made.snapshot_path, "base", made.labels)
    assert info.size_bytes == made.size_bytes > 0
    for reference in (made.id, made.name, made.snapshot_path):
        with Sandbox.create(client=client, snapshot=reference, memory_mb=64) as copy:
            assert copy.exec_command(["cat", "/tmp/file"]).stdout == "kept\n"
    client.remove_snapshot("base")
    with pytest.raises(InvalidArgumentError, match="'base' is not a snapshot"):
        client.remove_snapshot("base")


def test_a_name_is_of_one_snapshot(client: SandboxAPI, sandbox_id: str) -> None:
    made = client.snapshot_sandbox(sandbox_id, name="base")
    client.resume_sandbox(sandbox_id)
    for taken in ("base", made.id):
        with pytest.raises(AlreadyExistsError, match=f"snapshot {made.id} is named '{taken}'") as caught:
            client.snapshot_sandbox(sandbox_id, name=taken)
        assert (caught.value.reason, caught.value.status_code) == ("already_exists", 409)
    assert client.get_status(sandbox_id) == "running"
    client.remove_snapshot(made.id)
    again = client.snapshot_sandbox(sandbox_id, name="base")
    assert again.id != made.id
    client.remove_snapshot("base")


@pytest.mark.parametrize("name", ["a/b", "/a", ".a", "-a", "a b", "x" * 129])
def test_a_name_that_cannot_be_is_refused_before_any_transport(client: SandboxAPI, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="name") as caught:
        client.snapshot_sandbox("some", name=name)
    assert caught.value.transport is None


def test_snapshots_are_listed_by_their_labels(client: SandboxAPI, sandbox_id: str) -> None:
    one = client.snapshot_sandbox(sandbox_id, labels={"of": "one", "by": "this"})
    two = client.snapshot_sandbox(sandbox_id, labels=["by=this"])
    found = [
        [info.id for info in client.list_snapshots(labels=labels)]
        for labels in ({"by": "this"}, {"of": "one"}, ["by=this", "of=one"], {"by": "that"})
    ]
    assert found == [[one.id, two.id], [one.id], [one.id], []]
    for made in (one, two):
        client.remove_snapshot(made.id)


def test_removed_snapshot_is_gone_and_what_was_started_from_it_goes_on(
    client: SandboxAPI, sandbox_id: str
) -> None:
    client.exec_command(sandbox_id, ["/bin/sh", "-c", "echo kept > /tmp/file"])
    path = client.snapshot_sandbox(sandbox_id).snapshot_path
    with Sandbox.create(client=client, snapshot=path, memory_mb=64) as copy:
        client.remove_snapshot(path)
        assert copy.exec_command(["cat", "/tmp/file"]).stdout == "kept\n"
    assert path not in [info.snapshot_path for info in client.list_snapshots()]
    for call in (client.remove_snapshot, lambda path: client.start_sandbox(snapshot_path=path)):
        with pytest.raises(InvalidArgumentError) as caught:
            call(path)
        assert (caught.value.reason, caught.value.status_code) == ("snapshot_refused", 400)


@pytest.mark.parametrize("path", ["/etc/passwd", "key", "..", "/a\u20ac ?&=#%", "x" * 4095])
def test_only_a_snapshot_can_be_removed(client: SandboxAPI, path: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.remove_snapshot(path)
    assert caught.value.reason == "snapshot_refused"
    assert caught.value.detail.startswith(repr(path)[:3000])


@pytest.mark.parametrize("path", ["", "a\0", "\ud800", "x" * 4096, None, b"/x"])
def test_malformed_path_is_refused_before_any_transport(client: SandboxAPI, path: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.remove_snapshot(path)
    assert caught.value.transport is None


def test_stopped_sandbox_is_unknown(client: SandboxAPI, sandbox_id: str) -> None:
    client.stop_sandbox(sandbox_id)
    with pytest.raises(SandboxNotFoundError):
        client.get_status(sandbox_id)


@pytest.mark.parametrize("method", OF_ONE_SANDBOX)
def test_unknown_sandbox_is_not_found(client: SandboxAPI, method: str) -> None:
    with pytest.raises(SandboxNotFoundError) as caught:
        getattr(client, method)("unknown")
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == ("sandbox_not_found", 404, "NOT_FOUND")
    assert (error.operation, error.retryable) == (method, False)
    assert "unknown" in error.detail
    assert error.request_id


@pytest.mark.parametrize("method", OF_ONE_SANDBOX)
@pytest.mark.parametrize("sandbox_id", ["", ".", "..", "a/b", "a\0", "\ud800", None])
def test_malformed_id_is_refused_before_any_transport(
    client: SandboxAPI, method: str, sandbox_id: Any
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        getattr(client, method)(sandbox_id)
    assert caught.value.transport is None


def test_operation_in_the_wrong_state_is_a_conflict(client: SandboxAPI, sandbox_id: str) -> None:
    with pytest.raises(ConflictError) as caught:
        client.resume_sandbox(sandbox_id)
    assert (caught.value.reason, caught.value.status_code) == ("wrong_state", 409)
    assert "running" in caught.value.detail


def test_unknown_runtime_lists_the_known_ones(client: SandboxAPI) -> None:
    with pytest.raises(InvalidArgumentError, match="bubblewrap") as caught:
        client.start_sandbox(type="abacus")
    assert caught.value.reason == "unknown_runtime"


@pytest.mark.parametrize(
    "fields", [{"memory_mb": 2**63}, {"cpu_cores": math.nan}, {"command": "ls"}, {"image": "\ud800"}]
)
def test_value_out_of_range_is_refused_before_any_transport(
    client: SandboxAPI, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.start_sandbox(**fields)
    assert caught.value.transport is None


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, True, "1"])
def test_timeout_that_is_none_is_refused(client: SandboxAPI, timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="timeout"):
        client.get_status("a", timeout=timeout)


def test_timeout_of_a_call_ends_it(client: SandboxAPI, sandbox_id: str) -> None:
    process_id = client.start_process(sandbox_id, ["sleep", "30"])
    began = time.monotonic()
    with pytest.raises(SandboxTimeoutError) as caught:
        client.wait_process(sandbox_id, process_id, timeout=0.2)
    assert 0.15 < time.monotonic() - began < 5
    assert caught.value.reason == "deadline_exceeded"
    # The client's own clock has no status; the orchestrator's answer may come first.
    assert (caught.value.status_code, caught.value.grpc_status) in (
        (None, None),
        (504, "DEADLINE_EXCEEDED"),
    )


def test_timeout_of_options_is_that_of_the_calls(client: SandboxAPI, sandbox_id: str) -> None:
    process_id = client.start_process(sandbox_id, ["sleep", "30"])
    hasty = client.with_options(timeout=0.2)
    with pytest.raises(SandboxTimeoutError):
        hasty.wait_process(sandbox_id, process_id)
    assert client.get_status(sandbox_id) == hasty.get_status(sandbox_id, timeout=None) == "running"


def test_closed_client_refuses_every_call(client: SandboxAPI, sandbox_id: str) -> None:
    client.get_status(sandbox_id)
    client.close()
    client.close()
    with pytest.raises(ClientClosedError):
        client.get_status(sandbox_id)


def test_closing_closes_clients_with_other_options_too(client: SandboxAPI) -> None:
    other = client.with_options(timeout=1)
    client.close()
    with pytest.raises(ClientClosedError):
        other.get_status("a")


def test_server_that_is_not_there_is_a_connection_error(connect: Connect) -> None:
    client = connect("127.0.0.1:1", max_retries=1)
    with pytest.raises(SandboxConnectionError) as caught:
        client.exec_command("a", ["true"])
    assert (caught.value.reason, caught.value.status_code) == ("connection_failed", None)
    assert caught.value.retryable
    assert caught.value.__cause__ is not None


def test_host_that_has_no_address_is_a_connection_error(connect: Connect) -> None:
    with pytest.raises(SandboxConnectionError):
        connect("host.invalid:80", max_retries=0).get_status("a")


def test_sandbox_object_stops_at_the_end_of_its_block(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        assert sandbox.get_status() == "running"
    with pytest.raises(SandboxNotFoundError):
        client.get_status(sandbox.id)


def test_sandbox_object_may_be_stopped_inside_its_block(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        sandbox.stop_sandbox()


def test_sandbox_object_connects_to_what_is_there(client: SandboxAPI, sandbox_id: str) -> None:
    assert Sandbox.connect(sandbox_id, client=client).exec_command(["true"]).exit_code == 0


def test_sandbox_object_does_not_connect_to_what_is_not_there(client: SandboxAPI) -> None:
    with pytest.raises(SandboxNotFoundError):
        Sandbox.connect("unknown", client=client)


def test_repr_shows_no_key(connect: Connect, address: str) -> None:
    client = connect(address, api_key="secret-key")
    assert address.removeprefix("http://") in repr(client)
    assert "secret-key" not in repr(client)

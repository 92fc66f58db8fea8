"""What is told of sandboxes that have ended, through every client."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from flash_sandbox import SandboxAPI, SandboxNotFoundError
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Connect = Callable[..., SandboxAPI]

PRINTING = "echo printed; exec tail -f /dev/null"


def wait_for(client: SandboxAPI, sandbox_id: str, status: str) -> None:
    give_up = time.monotonic() + 20
    while client.get_info(sandbox_id).status != status:
        assert time.monotonic() < give_up, f"it is never {status}"
        time.sleep(0.01)


def test_one_that_was_stopped(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, command=["sh", "-c", PRINTING], labels={"a": "b"})
    while not client.get_logs(one).output:
        time.sleep(0.01)
    before = client.get_info(one)
    assert (before.ended_at, before.end_cause) == (0, "")
    at_least = time.time()
    client.stop_sandbox(one)
    after = client.get_info(one)
    assert (after.status, after.end_cause, after.labels) == ("ended", "stopped", ("a=b",))
    assert at_least <= after.ended_at <= time.time()
    assert client.get_logs(one).output == b"printed\n"


def test_one_whose_main_process_has_ended(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, command=["sh", "-c", "echo last words; exit 5"])
    wait_for(client, one, "stopped")
    stopped = client.get_info(one)
    assert (stopped.exit_code, stopped.end_cause) == (5, "exited")
    client.stop_sandbox(one)
    ended = client.get_info(one)
    assert (ended.exit_code, ended.end_cause, ended.ended_at) == (5, "exited", stopped.ended_at)
    assert client.get_logs(one).output == b"last words\n"


def test_one_that_has_expired(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=0.2)
    wait_for(client, one, "ended")
    assert client.get_info(one).end_cause == "expired"


def test_one_that_had_too_little_memory(client: SandboxAPI, limits: Limits) -> None:
    if limits != "enforce":
        pytest.skip("without a cgroup the kernel refuses memory, and ends nothing for it")
    one = client.start_sandbox(memory_mb=64, command=["tail", "/dev/zero"])
    wait_for(client, one, "stopped")
    client.stop_sandbox(one)
    assert client.get_info(one).end_cause == "out_of_memory"


def test_its_id_is_unknown_to_everything_else(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64)
    client.stop_sandbox(one)
    for call in (client.get_status, client.stop_sandbox, client.get_metrics, client.list_processes):
        with pytest.raises(SandboxNotFoundError):
            call(one)


def test_they_are_listed_only_where_they_are_asked_for(client: SandboxAPI) -> None:
    labels = {"test": secrets.token_hex(4)}
    stays = client.start_sandbox(memory_mb=64, labels=labels)
    ended = [client.start_sandbox(memory_mb=64, labels=labels) for _ in range(5)]
    for one in ended:
        client.stop_sandbox(one)
    assert [info.id for info in client.sandboxes(labels=labels)] == [stays]
    first = client.list_sandboxes(status="ended", labels=labels, page_size=2)
    second = client.list_sandboxes(
        status="ended", labels=labels, page_size=10, page_token=first.next_page_token
    )
    found = [*first.sandboxes, *second.sandboxes]
    assert [info.id for info in found] == ended
    assert (len(first.sandboxes), second.next_page_token) == (2, "")
    client.stop_sandbox(stays)


def test_a_start_that_failed_is_none(client: SandboxAPI) -> None:
    labels = {"test": secrets.token_hex(4)}
    with pytest.raises(Exception, match="/no"):
        client.start_sandbox(memory_mb=64, command=["/no"], labels=labels)
    assert list(islice(client.sandboxes(status="ended", labels=labels), 1)) == []


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_it_is_told_of_for_as_long_as_the_operator_says(
    connect: Connect, kind: str, limits: Limits, kept: float
) -> None:
    with running_orchestrator(limits=limits, keep_ended=kept) as orchestrator:
        client = connect(orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address)
        one = client.start_sandbox(memory_mb=64)
        client.stop_sandbox(one)
        if kept:
            assert client.get_info(one).status == "ended"
            time.sleep(kept)
        for call in (client.get_info, client.get_logs):
            with pytest.raises(SandboxNotFoundError):
                call(one)


def test_one_whose_end_is_not_on_the_disk_yet(
    connect: Connect, kind: str, limits: Limits, tmp_path: Path
) -> None:
    with running_orchestrator(limits=limits, state_dir=tmp_path / "state") as orchestrator:
        client = connect(orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address)
        ids = [
            client.start_sandbox(memory_mb=64, command=["sh", "-c", "echo printed; exit 3"]) for _ in range(3)
        ]
        for one in ids:
            wait_for(client, one, "stopped")
        client.stop_sandbox(ids[0])
        with closing(sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None)) as database:
            # Nobody else writes until that ends.
            database.execute("BEGIN IMMEDIATE")
            client.stop_sandbox(ids[1])
            assert (client.get_info(ids[1]).status, client.get_info(ids[1]).exit_code) == ("ended", 3)
            assert client.get_logs(ids[1]).output == b"printed\n"
            assert [info.id for info in client.sandboxes(status="ended")] == ids[:2]
            (first,) = client.list_sandboxes(status="ended", page_size=1).sandboxes
            assert first.id == ids[0]
        client.stop_sandbox(ids[2])
        assert [info.id for info in client.sandboxes(status="ended")] == ids

"""What an operator admits: how many sandboxes, for how long, with which network; through every client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from flash_sandbox import (
    AtCapacityError,
    HTTPClient,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
    SandboxAPI,
    SandboxNotFoundError,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Connect = Callable[..., SandboxAPI]

MOST = 3
LONGEST_TTL = 100.0


@pytest.fixture(scope="module")
def orchestrator(limits: Limits) -> Iterator[Orchestrator]:
    """Run one that has room for three sandboxes, each of a hundred seconds at most, and without a network."""
    options = {"max_sandboxes": MOST, "max_ttl": LONGEST_TTL, "max_network": "none"}
    with running_orchestrator(limits=limits, **options) as running:
        yield running


@pytest.fixture
def client(connect: Connect, kind: str, orchestrator: Orchestrator) -> SandboxAPI:
    address = orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address
    return connect(address, max_retries=0)


@pytest.fixture(autouse=True)
def _stopped(client: SandboxAPI) -> Iterator[None]:
    yield
    for info in client.list_sandboxes().sandboxes:
        with suppress(SandboxNotFoundError):
            client.stop_sandbox(info.id)


def test_without_a_ttl_a_sandbox_has_the_longest(client: SandboxAPI) -> None:
    before = time.time()
    info = client.get_info(client.start_sandbox(memory_mb=64))
    assert before + LONGEST_TTL <= info.expires_at <= time.time() + LONGEST_TTL


def test_a_longer_ttl_is_refused(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=LONGEST_TTL)
    for call in (
        lambda: client.start_sandbox(memory_mb=64, ttl_seconds=LONGEST_TTL + 0.5),
        lambda: client.keep_alive(one, LONGEST_TTL + 0.5),
    ):
        with pytest.raises(InvalidArgumentError, match="at most 100") as caught:
            call()
        assert caught.value.status_code == 400
    assert client.keep_alive(one, LONGEST_TTL) > time.time()


@pytest.mark.parametrize("type", ["auto", "bubblewrap", "docker", "gvisor", "firecracker"])
def test_a_network_that_the_operator_forbids_is_refused_on_every_runtime(
    client: SandboxAPI, type: str
) -> None:
    with pytest.raises(PermissionDeniedError, match="--max-network bridge") as caught:
        client.start_sandbox(type, network="bridge")
    assert (caught.value.reason, caught.value.status_code) == (Reason.NETWORK_REFUSED, 403)
    assert not caught.value.retryable
    client.stop_sandbox(client.start_sandbox(memory_mb=64, network="none"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_network": "none", "default_network": "bridge"}, "bridge is the default"),
        ({"max_network": "mesh"}, "a network is one of none, policy, bridge, open"),
        ({"max_network": "policy", "default_network": "bridge"}, "bridge is the default"),
        ({"default_network": "policy"}, "cannot be the default"),
        ({"resolve": ["a.test"]}, "'a.test' is not NAME=ADDRESS"),
        ({"allow_networks": ["10.0.0.1/8"]}, "--allow-network '10.0.0.1/8' is no network"),
        ({"allow_networks": ["public"]}, "private, metadata, host or any"),
        ({"deny_networks": ["any"]}, "--deny-network 'any' is no network"),
    ],
)
def test_a_network_that_is_none_is_told_before_anything_is_served(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told), running_orchestrator(limits="best-effort", **options):
        pass


def test_one_too_many_is_refused_until_there_is_room(client: SandboxAPI) -> None:
    ids = [client.start_sandbox(memory_mb=64) for _ in range(MOST)]
    with pytest.raises(AtCapacityError, match="at most 3 sandboxes") as caught:
        client.start_sandbox(memory_mb=64)
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == (
        "at_capacity",
        429,
        "RESOURCE_EXHAUSTED",
    )
    assert (error.retryable, error.retry_after) == (True, 1.0)
    client.stop_sandbox(ids[0])
    client.start_sandbox(memory_mb=64)


def test_a_client_waits_for_room_by_itself(
    client: SandboxAPI, connect: Connect, kind: str, orchestrator: Orchestrator
) -> None:
    for _ in range(MOST):
        client.start_sandbox(memory_mb=64, ttl_seconds=0.5)
    address = orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address
    patient = connect(address, max_retries=5)
    assert patient.start_sandbox(memory_mb=64)


def test_of_forks_that_are_too_many_none_is_left(client: SandboxAPI) -> None:
    sandbox_id = client.start_sandbox(memory_mb=64)
    with pytest.raises(AtCapacityError):
        client.fork_sandbox(sandbox_id, MOST)
    assert [info.id for info in client.sandboxes()] == [sandbox_id]
    assert client.get_status(sandbox_id) == "running"
    assert len(client.fork_sandbox(sandbox_id, MOST - 1)) == MOST - 1


def test_one_that_is_kept_after_its_end_counts(client: SandboxAPI) -> None:
    ids = [client.start_sandbox(memory_mb=64) for _ in range(MOST)]
    client.stop_sandbox(ids[0], cleanup=False)
    with pytest.raises(AtCapacityError):
        client.start_sandbox(memory_mb=64)


def test_one_whose_start_failed_does_not(client: SandboxAPI) -> None:
    for _ in range(MOST + 1):
        with pytest.raises(InvalidArgumentError, match="cannot be run"):
            client.start_sandbox(memory_mb=64, command=["/no/such/program"])
    assert client.start_sandbox(memory_mb=64)


def test_starts_at_the_same_time_are_counted(client: SandboxAPI, orchestrator: Orchestrator) -> None:
    def start(_: int) -> str:
        try:
            with HTTPClient(address=orchestrator.http_address, max_retries=0) as other:
                return other.start_sandbox(memory_mb=64)
        except AtCapacityError:
            return ""

    with ThreadPoolExecutor(12) as pool:
        ids = list(pool.map(start, range(12)))
    assert len(list(filter(None, ids))) == MOST
    assert {info.id for info in client.list_sandboxes().sandboxes} == set(filter(None, ids))


def test_a_start_that_is_repeated_counts_once(client: SandboxAPI, orchestrator: Orchestrator) -> None:
    for _ in range(MOST - 1):
        client.start_sandbox(memory_mb=64)
    body = {"memory_mb": 64, "name": "once", "labels": ["a=b"], "ttl_seconds": 50}
    answers = [start_with_key(orchestrator, body) for _ in range(3)]
    assert [answer.status_code // 100 for answer in answers] == [2] * 3
    (sandbox_id,) = {answer.json()["id"] for answer in answers}
    info = client.get_info(sandbox_id)
    assert (info.name, info.labels) == ("once", ("a=b",))


@pytest.mark.parametrize("change", [{"name": "other"}, {"labels": ["a=c"]}, {"ttl_seconds": 51}])
def test_a_repeated_start_that_asks_for_something_else_is_refused(
    client: SandboxAPI, orchestrator: Orchestrator, change: dict[str, Any]
) -> None:
    body = {"memory_mb": 64, "name": "once", "labels": ["a=b"], "ttl_seconds": 50}
    assert start_with_key(orchestrator, body).is_success
    answer = start_with_key(orchestrator, body | change)
    assert (answer.status_code, answer.json()["reason"]) == (409, "already_exists")
    assert "idempotency key" in answer.json()["detail"]


def start_with_key(orchestrator: Orchestrator, body: dict[str, Any]) -> httpx.Response:
    url = f"{orchestrator.http_address}/sandboxes"
    return httpx.post(url, json=body, headers={"idempotency-key": "one-key"})


@pytest.mark.parametrize(
    "options", [{"max_ttl": 0.0}, {"max_ttl": -1.0}, {"max_ttl": float("nan")}, {"max_sandboxes": 0}]
)
def test_a_limit_out_of_range_is_refused_at_once(limits: Limits, options: Any) -> None:
    with pytest.raises(ValueError, match="must be"), running_orchestrator(limits=limits, **options):
        pass

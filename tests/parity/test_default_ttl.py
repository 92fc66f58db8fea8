"""The time to live of sandboxes whose start asks for none, through every client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from flash_sandbox import SandboxAPI, SandboxNotFoundError
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.core.admission import Admission
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Connect = Callable[..., SandboxAPI]

TTL = 1.5
LONGEST_TTL = 100.0


@pytest.fixture(scope="module")
def orchestrator(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits, default_ttl=TTL, max_ttl=LONGEST_TTL) as running:
        yield running


@pytest.fixture
def client(connect: Connect, kind: str, orchestrator: Orchestrator) -> SandboxAPI:
    return connect(orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address)


@pytest.fixture
def one(client: SandboxAPI) -> Iterator[str]:
    started = client.start_sandbox(memory_mb=64)
    yield started
    with suppress(SandboxNotFoundError):
        client.stop_sandbox(started)


def wait_for_end(client: SandboxAPI, sandbox_id: str) -> float:
    """Return when a sandbox is gone."""
    give_up = time.monotonic() + 20
    with suppress(SandboxNotFoundError):
        while time.monotonic() < give_up:
            client.get_status(sandbox_id)
            time.sleep(0.02)
        raise AssertionError("it does not expire")
    return time.time()


def test_one_that_nobody_uses_expires_however_often_it_is_looked_at(client: SandboxAPI, one: str) -> None:
    deadline = client.get_info(one).expires_at
    assert 0 < deadline - time.time() <= TTL
    assert deadline <= wait_for_end(client, one) < deadline + 2


@pytest.mark.parametrize(
    "use",
    [
        lambda client, one: client.exec_command(one, ["true"]),
        lambda client, one: client.write_file(one, "/tmp/file", b""),
        lambda client, one: list(client.exec_stream(one, ["true"])),
    ],
    ids=["exec_command", "write_file", "exec_stream"],
)
def test_a_call_that_uses_it_renews_it(
    client: SandboxAPI, one: str, use: Callable[[SandboxAPI, str], object]
) -> None:
    first = client.get_info(one).expires_at
    while time.time() < first + 0.3:
        use(client, one)
        used = time.time()
        time.sleep(0.05)
    deadline = client.get_info(one).expires_at
    assert used + TTL - 0.5 < deadline <= used + TTL
    assert deadline <= wait_for_end(client, one)


def test_it_does_not_expire_under_a_call_that_takes_longer(client: SandboxAPI, one: str) -> None:
    assert client.exec_command(one, ["sleep", str(TTL + 1)]).exit_code == 0


def test_keep_alive_has_the_last_word(client: SandboxAPI, one: str) -> None:
    deadline = client.keep_alive(one, 0.6)
    client.exec_command(one, ["true"])
    assert client.get_info(one).expires_at == deadline
    assert wait_for_end(client, one) < deadline + 2


def test_one_that_asks_for_a_time_is_not_renewed(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=50)
    deadline = client.get_info(one).expires_at
    client.exec_command(one, ["true"])
    assert client.get_info(one).expires_at == deadline
    client.stop_sandbox(one)


def test_a_warning_precedes_the_end(client: SandboxAPI) -> None:
    with client.watch_events() as events:
        one = client.start_sandbox(memory_mb=64, ttl_seconds=50)
        client.keep_alive(one, 2)
        deadline = client.get_info(one).expires_at
        for event in events:
            if event.id == one and event.type == "expiring":
                break
        assert deadline - 0.2 <= event.at < deadline
        assert event.detail == "in 0.2 seconds"
        # What is prolonged is warned of anew.
        client.keep_alive(one, 2)
        told = [event.type for event in events_of(events, one, "expired")]
    assert told == ["expiring", "expired"]


def events_of(events: Iterator, one: str, last: str) -> Iterator:
    for event in events:
        if event.id == one:
            yield event
            if event.type == last:
                return


@pytest.mark.parametrize(
    ("default", "most", "ttl", "renewed"),
    [
        (0.0, None, 0.0, 0.0),
        (0.0, 60.0, 60.0, 0.0),
        (3600.0, None, 3600.0, 3600.0),
        (3600.0, 60.0, 60.0, 0.0),
        (30.0, 60.0, 30.0, 30.0),
    ],
)
def test_the_longest_time_holds_for_the_default_too(
    default: float, most: float | None, ttl: float, renewed: float
) -> None:
    admission = Admission(max_ttl=most, default_ttl=default)
    assert (admission.ttl(0), admission.renewed(0)) == (ttl, renewed)
    assert (admission.ttl(5), admission.renewed(5)) == (5, 0)


@pytest.mark.parametrize("default", [-1.0, float("nan"), 1e12])
def test_a_default_out_of_range_is_refused(default: float) -> None:
    with pytest.raises(ValueError, match="default TTL"):
        Admission(default_ttl=default)

"""A broken network between client and orchestrator: one error, one decision, and nothing done twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from typing import Any

import pytest
from faults import (
    BEFORE,
    LOSSES,
    Fault,
    FaultProxy,
    answer_once,
    close_at_once,
    cut_after,
    cut_at,
    cut_before,
    garbage,
    pass_on,
    reset_at_once,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quartet import CLIENTS, failure_of, quartet

from flash_sandbox import (
    OutcomeUnknownError,
    PayloadTooLargeError,
    ProtocolError,
    SandboxAPI,
    SandboxConnectionError,
    SandboxError,
    SandboxNotFoundError,
)
from flash_sandbox.codecs import MAX_REQUEST_BYTES
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]

# With many more examples a test takes longer than others may.
pytestmark = pytest.mark.timeout(1800)

# It leaves its mark each time that it is run.
MARK = ["/bin/sh", "-c", "echo ran >> /tmp/runs; echo done"]
CHANGES = ["stop_sandbox", "snapshot_sandbox", "pause_sandbox", "resume_sandbox"]

losses = pytest.mark.parametrize("fault", LOSSES, ids=lambda fault: fault.__name__)


def runs_of(client: SandboxAPI, sandbox_id: str) -> int:
    """Count how often `MARK` was run in a sandbox."""
    return client.exec_command(sandbox_id, ["cat", "/tmp/runs"]).stdout.count("ran")


def sandboxes_of(orchestrator: Orchestrator) -> set[str]:
    """Return the IDs of the sandboxes that there are."""
    assert orchestrator.state_dir is not None
    return {path.name for path in (orchestrator.state_dir / "sandboxes").iterdir()}


@pytest.fixture
def made(orchestrator: Orchestrator, client: SandboxAPI) -> Iterator[Callable[[], set[str]]]:
    """Tell which sandboxes were made during the test; they are stopped at the end."""
    before = sandboxes_of(orchestrator)
    yield lambda: sandboxes_of(orchestrator) - before
    for sandbox_id in sandboxes_of(orchestrator) - before:
        with suppress(SandboxNotFoundError):
            client.stop_sandbox(sandbox_id)


class TestLostAnswer:
    @losses
    def test_command_is_not_run_again(
        self, connect: Connect, client: SandboxAPI, sandbox_id: str, address: str, fault: Fault
    ) -> None:
        with FaultProxy(address, repeat(fault)) as proxy:
            with pytest.raises(OutcomeUnknownError) as caught:
                connect(proxy.address, max_retries=5).exec_command(sandbox_id, MARK)
            assert proxy.connections == 1
        assert (caught.value.reason, caught.value.retryable) == ("outcome_unknown", False)
        assert runs_of(client, sandbox_id) == (0 if fault in BEFORE else 1)

    @pytest.mark.parametrize("fault", [cut_before, cut_after], ids=lambda fault: fault.__name__)
    @pytest.mark.parametrize("method", CHANGES)
    def test_change_is_not_asked_for_again(
        self, connect: Connect, sandbox_id: str, address: str, fault: Fault, method: str
    ) -> None:
        with FaultProxy(address, repeat(fault)) as proxy:
            with pytest.raises(OutcomeUnknownError):
                getattr(connect(proxy.address, max_retries=5), method)(sandbox_id)
            assert proxy.connections == 1

    @losses
    def test_read_is_asked_for_again(
        self, connect: Connect, sandbox_id: str, address: str, fault: Fault
    ) -> None:
        with FaultProxy(address, [fault]) as proxy:
            assert connect(proxy.address).get_status(sandbox_id) == "running"
            assert proxy.connections == 2

    @losses
    def test_read_that_is_lost_each_time_is_a_connection_error(
        self, connect: Connect, sandbox_id: str, address: str, fault: Fault
    ) -> None:
        with FaultProxy(address, repeat(fault)) as proxy:
            with pytest.raises(SandboxConnectionError) as caught:
                connect(proxy.address, max_retries=1).get_status(sandbox_id)
            assert proxy.connections == 2
        assert (type(caught.value), caught.value.reason) == (SandboxConnectionError, "connection_failed")

    @losses
    def test_start_is_asked_for_again_and_makes_one_sandbox(
        self, connect: Connect, address: str, made: Callable[[], set[str]], fault: Fault
    ) -> None:
        with FaultProxy(address, [fault]) as proxy:
            sandbox_id = connect(proxy.address).start_sandbox(memory_mb=64)
            assert proxy.connections == 2
            assert made() == {sandbox_id}

    @losses
    def test_start_that_is_lost_each_time_makes_at_most_one_sandbox(
        self, connect: Connect, address: str, made: Callable[[], set[str]], fault: Fault
    ) -> None:
        with FaultProxy(address, repeat(fault)) as proxy:
            with pytest.raises(OutcomeUnknownError):
                connect(proxy.address, max_retries=1).start_sandbox(memory_mb=64)
            assert proxy.connections == 2
            assert len(made()) == (0 if fault in BEFORE else 1)


class TestAnswerCutAnywhere:
    @settings(max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck))
    @given(part=st.floats(0, 1, exclude_max=True), reset=st.booleans())
    def test_outcome_of_a_command_is_unknown(
        self, orchestrator: Orchestrator, part: float, reset: bool
    ) -> None:
        failures = failures_of_all(orchestrator, cut_at(part, reset=reset), "exec_command", "gone", MARK)
        assert set(failures.values()) == {(OutcomeUnknownError, "outcome_unknown", None)}


class TestTooLarge:
    def test_request_is_refused_and_the_client_works_on(self, orchestrator: Orchestrator) -> None:
        failures = set()
        with quartet(orchestrator.http_address, orchestrator.grpc_address) as clients:
            for client in clients.values():
                with pytest.raises(PayloadTooLargeError) as caught:
                    client.start_sandbox(image="x" * MAX_REQUEST_BYTES)
                failures.add(failure_of(caught.value))
                with pytest.raises(SandboxNotFoundError):
                    client.get_status("gone")
        assert len(failures) == 1


class TestGarbage:
    def test_command_that_was_answered_by_garbage_is_not_run_again(
        self, connect: Connect, client: SandboxAPI, sandbox_id: str, address: str
    ) -> None:
        with FaultProxy(address, repeat(garbage)) as proxy:
            with pytest.raises(ProtocolError) as caught:
                connect(proxy.address, max_retries=5).exec_command(sandbox_id, MARK)
            assert proxy.connections == 1
        assert (caught.value.reason, caught.value.retryable) == ("bad_response", False)
        assert runs_of(client, sandbox_id) == 1

    @pytest.mark.parametrize("method", ["get_status", "stop_sandbox"])
    def test_nothing_is_asked_for_again(
        self, connect: Connect, sandbox_id: str, address: str, method: str
    ) -> None:
        with FaultProxy(address, repeat(garbage)) as proxy:
            with pytest.raises(ProtocolError):
                getattr(connect(proxy.address, max_retries=5), method)(sandbox_id)
            assert proxy.connections == 1


@contextmanager
def proxy_after(seconds: float, address: str, port: int) -> Iterator[None]:
    """Begin to listen on `port` only when clients have been refused for a while."""
    done = threading.Event()

    def listen() -> None:
        with FaultProxy(address, [], port):
            done.wait()

    timer = threading.Timer(seconds, listen)
    timer.start()
    try:
        yield
    finally:
        done.set()
        timer.join()


class TestConnections:
    @pytest.mark.parametrize("method", ["start_sandbox", "exec_command", "get_status", "stop_sandbox"])
    def test_refused_connection_may_be_tried_again(self, connect: Connect, method: str) -> None:
        arguments: dict[str, tuple[Any, ...]] = {"start_sandbox": (), "exec_command": ("a", MARK)}
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SandboxConnectionError) as caught:
            getattr(connect(address, max_retries=1), method)(*arguments.get(method, ("a",)))
        assert (type(caught.value), caught.value.retryable) == (SandboxConnectionError, True)

    @pytest.mark.parametrize("fault", [close_at_once, reset_at_once], ids=lambda fault: fault.__name__)
    def test_connection_that_is_closed_at_once_runs_no_command(
        self, connect: Connect, client: SandboxAPI, sandbox_id: str, address: str, fault: Fault
    ) -> None:
        # Whether the request was on its way by then is a race, and so is which of the two errors this is.
        with FaultProxy(address, repeat(fault)) as proxy, pytest.raises(SandboxConnectionError):
            connect(proxy.address).exec_command(sandbox_id, MARK)
        assert runs_of(client, sandbox_id) == 0

    def test_start_that_was_refused_at_first_makes_one_sandbox(
        self, connect: Connect, address: str, made: Callable[[], set[str]]
    ) -> None:
        with FaultProxy(address, []) as proxy:
            port = proxy.port
        with proxy_after(0.1, address, port):
            sandbox_id = connect(f"127.0.0.1:{port}", max_retries=20).start_sandbox(memory_mb=64)
            assert made() == {sandbox_id}

    def test_connection_that_was_closed_while_idle_is_made_anew_before_a_command_is_sent(
        self, connect: Connect, client: SandboxAPI, sandbox_id: str, address: str
    ) -> None:
        with FaultProxy(address, [answer_once]) as proxy:
            hasty = connect(proxy.address, max_retries=0)
            assert hasty.get_status(sandbox_id) == "running"
            proxy.wait_until_idle()
            assert hasty.exec_command(sandbox_id, MARK).stdout == "done\n"
            assert proxy.connections == 2
        assert runs_of(client, sandbox_id) == 1


class TestFaultsInAnyOrder:
    @settings(max_examples=settings().max_examples // 8, suppress_health_check=list(HealthCheck))
    @given(faults=st.lists(st.sampled_from([*LOSSES, garbage, pass_on]), min_size=1, max_size=3))
    def test_every_client_does_the_same_and_runs_a_command_at_most_once(
        self, orchestrator: Orchestrator, faults: list[Fault]
    ) -> None:
        with quartet(orchestrator.http_address, orchestrator.grpc_address) as direct:
            client = direct["HTTPClient"]
            sandbox_id = client.start_sandbox(memory_mb=64)
            outcomes = set()
            for number, name in enumerate(CLIENTS, 1):
                outcome = through_faults(orchestrator, name, faults, "exec_command", sandbox_id, MARK)
                runs = runs_of(client, sandbox_id)
                outcomes.add((*outcome, runs / number))
            client.stop_sandbox(sandbox_id)
        assert len(outcomes) == 1
        assert outcomes.pop()[-1] in (0, 1)

    @settings(max_examples=settings().max_examples // 8, suppress_health_check=list(HealthCheck))
    @given(faults=st.lists(st.sampled_from([*LOSSES, garbage, pass_on]), min_size=1, max_size=3))
    def test_every_client_does_the_same_and_makes_at_most_one_sandbox(
        self, orchestrator: Orchestrator, faults: list[Fault]
    ) -> None:
        outcomes = set()
        for name in CLIENTS:
            before = sandboxes_of(orchestrator)
            outcome = through_faults(orchestrator, name, faults, "start_sandbox")
            made = sandboxes_of(orchestrator) - before
            outcomes.add((*outcome, len(made)))
            with quartet(orchestrator.http_address, orchestrator.grpc_address) as direct:
                for sandbox_id in made:
                    direct[name].stop_sandbox(sandbox_id)
        assert len(outcomes) == 1
        assert outcomes.pop()[-1] in (0, 1)


def through_faults(
    orchestrator: Orchestrator, name: str, faults: list[Fault], method: str, *arguments: Any
) -> tuple[str, int]:
    """Make a call through one client; return how it ended, and how many connections that took."""
    address = orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address
    with FaultProxy(address, faults) as proxy, quartet(proxy.address, proxy.address) as clients:
        try:
            getattr(clients[name], method)(*arguments)
        except SandboxError as error:
            return error.reason, proxy.connections
        return "answered", proxy.connections


def failures_of_all(
    orchestrator: Orchestrator, fault: Fault, method: str, *arguments: Any
) -> dict[str, tuple[type[SandboxError], str, int | None]]:
    """Make a call through each client, each over a connection with the fault; return how they fail."""
    failures = {}
    with (
        FaultProxy(orchestrator.http_address, repeat(fault)) as http,
        FaultProxy(orchestrator.grpc_address, repeat(fault)) as grpc,
        quartet(http.address, grpc.address, max_retries=0) as clients,
    ):
        for name, client in clients.items():
            with pytest.raises(SandboxError) as caught:
                getattr(client, method)(*arguments)
            failures[name] = (type(caught.value), caught.value.reason, caught.value.status_code)
    return failures

"""Random operations through randomly chosen clients, held to a small model of the state machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from quartet import CLIENTS, Failure, failure_of, quartet

from flash_sandbox import (
    ConflictError,
    InvalidArgumentError,
    RuntimeUnavailableError,
    SandboxAPI,
    SandboxError,
    SandboxNotFoundError,
    UnsupportedError,
)
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes import Limits

MOST_SANDBOXES = 3

UNTIL_TOLD = ["/bin/sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.02; done"]

OF_ONE_SANDBOX = (
    "stop_sandbox",
    "exec_command",
    "get_status",
    "get_metrics",
    "snapshot_sandbox",
    "resume_sandbox",
)
MALFORMED_IDS = ("", ".", "..", "a/b", "-a", "a b", "\u20ac", "a" * 129, "a\0", "\ud800", None, 7)

WRONG_STARTS: dict[str, tuple[dict[str, Any], type[SandboxError], str, str]] = {
    "no memory": ({"memory_mb": 0}, InvalidArgumentError, "invalid_argument", "memory_mb must be"),
    "too much memory": ({"memory_mb": 2**31}, InvalidArgumentError, "invalid_argument", "memory_mb must be"),
    "half a core too few": ({"cpu_cores": -0.5}, InvalidArgumentError, "invalid_argument", "cpu_cores must"),
    "no number": ({"cpu_cores": float("nan")}, InvalidArgumentError, "invalid_argument", "must be finite"),
    "a text": ({"command": "ls"}, InvalidArgumentError, "invalid_argument", "must be a sequence"),
    "a NUL": ({"image": "a\0"}, InvalidArgumentError, "invalid_argument", "NUL"),
    "unknown network": ({"network": "lan"}, InvalidArgumentError, "invalid_argument", "network must be"),
    "unknown type": (
        {"type": "abacus"},
        InvalidArgumentError,
        "unknown_runtime",
        "known are auto, bubblewrap",
    ),
    "another case": ({"type": "Bubblewrap"}, InvalidArgumentError, "unknown_runtime", "unknown runtime"),
    "no engine": ({"type": "docker"}, RuntimeUnavailableError, "runtime_unavailable", "Docker Engine not"),
    "a kernel": (
        {"type": "bubblewrap", "kernel_image": "/k"},
        UnsupportedError,
        "unsupported",
        "no use for kernel_image",
    ),
    "a network": ({"type": "bubblewrap", "network": "bridge"}, UnsupportedError, "unsupported", "bridge"),
    "no such image": ({"image": "/nowhere"}, InvalidArgumentError, "image_not_found", "/nowhere"),
    "no such program": ({"command": ["/nowhere"]}, InvalidArgumentError, "start_failed", "/nowhere"),
    "no such snapshot": ({"snapshot_path": "/etc/passwd"}, InvalidArgumentError, "snapshot_refused", "store"),
}


@dataclass(frozen=True)
class World:
    """What every machine of a test shares."""

    clients: dict[str, SandboxAPI]


@pytest.fixture(scope="module")
def world(limits: Limits) -> Iterator[World]:
    """Run an orchestrator on a host that has bubblewrap and no other engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        with (
            running_orchestrator(limits=limits) as running,
            quartet(running.http_address, running.grpc_address) as clients,
        ):
            yield World(clients)


@dataclass
class Sandbox:
    """What the model knows of one sandbox."""

    id: str
    state: str = "running"
    words: list[str] = field(default_factory=list)
    may_end: bool = False


class Machine(RuleBasedStateMachine):
    """The state machine of DESIGN: creating → running ⇄ paused → stopped → unknown."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.sandboxes: list[Sandbox] = []
        self.gone = ["never-there"]
        self.snapshots: dict[str, list[str]] = {}
        self.removed = ["/etc/passwd"]
        self.numbers = itertools.count()

    def teardown(self) -> None:
        for sandbox in self.sandboxes:
            self.world.clients["HTTPClient"].stop_sandbox(sandbox.id)
        for path in self.snapshots:
            self.world.clients["HTTPClient"].remove_snapshot(path)

    clients = st.sampled_from(CLIENTS)
    choices = st.integers(0, 10**6)
    has_sandbox = precondition(lambda self: bool(self.sandboxes))
    has_room = precondition(lambda self: len(self.sandboxes) < MOST_SANDBOXES)
    has_snapshot = precondition(lambda self: bool(self.snapshots) and len(self.sandboxes) < MOST_SANDBOXES)

    @has_room
    @rule(client=clients, type=st.sampled_from(["", "auto", "bubblewrap"]))
    def start(self, client: str, type: str) -> None:
        sandbox_id = self.world.clients[client].start_sandbox(type=type, memory_mb=64)
        assert sandbox_id not in self.gone
        self.sandboxes.append(Sandbox(sandbox_id))

    @has_room
    @rule(client=clients)
    def start_what_may_end(self, client: str) -> None:
        sandbox_id = self.world.clients[client].start_sandbox(command=UNTIL_TOLD, memory_mb=64)
        self.sandboxes.append(Sandbox(sandbox_id, may_end=True))

    @has_sandbox
    @rule(client=clients, choice=choices)
    def let_the_main_process_end(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if not sandbox.may_end or sandbox.state != "running":
            return
        # Which of the two ends first is open.
        with suppress(ConflictError):
            self.world.clients[client].exec_command(sandbox.id, ["touch", "/tmp/end"])
        deadline = time.monotonic() + 30
        while self.world.clients[client].get_status(sandbox.id) == "running":
            assert time.monotonic() < deadline, "the main process runs on"
        sandbox.state = "stopped"

    @has_snapshot
    @rule(client=clients, choice=choices)
    def start_from_a_snapshot(self, client: str, choice: int) -> None:
        path, words = sorted(self.snapshots.items())[choice % len(self.snapshots)]
        sandbox_id = self.world.clients[client].start_sandbox(snapshot_path=path, memory_mb=64)
        self.sandboxes.append(Sandbox(sandbox_id, words=list(words)))

    @has_sandbox
    @rule(client=clients, choice=choices)
    def run_a_command(self, client: str, choice: int) -> None:
        """A command sees what the commands before it, through whichever client, have left."""
        sandbox = self.chosen(choice)
        word = f"word{next(self.numbers)}"
        command = ["/bin/sh", "-c", f"echo {word} >> /tmp/words; cat /tmp/words; exit {choice % 100}"]
        if sandbox.state != "running":
            self.conflicts(sandbox, "running", "exec_command", command)
            return
        result = self.world.clients[client].exec_command(sandbox.id, command)
        sandbox.words.append(word)
        assert (result.stdout.split(), result.exit_code) == (sandbox.words, choice % 100)

    @has_sandbox
    @rule(client=clients, choice=choices)
    def run_what_is_not_there(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running":
            assert self.world.clients[client].exec_command(sandbox.id, ["/nowhere"]).exit_code == 127

    @has_sandbox
    @rule(choice=choices, command=st.sampled_from([[], "ls", [""], ["a\0"], ["\ud800"], [1], None]))
    def run_no_command(self, choice: int, command: Any) -> None:
        failure = self.fails("exec_command", self.chosen(choice).id, command)
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "invalid_argument")

    @has_sandbox
    @rule(choice=choices)
    def look(self, choice: int) -> None:
        sandbox = self.chosen(choice)
        states = {name: client.get_status(sandbox.id) for name, client in self.world.clients.items()}
        assert states == dict.fromkeys(CLIENTS, sandbox.state)

    @has_sandbox
    @rule(client=clients, choice=choices)
    def measure(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "stopped":
            self.conflicts(sandbox, "running or paused", "get_metrics")
        else:
            assert self.world.clients[client].get_metrics(sandbox.id).pids_current >= 1

    @has_sandbox
    @rule(client=clients, choice=choices)
    def snapshot(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "stopped":
            self.conflicts(sandbox, "running or paused", "snapshot_sandbox")
            return
        result = self.world.clients[client].snapshot_sandbox(sandbox.id)
        assert result.snapshot_path not in self.snapshots
        self.snapshots[result.snapshot_path] = list(sandbox.words)
        sandbox.state = "paused"

    @has_sandbox
    @rule(client=clients, choice=choices)
    def resume(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "paused":
            self.world.clients[client].resume_sandbox(sandbox.id)
            sandbox.state = "running"
        else:
            self.conflicts(sandbox, "paused", "resume_sandbox")

    @has_sandbox
    @rule(client=clients, choice=choices)
    def stop(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        self.world.clients[client].stop_sandbox(sandbox.id)
        self.sandboxes.remove(sandbox)
        self.gone.append(sandbox.id)

    @rule(choice=choices, method=st.sampled_from(OF_ONE_SANDBOX))
    def ask_for_what_is_gone(self, choice: int, method: str) -> None:
        sandbox_id = self.gone[choice % len(self.gone)]
        failure = self.fails(method, sandbox_id, *self.more_arguments(method))
        assert (failure.kind, failure.reason) == (SandboxNotFoundError, "not_found")
        assert (failure.status_code, failure.grpc_status) == (404, "NOT_FOUND")
        assert failure.detail == f"there is no sandbox {sandbox_id}"

    @rule(sandbox_id=st.sampled_from(MALFORMED_IDS), method=st.sampled_from(OF_ONE_SANDBOX))
    def ask_for_what_is_no_id(self, sandbox_id: Any, method: str) -> None:
        failure = self.fails(method, sandbox_id, *self.more_arguments(method))
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "invalid_argument")
        assert (failure.status_code, failure.grpc_status) == (400, "INVALID_ARGUMENT")

    @rule(which=st.sampled_from(sorted(WRONG_STARTS)))
    def start_wrongly(self, which: str) -> None:
        arguments, kind, reason, words = WRONG_STARTS[which]
        failure = self.fails("start_sandbox", **arguments)
        assert (failure.kind, failure.reason) == (kind, reason)
        assert words in failure.detail

    @has_snapshot
    @rule(choice=choices, change=st.sampled_from(["/../{}", "x{}", "{}x", "{}/", "{}\n"]))
    def start_from_no_snapshot(self, choice: int, change: str) -> None:
        path = sorted(self.snapshots)[choice % len(self.snapshots)]
        failure = self.fails("start_sandbox", snapshot_path=change.format(path))
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "snapshot_refused")

    @rule()
    def list_the_snapshots(self) -> None:
        lists = [client.list_snapshots() for client in self.world.clients.values()]
        assert all(infos == lists[0] for infos in lists)
        # As they were made, since a dict keeps that order.
        assert [info.snapshot_path for info in lists[0]] == list(self.snapshots)

    @precondition(lambda self: bool(self.snapshots))
    @rule(client=clients, choice=choices)
    def remove_a_snapshot(self, client: str, choice: int) -> None:
        path = sorted(self.snapshots)[choice % len(self.snapshots)]
        self.world.clients[client].remove_snapshot(path)
        del self.snapshots[path]
        self.removed.append(path)

    @rule(choice=choices, method=st.sampled_from(["remove_snapshot", "start_sandbox"]))
    def use_what_is_no_snapshot(self, choice: int, method: str) -> None:
        path = self.removed[choice % len(self.removed)]
        failure = self.fails(method, snapshot_path=path)
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "snapshot_refused")
        assert (failure.status_code, failure.grpc_status) == (400, "INVALID_ARGUMENT")

    def chosen(self, choice: int) -> Sandbox:
        """Return one of the sandboxes."""
        return self.sandboxes[choice % len(self.sandboxes)]

    def more_arguments(self, method: str) -> tuple[Any, ...]:
        """Return what a method takes besides an ID."""
        return (["true"],) if method == "exec_command" else ()

    def conflicts(self, sandbox: Sandbox, wanted: str, method: str, *arguments: Any) -> None:
        """Check that a call is refused for the state of the sandbox, which it leaves as it is."""
        failure = self.fails(method, sandbox.id, *arguments)
        detail = f"sandbox {sandbox.id} is {sandbox.state}; this needs a sandbox that is {wanted}"
        assert failure == Failure(
            ConflictError, "wrong_state", 409, "FAILED_PRECONDITION", detail, False, method, None
        )

    def fails(self, method: str, *arguments: Any, **options: Any) -> Failure:
        """Make a call through each client, and return the failure that must be the same for all."""
        failures = {}
        for name, client in self.world.clients.items():
            try:
                result = getattr(client, method)(*arguments, **options)
            except SandboxError as error:
                failures[name] = failure_of(error)
            else:
                raise AssertionError(f"{name} answered {result!r}")
        first, *others = failures.values()
        assert all(other == first for other in others), failures
        return first


@pytest.mark.timeout(1800)
def test_every_client_follows_the_model(world: World) -> None:
    class LiveMachine(Machine):
        pass

    LiveMachine.world = world
    run_state_machine_as_test(
        LiveMachine,
        settings=settings(
            max_examples=settings().max_examples // 4,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )

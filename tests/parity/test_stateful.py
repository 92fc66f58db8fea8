"""Random operations through randomly chosen clients, held to a small model of the state machine."""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from following import following
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from quartet import CLIENTS, Failure, failure_of, quartet

from flash_sandbox import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    ProcessNotFoundError,
    RuntimeUnavailableError,
    SandboxAPI,
    SandboxError,
    SandboxFileNotFoundError,
    SandboxNotFoundError,
    UnsupportedError,
    WrongStateError,
)
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

MOST_SANDBOXES = 3
MOST_PROCESSES = 3

UNTIL_TOLD = ["/bin/sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.02; done"]

OF_ONE_SANDBOX = (
    "stop_sandbox",
    "exec_command",
    "get_status",
    "get_metrics",
    "get_metrics_history",
    "snapshot_sandbox",
    "pause_sandbox",
    "resume_sandbox",
    "exec_stream",
    "start_process",
    "list_processes",
    "run_python",
    "get_platform_info",
    "read_file",
    "write_file",
    "stat",
    "list_dir",
    "make_dir",
    "remove",
    "move",
    "download_archive",
    "get_info",
    "get_logs",
    "keep_alive",
)
OF_ONE_PROCESS: dict[str, tuple[Any, ...]] = {
    "wait_process": (),
    "follow_process": (),
    "signal_process": ("TERM",),
    "write_stdin": ("text",),
    "resize_process": (20, 60),
}
MORE_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("exec_command", "exec_stream", "start_process"), (["true"],)),
    **dict.fromkeys(("read_file", "stat", "list_dir", "make_dir", "remove", "download_archive"), ("/tmp/x",)),
    "run_python": ("pass",),
    "write_file": ("/tmp/x", b""),
    "move": ("/tmp/x", "/tmp/y"),
    "keep_alive": (60,),
}
MALFORMED_IDS = ("", ".", "..", "a/b", "-a", "a b", "\u20ac", "a" * 129, "a\0", "\ud800", None, 7)

WRONG_STARTS: dict[str, tuple[dict[str, Any], type[SandboxError], str, str]] = {
    "no memory": ({"memory_mb": -1}, InvalidArgumentError, "invalid_argument", "memory_mb must be"),
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


def archive_of(name: str, content: bytes) -> bytes:
    """Pack one file into a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@dataclass(frozen=True)
class World:
    """What every machine of a test shares."""

    clients: dict[str, SandboxAPI]
    names: Iterator[int] = field(default_factory=itertools.count)


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
class Process:
    """What the model knows of one process that was started in a sandbox."""

    id: str
    received: str = ""


@dataclass
class Sandbox:
    """What the model knows of one sandbox."""

    id: str
    state: str = "running"
    words: list[str] = field(default_factory=list)
    may_end: bool = False
    processes: list[Process] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    name: str = ""


class Machine(RuleBasedStateMachine):
    """The state machine of DESIGN: creating → running ⇄ paused → stopped → unknown."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.sandboxes: list[Sandbox] = []
        self.gone = ["never-there"]
        self.snapshots: dict[str, tuple[list[str], dict[str, bytes]]] = {}
        self.label = f"label-{next(self.world.names)}"
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
        name = f"machine-{next(self.world.names)}"
        sandbox_id = self.world.clients[client].start_sandbox(
            type=type, memory_mb=64, name=name, labels={"machine": self.label, "kind": "plain"}
        )
        assert sandbox_id not in self.gone
        self.sandboxes.append(Sandbox(sandbox_id, name=name))

    @has_room
    @rule(client=clients)
    def start_what_may_end(self, client: str) -> None:
        sandbox_id = self.world.clients[client].start_sandbox(
            command=UNTIL_TOLD, memory_mb=64, labels={"machine": self.label}
        )
        self.sandboxes.append(Sandbox(sandbox_id, may_end=True))

    @has_room
    @rule(client=clients)
    def start_and_watch(self, client: str) -> None:
        """Whoever goes on from the same token is told the same."""
        with self.world.clients[client].watch_events() as events:
            token = events.token
        sandbox_id = self.world.clients[client].start_sandbox(memory_mb=64, labels={"machine": self.label})
        self.sandboxes.append(Sandbox(sandbox_id))
        for each in self.world.clients.values():
            with following(each, token) as follower:
                told = [event.type for event in follower.of(sandbox_id, "running")]
            assert told == ["created", "running"]

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
        path, (words, files) = sorted(self.snapshots.items())[choice % len(self.snapshots)]
        sandbox_id = self.world.clients[client].start_sandbox(
            snapshot_path=path, memory_mb=64, labels={"machine": self.label}
        )
        self.sandboxes.append(Sandbox(sandbox_id, words=list(words), files=dict(files)))

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
    @rule(choice=choices, command=st.sampled_from([[], "", [""], ["a\0"], ["\ud800"], [1], None]))
    def run_no_command(self, choice: int, command: Any) -> None:
        failure = self.fails("exec_command", self.chosen(choice).id, command)
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "invalid_argument")

    @has_sandbox
    @rule(client=clients, choice=choices)
    def run_a_command_and_watch(self, client: str, choice: int) -> None:
        """What a stream tells is what the command before it, through whichever client, has left."""
        sandbox = self.chosen(choice)
        command = f"cat /tmp/words 2>/dev/null; exit {choice % 100}"
        if sandbox.state != "running":
            self.conflicts(sandbox, "running", "exec_stream", command)
            return
        with self.world.clients[client].exec_stream(sandbox.id, command) as stream:
            words = b"".join(frame.data for frame in stream).decode().split()
        assert stream.exit is not None
        assert (words, stream.exit.exit_code) == (sandbox.words, choice % 100)

    @has_sandbox
    @rule(client=clients, choice=choices, name=st.sampled_from("abc"), content=st.binary(max_size=100))
    def write_a_file(self, client: str, choice: int, name: str, content: bytes) -> None:
        sandbox = self.chosen(choice)
        path = f"/root/files/{name}"
        if sandbox.state != "running":
            self.conflicts(sandbox, "running", "write_file", path, content)
            return
        self.world.clients[client].write_file(sandbox.id, path, content, parents=True)
        sandbox.files[name] = content

    @has_sandbox
    @rule(client=clients, choice=choices, content=st.binary(max_size=100))
    def upload_a_file(self, client: str, choice: int, content: bytes) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running":
            packed = archive_of("d", content)
            self.world.clients[client].upload_archive(sandbox.id, "/root/files", iter([packed]))
            sandbox.files["d"] = content

    @has_sandbox
    @rule(client=clients, choice=choices, old=st.sampled_from("abcd"), new=st.sampled_from("abcd"))
    def move_a_file(self, client: str, choice: int, old: str, new: str) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running" and old in sandbox.files and old != new:
            directory = "/root/files"
            self.world.clients[client].move(sandbox.id, f"{directory}/{old}", f"{directory}/{new}")
            sandbox.files[new] = sandbox.files.pop(old)

    @has_sandbox
    @rule(client=clients, choice=choices, name=st.sampled_from("abcd"))
    def remove_a_file(self, client: str, choice: int, name: str) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running" and name in sandbox.files:
            self.world.clients[client].remove(sandbox.id, f"/root/files/{name}")
            del sandbox.files[name]

    @has_sandbox
    @rule(choice=choices)
    def look_at_the_files(self, choice: int) -> None:
        """Every client sees the files as they were left, through whichever client."""
        sandbox = self.chosen(choice)
        if sandbox.state != "running":
            return
        for client in self.world.clients.values():
            client.make_dir(sandbox.id, "/root/files", parents=True)
            entries = client.list_dir(sandbox.id, "/root/files")
            sizes = {name: len(content) for name, content in sandbox.files.items()}
            assert {entry.name: entry.size for entry in entries} == sizes
            for name, content in sandbox.files.items():
                assert client.read_file(sandbox.id, f"/root/files/{name}") == content
                assert client.stat(sandbox.id, f"/root/files/{name}").type == "file"

    @has_sandbox
    @rule(choice=choices, method=st.sampled_from(["read_file", "stat", "list_dir", "remove"]))
    def ask_for_a_file_that_is_not_there(self, choice: int, method: str) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running":
            failure = self.fails(method, sandbox.id, "/no/where")
            assert (failure.kind, failure.reason) == (SandboxFileNotFoundError, "file_not_found")

    @rule(labels=st.booleans(), size=st.integers(1, 3))
    def list_the_sandboxes(self, labels: bool, size: int) -> None:
        """Every client sees the same ones, page by page, the oldest first."""
        wanted = [f"machine={self.label}", *(["kind=plain"] if labels else [])]
        expected = [(box.id, box.state) for box in self.sandboxes if box.name or not labels]
        for client in self.world.clients.values():
            found, token = [], ""
            while True:
                page = client.list_sandboxes(labels=wanted, page_size=size, page_token=token)
                found += [(info.id, info.status) for info in page.sandboxes]
                token = page.next_page_token
                if not token:
                    break
            assert found == expected

    @has_sandbox
    @rule(client=clients, choice=choices, seconds=st.integers(1000, 9000))
    def keep_it_alive(self, client: str, choice: int, seconds: int) -> None:
        sandbox = self.chosen(choice)
        expires_at = self.world.clients[client].keep_alive(sandbox.id, seconds)
        infos = {other.get_info(sandbox.id) for other in self.world.clients.values()}
        (info,) = infos
        assert (info.expires_at, info.name, info.status) == (expires_at, sandbox.name, sandbox.state)
        assert abs(expires_at - time.time() - seconds) < 60

    @has_sandbox
    @rule(choice=choices)
    def read_the_logs(self, choice: int) -> None:
        sandbox = self.chosen(choice)
        assert {client.get_logs(sandbox.id).output for client in self.world.clients.values()} == {b""}

    @has_sandbox
    @rule(choice=choices)
    def use_a_name_again(self, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.name:
            failure = self.fails("start_sandbox", name=sandbox.name)
            assert (failure.kind, failure.reason) == (AlreadyExistsError, "already_exists")

    @has_sandbox
    @rule(client=clients, choice=choices)
    def start_a_process(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state != "running":
            self.conflicts(sandbox, "running", "start_process", ["cat"])
        elif len(sandbox.processes) < MOST_PROCESSES:
            process_id = self.world.clients[client].start_process(sandbox.id, ["cat"], keep_stdin=True)
            sandbox.processes.append(Process(process_id))

    @has_sandbox
    @rule(client=clients, choice=choices)
    def write_to_a_process(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running" and sandbox.processes:
            process = sandbox.processes[choice % len(sandbox.processes)]
            text = f"text{next(self.numbers)}\n"
            self.world.clients[client].write_stdin(sandbox.id, process.id, text)
            process.received += text

    @has_sandbox
    @rule(client=clients, choice=choices)
    def end_the_input_of_a_process(self, client: str, choice: int) -> None:
        """What it prints is what was written to it, through whichever clients."""
        sandbox = self.chosen(choice)
        if sandbox.state == "running" and sandbox.processes:
            process = sandbox.processes.pop(choice % len(sandbox.processes))
            self.world.clients[client].write_stdin(sandbox.id, process.id, end=True)
            results = {
                name: other.wait_process(sandbox.id, process.id) for name, other in self.world.clients.items()
            }
            assert len(set(results.values())) == 1
            assert (results[client].stdout, results[client].exit_code) == (process.received, 0)
            failure = self.fails("write_stdin", sandbox.id, process.id, "more")
            assert (failure.kind, failure.detail) == (WrongStateError, "the process has ended")

    @has_sandbox
    @rule(choice=choices)
    def list_the_processes(self, choice: int) -> None:
        """Every client sees the same ones; how long they have been running differs."""
        sandbox = self.chosen(choice)
        expected = [] if sandbox.state == "stopped" else [process.id for process in sandbox.processes]
        deadline = time.monotonic() + 30
        for client in self.world.clients.values():
            running = None
            # They end with their sandbox, but are heard of one after the other.
            while running != expected:
                assert time.monotonic() < deadline, (running, expected)
                running = [info.process_id for info in client.list_processes(sandbox.id) if info.running]

    @has_sandbox
    @rule(choice=choices, method=st.sampled_from(sorted(OF_ONE_PROCESS)))
    def ask_for_a_process_that_is_not_there(self, choice: int, method: str) -> None:
        failure = self.fails(method, self.chosen(choice).id, "nothing", *OF_ONE_PROCESS[method])
        assert (failure.kind, failure.detail) == (ProcessNotFoundError, "there is no process nothing")

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
    @rule(choice=choices)
    def look_back(self, choice: int) -> None:
        sandbox = self.chosen(choice)
        histories = [client.get_metrics_history(sandbox.id) for client in self.world.clients.values()]
        # Whoever asks later may find one sample more.
        for former, later in pairwise(histories):
            assert later[: len(former)] == former
        times = [point.at for point in histories[-1]]
        assert times == sorted(times)
        assert times or sandbox.state == "stopped"

    @has_sandbox
    @rule(client=clients, choice=choices)
    def snapshot(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "stopped":
            self.conflicts(sandbox, "running or paused", "snapshot_sandbox")
            return
        result = self.world.clients[client].snapshot_sandbox(sandbox.id)
        assert result.snapshot_path not in self.snapshots
        self.snapshots[result.snapshot_path] = (list(sandbox.words), dict(sandbox.files))
        sandbox.state = "paused"

    @has_sandbox
    @rule(client=clients, choice=choices)
    def pause(self, client: str, choice: int) -> None:
        sandbox = self.chosen(choice)
        if sandbox.state == "running":
            self.world.clients[client].pause_sandbox(sandbox.id)
            sandbox.state = "paused"
        else:
            self.conflicts(sandbox, "running", "pause_sandbox")

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
        assert (failure.kind, failure.reason) == (SandboxNotFoundError, "sandbox_not_found")
        assert (failure.status_code, failure.grpc_status) == (404, "NOT_FOUND")
        assert failure.detail == f"there is no sandbox {sandbox_id}"

    @rule(sandbox_id=st.sampled_from(MALFORMED_IDS), method=st.sampled_from(OF_ONE_SANDBOX))
    def ask_for_what_is_no_id(self, sandbox_id: Any, method: str) -> None:
        failure = self.fails(method, sandbox_id, *self.more_arguments(method))
        assert (failure.kind, failure.reason) == (InvalidArgumentError, "invalid_argument")
        assert (failure.status_code, failure.grpc_status) == (None, None)

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
        return MORE_ARGUMENTS.get(method, ())

    def conflicts(self, sandbox: Sandbox, wanted: str, method: str, *arguments: Any) -> None:
        """Check that a call is refused for the state of the sandbox, which it leaves as it is."""
        failure = self.fails(method, sandbox.id, *arguments)
        # No sandbox here is halted: one that is stopped has ended by itself.
        how = ": its main process ended with exit status 0" if sandbox.state == "stopped" else ""
        detail = f"sandbox {sandbox.id} is {sandbox.state}{how}; this needs a sandbox that is {wanted}"
        assert failure == Failure(
            WrongStateError, "wrong_state", 409, "FAILED_PRECONDITION", detail, False, method, None
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
            max_examples=settings().max_examples // 8,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )

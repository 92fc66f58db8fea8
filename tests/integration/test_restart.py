"""What was acknowledged is there after an orchestrator has ended, by a kill or by SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from docker_engine import IMAGE, DockerEngine
from gate_servers import ALLOWED, DENIED, RESOLVE, web_server
from inside import wait_until
from served import Serving, serve

from flash_sandbox import ConflictError, HTTPClient, SandboxAPI, SandboxNotFoundError
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime
from flash_sandbox.orchestrator.state.schema import MIGRATIONS

PRINTING = "echo printed; exec tail -f /dev/null"


Kind = tuple[str, str, dict[str, str]]
"""Name of a runtime, an image of it, and variables of the orchestrator."""


def is_gone(client: SandboxAPI, sandbox_id: str) -> bool:
    with suppress(SandboxNotFoundError):
        client.get_status(sandbox_id)
        return False
    return True


@dataclass(frozen=True)
class Survivor:
    """A runtime whose sandboxes outlive their orchestrator.

    Attributes:
        type: Name of the runtime.
        image: What sandboxes are started from.
        environment: Variables of the orchestrator.
        state_dir: State directory of all orchestrators.
        signal: What ends them.
    """

    type: str
    image: str
    environment: dict[str, str]
    state_dir: Path
    signal: signal.Signals

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[Serving, HTTPClient]]:
        """Run an orchestrator."""
        options: dict[str, Any] = {"limits": "best-effort", "environment": self.environment}
        with (
            serve(self.state_dir, *arguments, **options) as serving,
            HTTPClient(address=serving.http) as client,
        ):
            yield serving, client

    @contextmanager
    def last(self, *arguments: str) -> Iterator[HTTPClient]:
        """Run an orchestrator that ends all sandboxes at its end."""
        with self.serving("--end-sandboxes", *arguments) as (serving, client):
            try:
                yield client
            finally:
                serving.process.terminate()
                serving.process.wait(20)

    def start(self, client: HTTPClient, **options: Any) -> str:
        return client.start_sandbox(self.type, self.image, memory_mb=128, **options)

    def end(self, serving: Serving) -> None:
        """End an orchestrator."""
        serving.process.send_signal(self.signal)
        serving.process.wait(20)


@pytest.fixture(params=["docker", "gvisor"])
def kind(request: pytest.FixtureRequest, need: Callable[..., None], tmp_path: Path) -> Kind:
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine")
        return "docker", "busybox:latest", {"DOCKER_HOST": engine.host}
    found = asyncio.run(GvisorRuntime(tmp_path).check())
    need("gvisor", None if found.available else found.detail)
    return "gvisor", "host", {}


@pytest.fixture(params=["SIGKILL", "SIGTERM"])
def survivor(request: pytest.FixtureRequest, kind: Kind, tmp_path: Path) -> Survivor:
    return Survivor(*kind, tmp_path / "state", signal.Signals[request.param])


class TestAfterTheEnd:
    def test_complaint_5_a_restart_loses_no_sandbox_and_nothing_known_of_it(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            one = survivor.start(client, name="kept", labels={"a": "b"}, ttl_seconds=600)
            client.keep_alive(one, 300)
            other = survivor.start(client)
            known = [client.get_info(one), client.get_info(other)]
            survivor.end(serving)
        with survivor.last() as client:
            assert list(client.list_sandboxes().sandboxes) == known
            assert client.exec_command(one, ["echo", "on it goes"]).stdout == "on it goes\n"
            with pytest.raises(ConflictError, match="named 'kept'"):
                survivor.start(client, name="kept")

    def test_a_deadline_is_kept(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            prolonged = survivor.start(client, ttl_seconds=5)
            client.keep_alive(prolonged, 600)
            due = survivor.start(client, ttl_seconds=600)
            overdue = survivor.start(client, ttl_seconds=600)
            client.keep_alive(overdue, 0.5)
            deadline = client.keep_alive(due, 5)
            survivor.end(serving)
        time.sleep(0.5)
        with survivor.last() as client:
            at_least = time.time()
            wait_until(lambda: is_gone(client, overdue), "the end of what was due meanwhile", 20)
            while not is_gone(client, due):
                assert time.time() < max(deadline, at_least) + 20
            assert time.time() >= deadline
            assert client.get_status(prolonged) == "running"

    def test_one_that_is_idle_is_seen_to_by_the_next_orchestrator(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            one = survivor.start(client, idle_timeout=2, on_idle="pause", auto_resume=True)
            client.write_file(one, "/tmp/file", b"kept")
            survivor.end(serving)
        with survivor.last() as client:
            assert client.get_info(one).idle_timeout == 2
            wait_until(lambda: client.get_status(one) == "paused", "it to be paused")
            assert client.read_file(one, "/tmp/file") == b"kept"

    def test_the_time_of_one_that_was_used_is_kept(self, survivor: Survivor) -> None:
        with survivor.serving("--default-ttl", "600") as (serving, client):
            one = survivor.start(client)
            before = client.get_info(one).expires_at
            time.sleep(0.2)
            client.exec_command(one, ["true"])
            used = client.get_info(one).expires_at
            assert used >= before + 0.2
            survivor.end(serving)
        with survivor.last("--default-ttl", "600") as client:
            found = client.get_info(one).expires_at
            assert found == used if survivor.signal == signal.SIGTERM else before <= found <= used
            client.exec_command(one, ["true"])
            assert client.get_info(one).expires_at > used

    def test_what_is_kept_after_its_end_is_kept(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            one = survivor.start(client, command=["sh", "-c", PRINTING])
            wait_until(lambda: client.get_logs(one).output, "its output")
            client.stop_sandbox(one, cleanup=False)
            survivor.end(serving)
        with survivor.last() as client:
            assert client.get_status(one) == "stopped"
            assert client.get_logs(one).output == b"printed\n"
            client.keep_alive(one, 0.2)
            wait_until(lambda: is_gone(client, one), "its end")

    def test_what_was_printed_meanwhile_is_not_lost(self, survivor: Survivor) -> None:
        script = "n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo line $n; sleep 0.05; done; " + PRINTING
        with survivor.serving() as (serving, client):
            one = survivor.start(client, command=["sh", "-c", script])
            wait_until(lambda: b"line 3\n" in client.get_logs(one).output, "some output")
            survivor.end(serving)
        time.sleep(0.5)
        with survivor.last() as client:
            wait_until(lambda: client.get_logs(one).output.endswith(b"printed\n"), "the rest of it")
            expected = "".join(f"line {number}\n" for number in range(1, 41)) + "printed\n"
            assert client.get_logs(one).text == expected

    def test_programs_go_on(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            one = survivor.start(client)
            echo = client.start_process(one, ["cat"], keep_stdin=True)
            client.write_stdin(one, echo, b"before\n")
            wait_until(lambda: printed(client, one, echo) == b"before\n", "its output")
            ended = client.start_process(one, ["sh", "-c", "echo last words; exit 3"])
            client.wait_process(one, ended)
            known = client.list_processes(one)
            assert [(info.process_id, info.running) for info in known] == [(echo, True), (ended, False)]
            survivor.end(serving)
        with survivor.last() as client:
            going_on, over = client.list_processes(one)
            assert (replace(going_on, duration_ms=known[0].duration_ms), over) == known
            client.write_stdin(one, echo, b"after\n", end=True)
            assert client.wait_process(one, echo).stdout == "before\nafter\n"
            result = client.wait_process(one, ended)
            assert (result.stdout, result.exit_code) == ("last words\n", 3)

    def test_a_paused_one_stays_paused(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            paused, saved = survivor.start(client), survivor.start(client)
            client.pause_sandbox(paused)
            client.snapshot_sandbox(saved)
            survivor.end(serving)
        with survivor.last() as client:
            for one in (paused, saved):
                assert client.get_status(one) == "paused"
                client.resume_sandbox(one)
                assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"

    def test_a_start_that_is_repeated_finds_the_sandbox_of_the_first(self, survivor: Survivor) -> None:
        start = {"type": survivor.type, "image": survivor.image, "memory_mb": 128}
        with survivor.serving() as (serving, client):
            one = start_with_key(serving, start)
            survivor.end(serving)
        with survivor.serving("--end-sandboxes") as (serving, client):
            assert start_with_key(serving, start) == one
            assert [info.id for info in client.list_sandboxes().sandboxes] == [one]
            serving.process.terminate()
            serving.process.wait(20)

    def test_events_are_one_sequence(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            with client.watch_events() as events:
                one = survivor.start(client)
                seen = [next(events), next(events)]
            client.pause_sandbox(one)
            client.resume_sandbox(one)
            survivor.end(serving)
        with survivor.last() as client:
            with client.watch_events(seen[-1].token) as events:
                seen += [next(events) for _ in range(3)]
                client.stop_sandbox(one)
                seen.append(next(events))
            told = ["created", "running", "paused", "running", "running", "removed"]
            assert [(event.type, event.id) for event in seen] == [(type, one) for type in told]
            places = [int(event.token.rpartition("-")[2]) for event in seen]
            assert places == list(range(places[0], places[0] + len(seen)))

    def test_what_ended_before_is_told_of(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            exited = survivor.start(client, command=["sh", "-c", "echo last; exit 5"])
            wait_until(lambda: client.get_status(exited) == "stopped", "its end")
            client.stop_sandbox(exited)
            stopped = survivor.start(client)
            client.stop_sandbox(stopped)
            known = list(client.sandboxes(status="ended"))
            survivor.end(serving)
        with survivor.last() as client:
            assert list(client.sandboxes(status="ended")) == known
            assert [(info.exit_code, info.end_cause) for info in known] == [(5, "exited"), (0, "stopped")]
            assert client.get_logs(exited).output == b"last\n"

    def test_a_database_of_the_version_before_is_gone_on_with(self, survivor: Survivor) -> None:
        with survivor.serving() as (serving, client):
            one = survivor.start(client, name="kept", ttl_seconds=600)
            info = client.get_info(one)
            survivor.end(serving)
        make_first_version(survivor.state_dir)
        with survivor.last() as client:
            assert client.get_info(one) == info
            assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"


def make_first_version(state_dir: Path) -> None:
    """Make the database of a state directory what version 1 of its schema would have written."""
    with closing(sqlite3.connect(state_dir / "state.db")) as database:
        tables = ("facts", "sandboxes", "events")
        content = {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
        names = {
            table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")] for table in tables
        }
    for path in state_dir.glob("state.db*"):
        path.unlink()
    with closing(sqlite3.connect(state_dir / "state.db")) as database:
        database.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1; DELETE FROM facts")
        for table in tables:
            kept = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            places = [names[table].index(name) for name in kept]
            marks = ", ".join("?" * len(kept))
            rows = [[row[place] for place in places] for row in content[table]]
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        database.commit()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_microvms_outlive_it_as_containers_do(
    docker_engine: DockerEngine, tmp_path: Path, number: signal.Signals
) -> None:
    environment = {"DOCKER_HOST": docker_engine.host}
    survivor = Survivor("firecracker", IMAGE, environment, tmp_path / "state", number)
    with survivor.serving() as (serving, client):
        one = survivor.start(client)
        process = client.start_process(one, ["sleep", "900"])
        survivor.end(serving)
    with survivor.last() as client:
        assert [info.process_id for info in client.list_processes(one) if info.running] == [process]


@pytest.mark.parametrize(("number", "cause"), [(signal.SIGKILL, "shutdown"), (signal.SIGTERM, "shutdown")])
def test_bubblewrap_sandboxes_end_with_their_orchestrator_and_are_told_of(
    limits: str, tmp_path: Path, number: signal.Signals, cause: str
) -> None:
    with serve(tmp_path / "state", limits=limits) as serving, HTTPClient(address=serving.http) as client:
        with client.watch_events() as events:
            one = client.start_sandbox("bubblewrap", "host", memory_mb=64, name="gone")
            token = [next(events), next(events)][-1].token
        serving.process.send_signal(number)
        serving.process.wait(20)
    with serve(tmp_path / "state", limits=limits) as serving, HTTPClient(address=serving.http) as client:
        info = client.get_info(one)
        assert (info.status, info.end_cause, info.name, info.image) == ("ended", cause, "gone", "host")
        assert client.list_sandboxes().sandboxes == ()
        with client.watch_events(token) as events:
            assert next(events).type == "removed"


def test_serve_ends_its_sandboxes_if_that_is_asked(survivor: Survivor) -> None:
    with survivor.serving("--end-sandboxes") as (serving, client):
        survivor.start(client)
        serving.process.terminate()
        assert serving.process.wait(20) == 0
    with survivor.last() as client:
        assert client.list_sandboxes().sandboxes == ()


def start_with_key(serving: Serving, fields: dict[str, object]) -> str:
    """Start a sandbox with an idempotency key, as a client repeats a start whose answer was lost."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": "one-start"}
    request = urllib.request.Request(f"{serving.http}/sandboxes", json.dumps(fields).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["id"])


def printed(client: HTTPClient, sandbox: str, process: str) -> bytes:
    with client.follow_process(sandbox, process, follow=False) as frames:
        return b"".join(frame.data for frame in frames)


def test_network_policy_holds_on(survivor: Survivor) -> None:
    names = [f"--resolve={name}" for name in RESOLVE]
    with web_server() as web:
        policy = {"network": "policy", "network_allow": [f"{ALLOWED}:{web}"]}
        with survivor.serving(*names) as (serving, client):
            sandboxes = [survivor.start(client, **policy), survivor.start(client)]
            client.set_network(sandboxes[1], **policy)
            survivor.end(serving)
        with survivor.last(*names) as client:
            for sandbox in sandboxes:
                for name, reached in ((ALLOWED, True), (DENIED, False)):
                    url = f"http://{name}:{web}/"
                    result = client.exec_command(sandbox, f"wget -qO- {url} || curl -sS {url}")
                    assert result.stdout.startswith("hello") is reached, result

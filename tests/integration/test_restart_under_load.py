"""An orchestrator is ended at random points; what it has acknowledged exists afterwards, and nothing else."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from docker_engine import DockerEngine
from served import Serving
from test_restart import Kind, Survivor, kind

from flash_sandbox import HTTPClient, SandboxClient, SandboxError
from flash_sandbox.models import Event

__all__ = ["kind"]

Client = HTTPClient | SandboxClient


@dataclass
class Work:
    """What was asked for, and what was acknowledged, by many threads over many orchestrators.

    Attributes:
        survivor: The runtime.
        asked: Names of the sandboxes whose start was asked for.
        started: Sandboxes whose start was acknowledged, by ID.
        stopping: Those whose stop was asked for.
        stopped: Those whose stop was acknowledged.
        programs: Programs whose start was acknowledged, with their sandboxes.
        snapshots: Those that were acknowledged.
        events: Those that were told of, in their order.
        failures: What no end of an orchestrator explains.
        ends: How many orchestrators have been ended.
    """

    survivor: Survivor
    seed: int
    asked: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    stopping: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    programs: set[tuple[str, str]] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    ends: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def live(self) -> list[str]:
        return sorted(self.started - self.stopping)

    def start(self, client: Client) -> None:
        name = f"sandbox-{len(self.asked)}"
        self.asked.add(name)
        self.started.add(self.survivor.start(client, name=name, ttl_seconds=900))

    def stop(self, client: Client) -> None:
        if len(self.live()) > 1:
            one = self.random.choice(self.live())
            self.stopping.add(one)
            client.stop_sandbox(one)
            self.stopped.add(one)

    def run(self, client: Client) -> None:
        if self.live():
            one = self.random.choice(self.live())
            self.programs.add((one, client.start_process(one, ["sleep", "900"])))

    def snapshot(self, client: Client) -> None:
        if len(self.live()) > 2:
            one = self.live()[0]
            self.snapshots.add(client.snapshot_sandbox(one).snapshot_path)
            client.resume_sandbox(one)

    def watch(self, client: Client) -> None:
        """Follow events from where this was, to the end of the orchestrator."""
        with client.watch_events(self.events[-1].token if self.events else None) as events:
            for event in events:
                self.events.append(event)

    def again_and_again(self, serving: Serving, transport: str, step: Callable[[Client], None]) -> None:
        """Do a step until the orchestrator has ended."""
        with serving.client(transport) as client:
            patient = client.with_options(max_retries=0)
            try:
                while serving.process.poll() is None:
                    # What another thread does meanwhile may make a step a conflict.
                    with suppress(SandboxError):
                        step(patient)
            except BaseException as error:
                self.failures.append(error)

    def go_on(self, serving: Serving, seconds: float) -> None:
        """Do all steps at the same time, until the orchestrator is ended under them.

        Each goes over the other transport than the last time.
        """
        self.ends += 1
        steps = (self.start, self.start, self.stop, self.run, self.snapshot, self.watch)
        threads = [
            threading.Thread(
                target=self.again_and_again,
                args=(serving, ("http", "grpc")[(number + self.ends) % 2], step),
                daemon=True,
            )
            for number, step in enumerate(steps)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.survivor.end(serving)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self.failures

    def check(self, client: Client) -> None:
        """Fail unless all that was acknowledged is there, and nothing else."""
        found = {info.id: info for info in client.sandboxes()}
        assert set(self.live()) <= found.keys()
        assert not self.stopped & found.keys()
        # Of an answer that was lost nobody knows whether it was given.
        assert {info.name for info in found.values()} <= self.asked
        assert len(found) - len(self.live()) <= 2 + len(self.stopping - self.stopped)
        places = {"docker": "containers/docker/agents", "gvisor": "gvisor/sandboxes"}
        directory = self.survivor.state_dir / places[self.survivor.type]
        assert {path.name for path in directory.glob("[!.]*")} == found.keys()
        # Whose stop was not acknowledged and has not been.
        self.stopping -= found.keys()
        self.started |= found.keys()
        known = len(self.programs)
        for one in found:
            if client.get_status(one) == "paused":
                client.resume_sandbox(one)
            assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"
            programs = {info.process_id for info in client.list_processes(one) if info.running}
            assert {program for sandbox, program in self.programs if sandbox == one} <= programs
            self.programs |= {(one, program) for program in programs}
        unknown = len(self.programs) - known
        assert unknown <= 1, "each end loses the answer of one call at most"
        snapshots = {info.snapshot_path for info in client.list_snapshots()}
        assert self.snapshots <= snapshots
        assert len(snapshots - self.snapshots) <= 1
        assert {str(path) for path in (self.survivor.state_dir / "snapshots").iterdir()} == snapshots
        self.snapshots = snapshots
        places = [int(event.token.rpartition("-")[2]) for event in self.events]
        assert places == list(range(places[0], places[0] + len(places))) if places else True

    def check_engine(self, client: Client, engine: DockerEngine) -> None:
        """Fail unless the engine has what belongs to the sandboxes and snapshots, and no more."""
        owner = (self.survivor.state_dir / "containers/docker/owner").read_text()
        found = [one["Labels"]["flash-sandbox.sandbox"] for one in engine.containers(owner=owner)]
        assert sorted(found) == sorted(info.id for info in client.sandboxes())
        images = engine.call("GET", "/images/json")
        kept = [image for image in images if (image["Labels"] or {}).get("flash-sandbox.snapshot") == owner]
        assert len(kept) == len(client.list_snapshots())

    def check_database(self) -> None:
        """Fail where the file is damaged. No orchestrator runs now."""
        with closing(sqlite3.connect(self.survivor.state_dir / "state.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def points(request: pytest.FixtureRequest) -> int:
    return 50 if request.config.getoption("--hypothesis-profile") == "long" else 5


@pytest.mark.timeout(1800)
def test_what_was_acknowledged_exists_and_nothing_else(
    kind: Kind, points: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue("docker_engine") if kind[0] == "docker" else None
    work = Work(Survivor(*kind, tmp_path / "state", signal.SIGKILL), seed=7)
    for point in range(points):
        number = (signal.SIGKILL, signal.SIGTERM)[point % 2]
        work.survivor = Survivor(*kind, tmp_path / "state", number)
        with work.survivor.serving() as (serving, _):
            with serving.client(("http", "grpc")[point % 2]) as client:
                work.check(client)
                if engine is not None:
                    work.check_engine(client, engine)
            work.go_on(serving, work.random.uniform(1, 4))
        work.check_database()
    with work.survivor.last() as client:
        work.check(client)
        assert work.programs
        for one in work.live():
            client.stop_sandbox(one)
        assert client.list_sandboxes().sandboxes == ()
    print(
        f"{points} points: {len(work.started)} sandboxes, {len(work.programs)} programs, "
        f"{len(work.snapshots)} snapshots, {len(work.events)} events"
    )

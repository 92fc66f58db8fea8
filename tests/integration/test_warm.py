"""Sandboxes that were made beforehand: each is handed out once, to a start that asks for the same."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker_engine as docker
import pytest
from inside import wait_until
from layouts import busybox, busybox_layer, entry, tar_bytes
from served import serve
from test_lifecycle import Client, connect

from flash_sandbox import AtCapacityError, UnavailableError
from flash_sandbox.models import ExecRequest, StartRequest
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.core.sandboxes import Sandbox
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.core.warm import WarmPool, WarmPools
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime
from flash_sandbox.orchestrator.snapshots.store import Snapshots

WARM = 2


def measured(address: str, name: str) -> float:
    """Return the sum of a metric, over all its labels."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(rf"^flash_sandbox_warm_{name}[{{ ,].*?(\S+)$", text, re.M)))


def wait_for_ready(address: str, number: int) -> None:
    wait_until(lambda: measured(address, "ready") == number, f"{number} sandboxes to wait", 60)


HITS = r'starts_total{image="[^"]*",outcome="hit"'


@dataclass(frozen=True)
class Warm:
    """An orchestrator whose pool is full.

    Attributes:
        orchestrator: The orchestrator.
        type: The runtime of the pool.
        image: The image of the pool.
    """

    orchestrator: Orchestrator
    type: str
    image: str


@pytest.fixture(scope="module", params=["bubblewrap", "docker", "gvisor"])
def kind(
    request: pytest.FixtureRequest, need: Callable[[str, str | None], None], tmp_path_factory: Any
) -> Any:
    """Return a runtime that this host has, an image of it, and variables of the orchestrator."""
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine")
        return "docker", docker.IMAGE, {"DOCKER_HOST": engine.host}
    if request.param == "gvisor":
        found = asyncio.run(GvisorRuntime(tmp_path_factory.mktemp("gvisor")).check())
        need("gvisor", None if found.available else found.detail)
    return request.param, "host", {}


@contextmanager
def warm_orchestrator(kind: tuple[str, str, dict[str, str]], **options: Any) -> Iterator[Warm]:
    type, image, environment = kind
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with running_orchestrator(warm={f"{type}:{image}": WARM}, **options) as running:
            yield Warm(running, type, image)


@pytest.fixture(scope="module")
def warm(kind: tuple[str, str, dict[str, str]], limits: Limits) -> Iterator[Warm]:
    with warm_orchestrator(kind, limits=limits, registries=["docker.io", "127.0.0.1:*"]) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, warm: Warm) -> Iterator[Client]:
    wait_for_ready(warm.orchestrator.http_address, WARM)
    with connect(request.param, warm.orchestrator) as connected:
        yield connected


class TestOverTheWire:
    def test_one_is_as_if_it_were_made_for_its_start(self, client: Client, warm: Warm) -> None:
        address = warm.orchestrator.http_address
        before = measured(address, HITS)
        with client.watch_events() as events:
            # Nobody sees those that wait.
            assert client.list_sandboxes().sandboxes == ()
            one = client.start_sandbox(
                warm.type, warm.image, name="given", labels={"a": "b"}, ttl_seconds=900
            )
            info = client.get_info(one)
            assert (info.status, info.name, info.labels) == ("running", "given", ("a=b",))
            assert 0 <= info.expires_at - info.created_at - 900 < 5
            assert client.exec_command(one, ["hostname"]).stdout == f"{one}\n"
            assert client.exec_command(one, "echo $HOSTNAME").stdout == f"{one}\n"
            assert client.get_metrics(one).pids_current >= 1
            client.write_file(one, "/tmp/mine", b"mine")
            client.stop_sandbox(one)
            assert client.list_sandboxes().sandboxes == ()
            seen = [next(events) for _ in range(3)]
        assert measured(address, HITS) == before + 1
        assert [(event.type, event.id) for event in seen] == [
            ("created", one),
            ("running", one),
            ("removed", one),
        ]

    def test_each_is_handed_out_once_and_replaced(self, client: Client, warm: Warm) -> None:
        started = [client.start_sandbox(warm.type, warm.image) for _ in range(WARM + 1)]
        assert len(set(started)) == len(started)
        for one in started:
            assert client.exec_command(one, ["sh", "-c", "ls /tmp; touch /tmp/mine"]).stdout == ""
        wait_for_ready(warm.orchestrator.http_address, WARM)
        for one in started:
            client.stop_sandbox(one)

    def test_a_start_that_asks_for_something_else_has_its_own(self, client: Client, warm: Warm) -> None:
        address = warm.orchestrator.http_address
        before = measured(address, "starts_total")
        for options in (
            {"memory_mb": 128},
            {"cpu_cores": 0.5},
            {"command": ["sleep", "9390"]},
            {"env": {"A": "1"}},
            *([{"disk_mb": 8}] if warm.type == "bubblewrap" else []),
        ):
            one = client.start_sandbox(warm.type, warm.image, **options)
            info = client.get_info(one)
            assert info.disk_mb == options.get("disk_mb", 0)
            assert (info.memory_mb == 128, info.env == ("A=1",)) == ("memory_mb" in options, "env" in options)
            client.stop_sandbox(one)
        assert measured(address, "starts_total") == before
        assert measured(address, "ready") == WARM


class TestEnds:
    def test_they_end_with_the_orchestrator(
        self, kind: tuple[str, str, dict[str, str]], tmp_path: Path, limits: Limits
    ) -> None:
        options: dict[str, Any] = {"state_dir": tmp_path, "limits": limits, "end_sandboxes": False}
        with warm_orchestrator(kind, registries=["docker.io", "127.0.0.1:*"], **options) as running:
            wait_for_ready(running.orchestrator.http_address, WARM)
            assert left(kind, tmp_path)
        assert not left(kind, tmp_path)

    def test_the_next_orchestrator_removes_those_of_one_that_was_killed(
        self, kind: tuple[str, str, dict[str, str]], tmp_path: Path
    ) -> None:
        type, image, environment = kind
        options: dict[str, Any] = {"limits": "best-effort", "environment": environment}
        state = tmp_path / "state"
        with serve(state, "--warm", f"{type}:{image}={WARM}", **options) as serving:
            wait_for_ready(serving.http, WARM)
            serving.process.kill()
        assert type == "bubblewrap" or left(kind, state)
        with serve(state, **options) as serving, serving.client("http") as client:
            wait_until(lambda: not left(kind, state), "them to be removed")
            assert client.list_sandboxes().sandboxes == ()
            assert client.list_sandboxes(status="ended").sandboxes == ()


def left(kind: tuple[str, str, dict[str, str]], state_dir: Path) -> list[str]:
    """Return what there is of sandboxes of a state directory."""
    type, _, _ = kind
    if type == "docker":
        agents = state_dir / "containers" / "docker" / "agents"
        return [path.name for path in agents.glob("[!.]*")]
    directory = state_dir / "sandboxes" if type == "bubblewrap" else state_dir / "gvisor" / "sandboxes"
    return [path.name for path in directory.iterdir()] if directory.exists() else []


class TestCapacity:
    @pytest.fixture
    def small(self, limits: Limits) -> Iterator[Orchestrator]:
        with running_orchestrator(limits=limits, warm={"bubblewrap:host": 3}, max_sandboxes=2) as running:
            yield running

    @pytest.fixture(params=["http", "grpc"])
    def client(self, request: pytest.FixtureRequest, small: Orchestrator) -> Iterator[Client]:
        with connect(request.param, small) as connected:
            yield connected.with_options(max_retries=0)

    def test_those_that_wait_take_no_more_room_than_there_is(
        self, client: Client, small: Orchestrator
    ) -> None:
        wait_for_ready(small.http_address, 2)
        client.start_sandbox("bubblewrap", memory_mb=64)
        wait_for_ready(small.http_address, 1)
        # Starts come first.
        one = client.start_sandbox("bubblewrap", memory_mb=64)
        wait_for_ready(small.http_address, 0)
        with pytest.raises(AtCapacityError):
            client.start_sandbox("bubblewrap")
        client.stop_sandbox(one)
        wait_for_ready(small.http_address, 1)
        assert client.start_sandbox("bubblewrap")


@asynccontextmanager
async def warm_service(
    directory: Path, limits: Limits, image: str = "host", **options: Any
) -> AsyncIterator[Any]:
    runtime = BubblewrapRuntime(directory, limits=limits)
    snapshots = Snapshots(directory / "snapshots")
    service = SandboxService({"bubblewrap": runtime}, snapshots, warm={image: WARM}, **options)
    await service.open()
    try:
        yield service, runtime
    finally:
        await service.close()


async def full(service: SandboxService) -> None:
    await asyncio.to_thread(
        wait_until, lambda: len(service.warm.pools[0].ready) == WARM, "the sandboxes to be made beforehand"
    )


async def said(service: SandboxService, sandbox_id: str, *command: str) -> str:
    return (await service.exec_command(ExecRequest(sandbox_id, command))).stdout


class TestReplacing:
    async def test_one_that_has_ended_is_not_handed_out(self, tmp_path: Path, limits: Limits) -> None:
        async with warm_service(tmp_path, limits) as (service, runtime):
            await full(service)
            waiting = [sandbox.id for sandbox in service.warm.pools[0].ready]
            pids = [runtime._sandbox(one).init for one in waiting]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            # The event loop has heard of none of it.
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "them to end")
            one = (await service.start_sandbox(StartRequest())).id
            assert await said(service, one, "echo", "alive") == "alive\n"
            await full(service)
            assert not {sandbox.id for sandbox in service.warm.pools[0].ready} & set(waiting)
            await asyncio.to_thread(
                wait_until, lambda: len(runtime._sandboxes) == WARM + 1, "the others to be removed"
            )

    async def test_an_image_that_has_changed_is_seen(
        self, tmp_path: Path, limits: Limits, need: Callable[[str, str | None], None]
    ) -> None:
        need("busybox", None if busybox() else "there is no static busybox")
        image = tmp_path / "rootfs" / "small.tar"
        image.parent.mkdir()
        image.write_bytes(tar_bytes([*busybox_layer(), entry("etc/motd", content=b"old")]))
        async with warm_service(tmp_path, limits, str(image)) as (service, _):
            await full(service)
            other = image.with_name("other")
            other.write_bytes(tar_bytes([*busybox_layer(), entry("etc/motd", content=b"new")]))
            other.rename(image)
            for _ in range(2 * WARM):
                one = (await service.start_sandbox(StartRequest(image=str(image)))).id
                assert await said(service, one, "cat", "/etc/motd") == "new"

    async def test_an_image_that_cannot_be_had_is_told_of_and_holds_nobody_up(
        self, tmp_path: Path, limits: Limits
    ) -> None:
        told: asyncio.Queue[object] = asyncio.Queue()

        def log(name: str, **fields: object) -> None:
            told.put_nowait(fields.get("error"))

        async with warm_service(tmp_path, limits, "/nowhere", log=log) as (service, _):
            assert "/nowhere" in str(await asyncio.wait_for(told.get(), 10))
            one = (await service.start_sandbox(StartRequest())).id
            assert await said(service, one, "echo", "alive") == "alive\n"


async def test_starts_go_before_the_filling_of_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flash_sandbox.orchestrator.core.warm._MOST_REST_SECONDS", 60.0)
    looks = iter([True, True, True, False])
    left_when_made: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()

    async def make(pool: WarmPool) -> Sandbox:
        left_when_made.set_result(list(looks))
        raise UnavailableError("that will do")

    async def end(sandbox: Sandbox) -> None:
        raise AssertionError

    pools = WarmPools([WarmPool("auto", "host", 1)], make, end, lambda: next(looks), lambda: None)
    pools.open()
    try:
        assert await left_when_made == []
    finally:
        await pools.close()


@pytest.mark.parametrize(
    ("name", "type", "image"),
    [
        ("host", "auto", "host"),
        ("python:3.12", "auto", "python:3.12"),
        ("gvisor:python:3.12", "gvisor", "python:3.12"),
        ("docker:alpine@sha256:0a", "docker", "alpine@sha256:0a"),
        ("docker.io/library/docker:27", "auto", "docker.io/library/docker:27"),
        ("docker:", "docker", ""),
    ],
)
def test_a_pool_is_named_by_its_image_and_perhaps_its_runtime(name: str, type: str, image: str) -> None:
    pool = WarmPool.parse(name, 3)
    assert (pool.type, pool.image, pool.size) == (type, image, 3)


@pytest.mark.parametrize("argument", ["host", "host=", "=3", "host=-1", "host=0", "host=x"])
def test_a_pool_that_is_none_is_refused(argument: str, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"\[RUNTIME:\]IMAGE=N|at least 1 sandbox"),
        serve(tmp_path / "state", "--warm", argument, limits="best-effort"),
    ):
        pass

"""What is particular to the docker runtime: how hardened it is, its images, and that it leaves nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from docker_engine import IMAGE, DockerEngine, missing, running_engine
from inside import begin, run_in, wait_until

from flash_sandbox import (
    HTTPClient,
    InvalidArgumentError,
    Reason,
    RuntimeUnavailableError,
    SandboxNotFoundError,
    UnavailableError,
    UnsupportedError,
)
from flash_sandbox.models import StartRequest, StopRequest
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.core.service import SandboxService
from flash_sandbox.orchestrator.linux import privileges
from flash_sandbox.orchestrator.runtimes.docker.api import Engine
from flash_sandbox.orchestrator.runtimes.docker.runtime import DockerRuntime
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database

REGISTRY = "127.0.0.1:5071"
REGISTRY_CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: {address}}}
"""


@pytest.fixture(scope="module")
def client(docker_orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=docker_orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox_id(client: HTTPClient) -> Iterator[str]:
    sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=96, cpu_cores=0.25)
    yield sandbox_id
    client.stop_sandbox(sandbox_id)


@pytest.fixture
async def runtime(docker_engine: DockerEngine, tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(tmp_path, host=docker_engine.host)
    await runtime.open()
    await runtime.adopt()
    yield runtime
    await runtime.close()


def snapshot_images(engine: DockerEngine, tmp_path: Path) -> list[dict[str, object]]:
    """Return the images that the engine keeps for the snapshots of a state directory, named or not."""
    owner = (tmp_path / "containers/docker/owner").read_text()
    images = engine.call("GET", "/images/json")
    return [image for image in images if (image["Labels"] or {}).get("flash-sandbox.snapshot") == owner]


def containers(engine: DockerEngine, tmp_path: Path) -> list[dict[str, object]]:
    """Return the containers of the runtime in a directory."""
    return engine.containers(owner=(tmp_path / "containers/docker/owner").read_text())


@pytest.fixture(scope="module")
def registry(docker_engine: DockerEngine, need, tmp_path_factory) -> Iterator[str]:
    """Run a registry beside the engine, with a small image of its own in it."""
    absent = shutil.which("docker-registry") is None
    need("docker", "there is no docker-registry (apt-get install docker-registry)" if absent else None)
    directory = tmp_path_factory.mktemp("registry")
    configuration = directory / "config.yml"
    configuration.write_text(REGISTRY_CONFIGURATION.format(directory=directory, address=REGISTRY))
    command = docker_engine.in_network("docker-registry", "serve", str(configuration))
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            name = f"{REGISTRY}/team/tool"
            docker_engine.call("POST", f"/images/{IMAGE}/tag", params={"repo": name, "tag": "latest"})
            wait_until(lambda: pushed(docker_engine, name), "the registry to take an image")
            docker_engine.call("DELETE", f"/images/{name}:latest")
            yield name
        finally:
            process.terminate()


class TestHardening:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Memory", 96 * 1024 * 1024),
            ("MemorySwap", 96 * 1024 * 1024),
            ("NanoCpus", 250_000_000),
            ("PidsLimit", 512),
            ("CapAdd", list(privileges.CAPABILITIES)),
            ("CapDrop", ["ALL"]),
            ("SecurityOpt", ["no-new-privileges"]),
            ("Privileged", False),
            ("Init", False),
            ("LogConfig", {"Type": "none", "Config": {}}),
            ("NetworkMode", "none"),
            ("IpcMode", "private"),
            ("CgroupnsMode", "private"),
            ("PidMode", ""),
            ("Binds", None),
            ("Devices", None),
            ("RestartPolicy", {"Name": "no", "MaximumRetryCount": 0}),
        ],
    )
    def test_the_engine_enforces(
        self, docker_engine: DockerEngine, sandbox_id: str, name: str, value: object
    ) -> None:
        assert docker_engine.inspect(sandbox_id)["HostConfig"][name] == value

    def test_nothing_of_the_host_is_mounted_but_the_agents_directory(
        self, docker_engine: DockerEngine, client: HTTPClient, sandbox_id: str
    ) -> None:
        (mount,) = docker_engine.inspect(sandbox_id)["Mounts"]
        assert (mount["Destination"], mount["RW"]) == ("/dev/.flash-sandbox", False)
        assert sorted(os.listdir(mount["Source"])) == ["agent"]
        script = "echo x > /dev/.flash-sandbox/agent || rm -f /dev/.flash-sandbox/agent || echo denied"
        assert client.exec_command(sandbox_id, ["sh", "-c", script]).stdout == "denied\n"

    def test_the_container_bears_its_owner_and_its_id(
        self, docker_engine: DockerEngine, sandbox_id: str
    ) -> None:
        labels = docker_engine.inspect(sandbox_id)["Config"]["Labels"]
        assert (labels["flash-sandbox.sandbox"], labels["flash-sandbox.runtime"]) == (sandbox_id, "docker")
        assert len(labels["flash-sandbox.owner"]) == 32

    @pytest.mark.parametrize(
        ("limit", "granted"),
        [("Memory", 0), ("MemorySwap", -1), ("NanoCpus", 0), ("PidsLimit", None), ("ShmSize", 65536)],
    )
    async def test_a_limit_that_the_engine_takes_off_ends_the_start(
        self,
        docker_engine: DockerEngine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        limit: str,
        granted: int | None,
    ) -> None:
        class Forgetful(Engine):
            """An engine that grants less than it was asked for."""

            async def call(self, method: str, path: str, body: object = None, **options: Any) -> Any:
                answer = await super().call(method, path, body, **options)
                if isinstance(answer, dict) and "PidsLimit" in answer.get("HostConfig", ()):
                    answer["HostConfig"][limit] = granted
                return answer

        monkeypatch.setattr(f"{DockerRuntime.__module__}.Engine", Forgetful)
        runtime = DockerRuntime(tmp_path, host=docker_engine.host)
        await runtime.open()
        with pytest.raises(UnsupportedError, match=f"does not enforce these limits: {limit} is {granted}"):
            await begin(runtime, "one", StartRequest(image=IMAGE))
        await runtime.close()
        assert containers(docker_engine, tmp_path) == []

    def test_a_bridge_is_given_where_it_is_asked_for(self, client: HTTPClient) -> None:
        sandbox_id = client.start_sandbox("docker", IMAGE, network="bridge")
        assert "eth0" in client.exec_command(sandbox_id, ["cat", "/proc/net/dev"]).stdout
        client.stop_sandbox(sandbox_id)

    def test_more_cores_than_there_are_are_no_limit(self, client: HTTPClient) -> None:
        client.stop_sandbox(client.start_sandbox("docker", IMAGE, cpu_cores=1000))

    def test_a_memory_limit_below_the_engines_least_is_refused(self, client: HTTPClient) -> None:
        with pytest.raises(InvalidArgumentError, match=r"[Mm]inimum memory limit"):
            client.start_sandbox("docker", IMAGE, memory_mb=1)


class TestNothingIsLeft:
    async def test_by_a_start_that_fails(
        self, runtime: DockerRuntime, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        service = SandboxService({"docker": runtime}, Snapshots(tmp_path / "snapshots"))
        with pytest.raises(InvalidArgumentError):
            await service.start_sandbox(StartRequest("docker", IMAGE, ("/no",)))
        assert containers(docker_engine, tmp_path) == []

    @pytest.mark.parametrize("steps", [0, 1, 3, 10, 30, 60, 100, 200, 400])
    async def test_by_a_start_that_is_given_up(
        self, runtime: DockerRuntime, docker_engine: DockerEngine, tmp_path: Path, steps: int
    ) -> None:
        service = SandboxService({"docker": runtime}, Snapshots(tmp_path / "snapshots"))
        task = asyncio.create_task(service.start_sandbox(StartRequest("docker", IMAGE)))
        # Some way into it, counted in what the event loop does rather than in time.
        for _ in range(steps):
            await asyncio.sleep(0.0005 if steps > 10 else 0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await service.stop_sandbox(StopRequest((await task).id))
        assert containers(docker_engine, tmp_path) == []

    async def test_by_ten_starts_and_stops_at_once(
        self, runtime: DockerRuntime, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        async def live(number: int) -> None:
            await begin(runtime, str(number), StartRequest(image=IMAGE, memory_mb=32))
            await runtime.stop(str(number))

        await asyncio.gather(*map(live, range(10)))
        assert containers(docker_engine, tmp_path) == []

    def test_by_stops_of_the_same_sandbox_at_once(self, client: HTTPClient) -> None:
        sandbox_id = client.start_sandbox("docker", IMAGE)

        def stop() -> str:
            try:
                client.stop_sandbox(sandbox_id)
            except SandboxNotFoundError:
                return "gone"
            return "stopped"

        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda _: stop(), range(4)))
        assert sorted(outcomes) == ["gone", "gone", "gone", "stopped"]

    def test_where_somebody_else_removed_the_container(
        self, docker_engine: DockerEngine, client: HTTPClient
    ) -> None:
        sandbox_id = client.start_sandbox("docker", IMAGE)
        docker_engine.call("DELETE", f"/containers/flash-sandbox-{sandbox_id}", params={"force": "true"})
        wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end to be noticed")
        client.stop_sandbox(sandbox_id)


@asynccontextmanager
async def runtime_with_snapshots(
    host: str, state_dir: Path
) -> AsyncIterator[tuple[DockerRuntime, Snapshots]]:
    """Open a runtime with the snapshots that a state directory has."""
    database = Database(state_dir)
    snapshots = Snapshots(state_dir / "snapshots", database)
    await snapshots.open()
    runtime = DockerRuntime(state_dir, host=host, snapshots=snapshots)
    await runtime.open()
    await runtime.adopt()
    yield runtime, snapshots
    await runtime.close()
    database.close()


class TestSnapshots:
    async def test_the_image_of_one_that_was_not_completed_is_removed(
        self, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        async with runtime_with_snapshots(docker_engine.host, tmp_path) as (first, snapshots):
            await begin(first, "one", StartRequest(image=IMAGE))
            await first.pause("one")
            kept, _ = [await first.snapshot("one", StartRequest()) for _ in range(2)]
            await snapshots.add(kept)
        async with runtime_with_snapshots(docker_engine.host, tmp_path) as (second, snapshots):
            await begin(second, "copy", StartRequest(), snapshot=snapshots.get(kept.id))
            assert len(snapshot_images(docker_engine, tmp_path)) == 1

    async def test_one_whose_image_is_gone_is_refused(
        self, runtime: DockerRuntime, docker_engine: DockerEngine
    ) -> None:
        await begin(runtime, "one", StartRequest(image=IMAGE))
        await runtime.pause("one")
        before = {image["Id"] for image in docker_engine.call("GET", "/images/json")}
        snapshot = await runtime.snapshot("one", StartRequest())
        (new,) = {image["Id"] for image in docker_engine.call("GET", "/images/json")} - before
        docker_engine.call("DELETE", f"/images/{new}", params={"force": "true"})
        with pytest.raises(InvalidArgumentError, match="does not have the image") as caught:
            await begin(runtime, "copy", StartRequest(), snapshot=snapshot)
        assert caught.value.reason == Reason.SNAPSHOT_REFUSED

    async def test_its_image_goes_with_it(
        self, runtime: DockerRuntime, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        await begin(runtime, "one", StartRequest(image=IMAGE))
        await runtime.pause("one")
        snapshot = await runtime.snapshot("one", StartRequest())
        assert len(snapshot_images(docker_engine, tmp_path)) == 1
        await runtime.forget_snapshot(snapshot)
        assert snapshot_images(docker_engine, tmp_path) == []

    async def test_its_image_goes_with_the_last_sandbox_that_was_started_from_it(
        self, runtime: DockerRuntime, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        await begin(runtime, "one", StartRequest(image=IMAGE))
        await runtime.pause("one")
        snapshot = await runtime.snapshot("one", StartRequest())
        for copy in ("copy", "other"):
            await begin(runtime, copy, StartRequest(snapshot_path=snapshot.id), snapshot=snapshot)
        await runtime.forget_snapshot(snapshot)
        for copy in ("copy", "other"):
            assert len(snapshot_images(docker_engine, tmp_path)) == 1
            assert (await run_in(runtime, copy, "echo", "on")).stdout == "on\n"
            await runtime.stop(copy)
        assert snapshot_images(docker_engine, tmp_path) == []

    async def test_one_that_is_removed_while_the_engine_is_away_is_removed_there_later(
        self, docker_engine: DockerEngine, tmp_path: Path
    ) -> None:
        async with runtime_with_snapshots(docker_engine.host, tmp_path) as (runtime, snapshots):
            await begin(runtime, "one", StartRequest(image=IMAGE))
            await runtime.pause("one")
            snapshot = await runtime.snapshot("one", StartRequest())
            await snapshots.add(snapshot)
        nowhere = "unix:///nowhere/docker.sock"
        async with runtime_with_snapshots(nowhere, tmp_path) as (away, snapshots):
            assert snapshots.listed() == [snapshot]
            await snapshots.remove(snapshot, away.forget_snapshot)
        assert len(snapshot_images(docker_engine, tmp_path)) == 1
        async with runtime_with_snapshots(docker_engine.host, tmp_path):
            assert snapshot_images(docker_engine, tmp_path) == []

    def test_its_image_cannot_be_named_as_an_image(self, client: HTTPClient) -> None:
        with pytest.raises(InvalidArgumentError, match="snapshot_path"):
            client.start_sandbox("docker", f"flash-sandbox/snapshot:{'0' * 32}")


class TestImages:
    def test_one_that_the_engine_lacks_is_pulled(
        self, docker_engine: DockerEngine, client: HTTPClient, registry: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "flash_sandbox.orchestrator"):
            # Without a tag it is the latest, and no other is pulled.
            client.stop_sandbox(client.start_sandbox("docker", registry))
        steps = [line for line in caplog.messages if "image pull" in line]
        assert ("step=begun" in steps[0], "step=complete" in steps[-1]) == (True, True)
        docker_engine.call("DELETE", f"/images/{registry}:latest")

    def test_a_tag_that_the_registry_lacks_is_told(self, client: HTTPClient, registry: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            client.start_sandbox("docker", f"{registry}:no-such-tag")
        assert caught.value.reason == Reason.IMAGE_NOT_FOUND

    def test_a_registry_that_cannot_be_reached_may_be_later(self, client: HTTPClient) -> None:
        with pytest.raises(UnavailableError, match="cannot be pulled") as caught:
            client.with_options(max_retries=0).start_sandbox("docker", "127.0.0.1:5072/team/tool")
        assert caught.value.retryable

    async def test_a_registry_that_no_operator_allowed_is_not_asked(self, runtime: DockerRuntime) -> None:
        with pytest.raises(InvalidArgumentError, match=r"does not pull from 127\.0\.0\.1:5071") as caught:
            await begin(runtime, "one", StartRequest(image=f"{REGISTRY}/team/tool"))
        assert caught.value.reason == Reason.IMAGE_NOT_FOUND

    @pytest.mark.parametrize("image", ["host", "/etc/passwd", "UPPER case", "-x", f"sha256:{'0' * 64}"])
    def test_what_is_no_reference_is_told(self, client: HTTPClient, image: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            client.start_sandbox("docker", image)
        assert caught.value.reason == Reason.IMAGE_NOT_FOUND


class TestCommands:
    """Of images that name one: made by the engine from a container, as `docker commit` does."""

    @pytest.fixture
    def image(self, docker_engine: DockerEngine) -> Iterator[str]:
        created = docker_engine.call("POST", "/containers/create", json={"Image": IMAGE, "Cmd": ["true"]})[
            "Id"
        ]
        body = {"Entrypoint": ["sh", "-c"], "Cmd": ["echo own > /main; exec tail -f /dev/null"]}
        query = {"container": created, "repo": "with-command", "tag": "1"}
        docker_engine.call("POST", "/commit", params=query, json=body)
        docker_engine.call("DELETE", f"/containers/{created}")
        yield "with-command:1"
        docker_engine.call("DELETE", "/images/with-command:1", params={"force": "true"})

    def main_wrote(self, client: HTTPClient, sandbox_id: str, word: str) -> None:
        wait_until(
            lambda: client.exec_command(sandbox_id, ["cat", "/main"]).stdout == f"{word}\n", "main to write"
        )

    def test_the_images_runs_where_the_start_asks_for_it(self, client: HTTPClient, image: str) -> None:
        sandbox_id = client.start_sandbox("docker", image, image_command=True)
        self.main_wrote(client, sandbox_id, "own")
        client.stop_sandbox(sandbox_id)

    def test_the_starts_runs_alone(self, client: HTTPClient, image: str) -> None:
        command = ["sh", "-c", "echo asked > /main; exec tail -f /dev/null"]
        sandbox_id = client.start_sandbox("docker", image, command=command)
        self.main_wrote(client, sandbox_id, "asked")
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
        # What it was started with is of that sandbox: the image's comes back.
        copy = client.start_sandbox("docker", snapshot_path=path, image_command=True)
        self.main_wrote(client, copy, "own")
        client.stop_sandbox(copy)
        client.stop_sandbox(sandbox_id)


def pushed(engine: DockerEngine, name: str) -> bool:
    """Push an image and tell whether the registry took it."""
    headers = {"X-Registry-Auth": "e30="}
    answer = engine.http.post(f"/images/{name}/push", params={"tag": "latest"}, headers=headers)
    return answer.status_code == 200 and "errorDetail" not in answer.text


def test_an_engine_may_go_and_come_back(need) -> None:
    need("docker", missing())
    with running_engine() as engine, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.host)
        with (
            running_orchestrator(limits="best-effort") as running,
            HTTPClient(address=running.http_address, max_retries=0) as client,
        ):
            before = client.start_sandbox("docker", IMAGE)
            engine.stop()
            wait_until(lambda: client.get_status(before) == "stopped", "the end to be noticed")
            with pytest.raises(RuntimeUnavailableError, match="not reachable"):
                client.start_sandbox("docker", IMAGE)
            client.stop_sandbox(client.start_sandbox("bubblewrap", "host"))
            engine.start_again()
            after = client.start_sandbox("docker", IMAGE)
            assert client.exec_command(after, ["echo", "on"]).stdout == "on\n"
            client.stop_sandbox(after)
            client.stop_sandbox(before)
            assert engine.containers() == []


async def test_a_host_without_an_engine_is_told_what_to_do(tmp_path: Path) -> None:
    runtime = DockerRuntime(tmp_path, host=f"unix://{tmp_path}/none.sock")
    await runtime.open()
    await runtime.adopt()
    with pytest.raises(RuntimeUnavailableError, match=r"not reachable at unix://.*install docker\.io"):
        await begin(runtime, "one", StartRequest())
    found = await runtime.check()
    assert (found.available, "install docker.io" in found.remedy) == (False, True)
    await runtime.close()

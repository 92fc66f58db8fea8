"""Which images of Docker Engine's a start may name: those that --allow-registry lets it, by whatever name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from docker_engine import IMAGE, DockerEngine

from flash_sandbox import HTTPClient, InvalidArgumentError, Reason, SandboxAPI, SandboxClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator

PRIVATE = "registry.example.com/team/tool"


@contextmanager
def orchestrator_of(engine: DockerEngine, registries: Sequence[str] | None) -> Iterator[Orchestrator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.host)
        with running_orchestrator(limits="best-effort", registries=registries) as running:
            yield running


@pytest.fixture(scope="module")
def private(docker_engine: DockerEngine) -> Iterator[str]:
    """Give the ID of an image that has a name of a registry that nobody allowed, and no other."""
    created = docker_engine.call("POST", "/containers/create", json={"Image": IMAGE, "Cmd": ["true"]})["Id"]
    query = {"container": created, "repo": PRIVATE, "tag": "1"}
    committed: str = docker_engine.call("POST", "/commit", params=query, json={"Cmd": ["sh"]})["Id"]
    docker_engine.call("DELETE", f"/containers/{created}")
    yield committed
    docker_engine.call("DELETE", f"/images/{PRIVATE}:1", params={"force": "true"})


@pytest.fixture(scope="module")
def default_orchestrator(docker_engine: DockerEngine) -> Iterator[Orchestrator]:
    with orchestrator_of(docker_engine, None) as running:
        yield running


@contextmanager
def connected(running: Orchestrator, kind: type[HTTPClient] | type[SandboxClient]) -> Iterator[SandboxAPI]:
    over_http = kind is HTTPClient
    with kind(address=running.http_address if over_http else running.grpc_address) as client:
        yield client


@pytest.fixture(params=[HTTPClient, SandboxClient], ids=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> type[HTTPClient] | type[SandboxClient]:
    made: type[HTTPClient] | type[SandboxClient] = request.param
    return made


@pytest.fixture
def client(default_orchestrator: Orchestrator, kind: type[HTTPClient]) -> Iterator[SandboxAPI]:
    with connected(default_orchestrator, kind) as client:
        yield client


def names_of(image_id: str) -> dict[str, str]:
    digits = image_id.removeprefix("sha256:")
    return {
        "its name": f"{PRIVATE}:1",
        "its ID": image_id,
        "its ID without sha256:": digits,
        "the beginning of its ID": digits[:12],
        "what could be Docker Hub's name": digits[:8],
    }


@pytest.mark.parametrize("type", ["docker", "firecracker"])
@pytest.mark.parametrize("how", list(names_of("")))
def test_an_image_that_the_engine_has_and_no_operator_allowed_is_not_started(
    client: SandboxAPI, private: str, how: str, type: str
) -> None:
    with pytest.raises(InvalidArgumentError, match="--allow-registry docker-daemon") as caught:
        client.start_sandbox(type, names_of(private)[how])
    assert caught.value.reason == Reason.IMAGE_NOT_FOUND


def test_one_that_is_allowed_starts_by_its_name_and_by_its_id(
    client: SandboxAPI, docker_engine: DockerEngine
) -> None:
    image_id: str = docker_engine.call("GET", f"/images/{IMAGE}/json")["Id"]
    for name in (IMAGE, f"docker.io/library/{IMAGE}", image_id, image_id.removeprefix("sha256:")[:12]):
        sandbox_id = client.start_sandbox("docker", name, memory_mb=64)
        assert docker_engine.inspect(sandbox_id)["Image"] == image_id
        client.stop_sandbox(sandbox_id)


@pytest.mark.parametrize("registries", [["docker-daemon"], ["registry.example.com/team/*"]])
def test_the_operator_may_allow_what_the_engine_has(
    docker_engine: DockerEngine, private: str, registries: list[str], kind: type[HTTPClient]
) -> None:
    with orchestrator_of(docker_engine, registries) as running, connected(running, kind) as client:
        for name in (f"{PRIVATE}:1", private):
            client.stop_sandbox(client.start_sandbox("docker", name, memory_mb=64))


def test_a_snapshot_is_no_image_whatever_is_allowed(
    docker_engine: DockerEngine, default_orchestrator: Orchestrator, kind: type[HTTPClient]
) -> None:
    with connected(default_orchestrator, kind) as client:
        sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=64)
        before = {image["Id"] for image in docker_engine.call("GET", "/images/json")}
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
        (snapshot,) = {image["Id"] for image in docker_engine.call("GET", "/images/json")} - before
        client.stop_sandbox(sandbox_id)
    try:
        docker_engine.call("POST", f"/images/{snapshot}/tag", params={"repo": "other", "tag": "1"})
        with orchestrator_of(docker_engine, ["*"]) as running, connected(running, kind) as client:
            for name in (snapshot, snapshot.removeprefix("sha256:")[:12], "other:1"):
                with pytest.raises(InvalidArgumentError, match="snapshot"):
                    client.start_sandbox("docker", name)
                with pytest.raises(InvalidArgumentError, match="snapshot"):
                    client.start_sandbox("bubblewrap", f"docker-daemon:{name}")
    finally:
        docker_engine.call("DELETE", "/images/other:1")
        with connected(default_orchestrator, kind) as client:
            client.remove_snapshot(path)

"""Images of the local Docker Engine, started without it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from docker_engine import IMAGE
from inside import running

from flash_sandbox import HTTPClient, InvalidArgumentError, UnavailableError
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.store import ImageStore


@pytest.fixture
def engine_host(docker_engine, monkeypatch) -> str:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    return docker_engine.host


@pytest.fixture
def client(limits, engine_host) -> Iterator[HTTPClient]:
    with (
        running_orchestrator(limits=limits, registries=["docker-daemon"]) as orchestrator,
        HTTPClient(address=orchestrator.http_address) as client,
    ):
        yield client


def test_an_image_of_the_engine_starts_in_bubblewrap(client):
    command = ["/bin/sh", "-c", "exec sleep 1000"]
    with running(client, type="bubblewrap", image=f"docker-daemon:{IMAGE}", command=command) as sandbox_id:
        assert client.exec_command(sandbox_id, ["echo", "works"]).stdout == "works\n"


@pytest.mark.usefixtures("engine_host")
async def test_it_is_exported_again_only_when_the_name_means_another(tmp_path, docker_engine):
    events: list[str] = []
    store = ImageStore(tmp_path, registries=["docker-daemon"], report=lambda event, **_: events.append(event))
    store.open()
    source = parse_source(f"docker-daemon:{IMAGE}")
    first = await store.acquire(source)
    again = await store.acquire(source)
    assert (first.rootfs, events.count("image unpacking")) == (again.rootfs, 1)
    assert first.digest == docker_engine.call("GET", f"/images/{IMAGE}/json")["Id"]


def test_an_image_that_the_engine_lacks_is_named(client):
    with pytest.raises(InvalidArgumentError, match=r"Docker Engine: .*no-such-image") as caught:
        client.start_sandbox("bubblewrap", "docker-daemon:no-such-image:1")
    assert caught.value.reason == "image_not_found"


def test_the_engines_images_are_refused_unless_the_operator_allows_them(orchestrator):
    with (
        HTTPClient(address=orchestrator.http_address) as client,
        pytest.raises(InvalidArgumentError, match="--allow-registry docker-daemon"),
    ):
        client.start_sandbox("bubblewrap", f"docker-daemon:{IMAGE}")


async def test_an_engine_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    store = ImageStore(tmp_path / "store", registries=["docker-daemon"])
    store.open()
    with pytest.raises(UnavailableError, match=r"not reachable at unix://.*none\.sock"):
        await store.acquire(parse_source("docker-daemon:alpine"))
    assert os.listdir(tmp_path / "store" / "records") == []

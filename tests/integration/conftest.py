"""Fixtures of the tests that need an engine beside the embedded runtime."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browsing
import docker_engine as docker
import ordinary_user
import packages
import pytest
import system_image
from every_runtime import Runtime
from gate_servers import RESOLVE
from served import Serving, serve

from flash_sandbox import HTTPClient, SandboxClient, Volume
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

Need = Callable[[str, str | None], None]
HostPrograms = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class EngineOrchestrator:
    """A live orchestrator, and what to ask it for to get a sandbox of one runtime.

    Attributes:
        orchestrator: The orchestrator: in this process, or one that another user of this machine runs.
        type: Name of the runtime.
        image: An image that it can start from, with a shell and the usual small programs.
        has_users: Whether its sandboxes have other users than root.
    """

    orchestrator: Orchestrator | Serving
    type: str
    image: str
    has_users: bool = True

    @property
    def state_dir(self) -> Path:
        """Where the orchestrator keeps its files."""
        assert self.orchestrator.state_dir is not None
        return self.orchestrator.state_dir


@pytest.fixture(scope="session")
def chromium() -> Iterator[browsing.Chromium]:
    """Run one Chromium for all tests that need a browser."""
    running = browsing.Chromium()
    yield running
    running.close()


@pytest.fixture
def browser(need: Need, chromium: browsing.Chromium) -> browsing.Browser:
    """Return the window of Chromium: a new one after a test that has lost it."""
    need("chromium", browsing.missing())
    return chromium.browser()


@pytest.fixture(scope="session")
def docker_engine(need) -> Iterator[docker.DockerEngine]:
    """Run one Docker Engine for all tests, which lists an OCI runtime named as Kata's for Firecracker."""
    need("docker", docker.missing())
    with running_engine_with_kata() as engine:
        yield engine


def running_engine_with_kata() -> AbstractContextManager[docker.DockerEngine]:
    """Run an engine whose ``kata-fc`` is runc under another name."""
    runc = shutil.which("runc") or "runc"
    return docker.running_engine({"kata-fc": runc})


@pytest.fixture(scope="session")
def docker_orchestrator(docker_engine, volume_roots: list[str]) -> Iterator[Orchestrator]:
    """Run one orchestrator for all tests that need Docker Engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", docker_engine.host)
        allowed = ["docker.io", "127.0.0.1:*"]
        # What the host has installed is for images that have no programs of their own.
        roots = [*volume_roots, "/usr:ro"]
        with running_orchestrator(
            limits="best-effort", registries=allowed, volume_roots=roots, resolve=RESOLVE
        ) as running:
            yield running


@pytest.fixture(scope="session")
def docker_host_image(docker_engine: docker.DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an image like ``host``, of which this host's /usr has to be a volume."""
    name = "flash-sandbox-test-host:latest"
    docker_engine.import_image(name, system_image.like_host(tmp_path_factory.mktemp("host")))
    return name


@pytest.fixture(scope="session")
def host_programs(request: pytest.FixtureRequest) -> HostPrograms:
    """Return what a start asks for so that a sandbox of a runtime has the programs of this host."""

    def options(type: str) -> dict[str, Any]:
        if type != "docker":
            return {"type": type, "image": "host"}
        image = request.getfixturevalue("docker_host_image")
        return {"type": type, "image": image, "volumes": {"/usr": Volume("/usr", read_only=True)}}

    return options


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> packages.Packages:
    """Return what is published: the packages that `make dist` has built, or else built now."""
    return packages.packages(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def user_with_range(need: Need) -> int:
    """Return an ordinary user who has a range of IDs."""
    found = ordinary_user.with_range()
    if isinstance(found, str):
        need("newuidmap", found)
        pytest.fail(found)
    return found


@pytest.fixture(scope="session")
def orchestrator_with_range(need: Need, user_with_range: int, volume_roots: list[str]) -> Iterator[Serving]:
    """Run one orchestrator for all tests, as an ordinary user who has a range of IDs."""
    with _of_a_user(need, user_with_range, volume_roots) as serving:
        yield serving


@pytest.fixture(scope="session")
def orchestrator_with_one_id(need: Need, volume_roots: list[str]) -> Iterator[Serving]:
    """Run one orchestrator for all tests, as an ordinary user who has one ID."""
    with _of_a_user(need, ordinary_user.NOBODY, volume_roots) as serving:
        yield serving


@contextmanager
def _of_a_user(need: Need, user: int, volume_roots: list[str]) -> Iterator[Serving]:
    found = ordinary_user.command(user)
    if isinstance(found, str):
        need("ordinary-user", found)
        pytest.fail(found)
    command, environment = found
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, user, user)
        state = Path(home, "state")
        environment |= {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        more = [f"--volume-root={root}" for root in volume_roots] + [f"--resolve={name}" for name in RESOLVE]
        with serve(state, *more, limits="best-effort", environment=environment, command=command) as serving:
            yield serving


@pytest.fixture(scope="session", params=["bubblewrap", "docker", "gvisor"])
def engine_orchestrator(
    request: pytest.FixtureRequest, limits: Limits, need: Need, tmp_path_factory: pytest.TempPathFactory
) -> EngineOrchestrator:
    """Run an orchestrator whose host has the runtime, for each of the runtimes."""
    if request.param == "gvisor":
        found = asyncio.run(GvisorRuntime(tmp_path_factory.mktemp("gvisor")).check())
        need("gvisor", None if found.available else found.detail)
        return EngineOrchestrator(request.getfixturevalue("orchestrator"), "gvisor", "host")
    if request.param == "bubblewrap with a range":
        return EngineOrchestrator(request.getfixturevalue("orchestrator_with_range"), "bubblewrap", "host")
    if request.param == "bubblewrap with one ID":
        one_id = request.getfixturevalue("orchestrator_with_one_id")
        return EngineOrchestrator(one_id, "bubblewrap", "host", has_users=False)
    if request.param == "bubblewrap":
        return EngineOrchestrator(request.getfixturevalue("orchestrator"), "bubblewrap", "host")
    return EngineOrchestrator(request.getfixturevalue("docker_orchestrator"), "docker", docker.IMAGE)


@pytest.fixture(scope="module", params=[HTTPClient, SandboxClient], ids=["http", "grpc"])
def runtime(request: pytest.FixtureRequest, engine_orchestrator: EngineOrchestrator) -> Iterator[Runtime]:
    running = engine_orchestrator.orchestrator
    over_http = request.param is HTTPClient
    address = running.http_address if over_http else running.grpc_address
    with request.param(address=address) as client:
        yield Runtime(
            client, engine_orchestrator.type, engine_orchestrator.image, engine_orchestrator.state_dir
        )


@pytest.fixture(scope="module")
def idle(runtime: Runtime) -> Iterator[str]:
    """One sandbox for what leaves it as it was."""
    with runtime.sandbox() as sandbox_id:
        yield sandbox_id

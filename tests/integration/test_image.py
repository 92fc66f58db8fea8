"""deploy/Dockerfile: built on a base made on the spot, without a network, and run by a real engine."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import packages
import pytest
import system_image
from docker_engine import DockerEngine
from inside import wait_until
from packages import Packages

from flash_sandbox.orchestrator.runtimes.catalogue import Limits

Need = Callable[[str, str | None], None]

# The first test waits until the image is built.
pytestmark = pytest.mark.timeout(600)

DOCKERFILE = packages.ROOT / "deploy" / "Dockerfile"
BASE, IMAGE = "base-with-python:latest", "flash-sandbox:latest"
KEY = "not-a-secret"

USE = """\
import sys
from flash_sandbox import HTTPClient, Sandbox, SandboxClient
for kind, port in ((HTTPClient, 8080), (SandboxClient, 50051)):
    with kind(host=sys.argv[1], port=port) as client:
        with Sandbox.create(client=client, type=sys.argv[2], image=sys.argv[3]) as sandbox:
            print(sandbox.exec_command(["echo", kind.__name__]).stdout, end="")
"""

SERVE = ("serve", "--host", "0.0.0.0", "--state-dir", "/var/lib/flash-sandbox")
BEST_EFFORT = (*SERVE, "--limits", "best-effort")

# The engine lets what runs in it make namespaces, and mount a whole /proc in them.
NESTED = {
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
}
ORDINARY = NESTED | {
    "CapDrop": ["ALL"],
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "no-new-privileges"],
}
ROOT_WITH_CGROUPS = NESTED | {
    "CapAdd": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"],
    "CgroupnsMode": "host",
    "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup"],
}


@pytest.fixture(scope="module")
def image(
    docker_engine: DockerEngine, published: Packages, need: Need, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Build the image from the wheel, and the wheels of all that it needs."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [*command, f"{published.wheel}[orchestrator]"], capture_output=True, text=True, check=False
    )
    need("pypi", f"pip cannot download: {done.stderr.strip()}" if done.returncode else None)
    query = {"fromSrc": "-", "repo": BASE.partition(":")[0], "tag": "latest"}
    headers = {"content-type": "application/x-tar"}
    root = system_image.with_python()
    docker_engine.call("POST", "/images/create", params=query, content=root, headers=headers)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(DOCKERFILE, "Dockerfile")
        tar.add(folder, "dist")
    built = docker_engine.http.post(
        "/build",
        params={
            "t": IMAGE,
            "buildargs": json.dumps({"BASE": BASE, "PIP_NO_INDEX": "1"}),
            "networkmode": "none",
        },
        content=context.getvalue(),
        headers=headers,
        timeout=200,
    )
    lines = [json.loads(line) for line in built.text.splitlines()]
    assert built.status_code == 200, built.text
    assert "error" not in lines[-1], "".join(line.get("stream", "") for line in lines) + lines[-1]["error"]
    return IMAGE


@contextmanager
def container(engine: DockerEngine, *command: str, **options: Any) -> Iterator[str]:
    """Run a container of the image for the length of a block."""
    host = options.pop("HostConfig", {})
    created = engine.call(
        "POST",
        "/containers/create",
        json={"Image": IMAGE, "Cmd": list(command) or None, "HostConfig": host, **options},
    )
    try:
        engine.call("POST", f"/containers/{created['Id']}/start")
        yield created["Id"]
    finally:
        engine.call("DELETE", f"/containers/{created['Id']}", params={"force": "true", "v": "true"})


def output(engine: DockerEngine, container_id: str) -> str:
    query = {"stdout": "true", "stderr": "true"}
    raw = engine.http.get(f"/containers/{container_id}/logs", params=query).content
    text = b""
    # Each piece has a header of 8 bytes, the last four of which are its length (Docker Engine API, attach).
    while raw:
        length = int.from_bytes(raw[4:8])
        text, raw = text + raw[8 : 8 + length], raw[8 + length :]
    return text.decode()


def printed(engine: DockerEngine, *command: str, **options: Any) -> tuple[int, str]:
    """Run a container to its end and return its status and what it printed."""
    with container(engine, *command, **options) as container_id:
        status: int = engine.call("POST", f"/containers/{container_id}/wait")["StatusCode"]
        return status, output(engine, container_id)


@contextmanager
def serving(engine: DockerEngine, *command: str, **options: Any) -> Iterator[str]:
    """Run an orchestrator, by default as the image does, and return its IP address."""
    with container(engine, *command, Env=[f"FLASH_SANDBOX_API_KEY={KEY}"], **options) as container_id:
        wait_until(
            lambda: "gRPC" in output(engine, container_id) or not running(engine, container_id), "it to serve"
        )
        assert running(engine, container_id), output(engine, container_id)
        found = engine.call("GET", f"/containers/{container_id}/json")
        yield found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def running(engine: DockerEngine, container_id: str) -> bool:
    found: bool = engine.call("GET", f"/containers/{container_id}/json")["State"]["Running"]
    return found


def use(engine: DockerEngine, address: str, type: str, image: str) -> subprocess.CompletedProcess[str]:
    """Use an orchestrator from outside of its container, over both transports."""
    return subprocess.run(
        engine.in_network(sys.executable, "-c", USE, address, type, image),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"FLASH_SANDBOX_API_KEY": KEY},
    )


def test_it_is_the_version_that_was_built(
    image: str, docker_engine: DockerEngine, published: Packages
) -> None:
    assert printed(docker_engine, "version") == (0, published.wheel.name.split("-")[1] + "\n")


def test_it_holds_no_pip_and_no_wheels(image: str, docker_engine: DockerEngine) -> None:
    probe = "import importlib.util as u, pathlib as p; print(u.find_spec('pip'), p.Path('/dist').exists())"
    status, text = printed(docker_engine, "-c", probe, Entrypoint=["python3"])
    assert (status, text) == (0, "None False\n")


def test_without_a_key_it_does_not_serve_beyond_its_container(
    image: str, docker_engine: DockerEngine
) -> None:
    status, text = printed(docker_engine)
    assert status == 1
    assert "set an API key" in text


def test_an_ordinary_user_without_any_capability_runs_sandboxes_in_it(
    image: str, docker_engine: DockerEngine
) -> None:
    with serving(docker_engine, *BEST_EFFORT, HostConfig=ORDINARY) as address:
        done = use(docker_engine, address, "bubblewrap", "host")
    assert (done.stdout, done.stderr) == ("HTTPClient\nSandboxClient\n", "")


def test_root_with_cgroups_enforces_limits_in_it(
    image: str, docker_engine: DockerEngine, limits: Limits
) -> None:
    # Where this host gives no cgroup to limit anything by, there is none to hand on.
    command = SERVE if limits == "enforce" else BEST_EFFORT
    with serving(docker_engine, *command, HostConfig=ROOT_WITH_CGROUPS, User="0") as address:
        done = use(docker_engine, address, "bubblewrap", "host")
    assert (done.stdout, done.stderr) == ("HTTPClient\nSandboxClient\n", "")


def test_it_drives_the_engine_whose_socket_it_is_given(image: str, docker_engine: DockerEngine) -> None:
    socket = Path(docker_engine.host.removeprefix("unix://"))
    given = {"Binds": [f"{socket}:/var/run/docker.sock"], "GroupAdd": [str(socket.stat().st_gid)]}
    with serving(docker_engine, *BEST_EFFORT, HostConfig=given) as address:
        done = use(docker_engine, address, "docker", "busybox")
    assert (done.stdout, done.stderr) == ("HTTPClient\nSandboxClient\n", "")


def test_it_ends_at_once_when_it_is_told_to(image: str, docker_engine: DockerEngine) -> None:
    env = [f"FLASH_SANDBOX_API_KEY={KEY}"]
    with container(docker_engine, *BEST_EFFORT, Env=env) as container_id:
        wait_until(lambda: "gRPC" in output(docker_engine, container_id), "it to serve")
        docker_engine.call("POST", f"/containers/{container_id}/stop", params={"t": "30"})
        state = docker_engine.call("GET", f"/containers/{container_id}/json")["State"]
    assert state["ExitCode"] == 0

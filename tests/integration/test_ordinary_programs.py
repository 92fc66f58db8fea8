"""What people run every day works in a sandbox of every runtime, or the table of runtimes says why not.

docs/reference/runtimes.md, "What root may" and "The image host".
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import debian_root
import docker_engine
import pytest
from conftest import EngineOrchestrator, Need

from flash_sandbox import HTTPClient

APT: Final = "-o Dir::Etc::SourceList=/work/sources.list -o Dir::Etc::SourceParts=-"
PROGRAMS: Final = {
    "install -o": "echo content > file && install -o 33 -g 33 -m 600 file installed && cat installed",
    "tar x": "mkdir out && tar -xf /work/archive.tar -C out && cat out/of-33/secret && touch out/of-33/new",
    "apt-get update": (
        "(cd /work/repository && exec python3 -m http.server 8123 --bind 127.0.0.1) > /dev/null 2>&1 & "
        "until bash -c ': < /dev/tcp/localhost/8123' 2> /dev/null; do sleep 0.05; done; "
        f"apt-get {APT} update && apt-cache {APT} show flash-sandbox-example"
    ),
    "useradd": "useradd -m -s /bin/sh somebody && id somebody && cd /home/somebody",
    "su": "su nobody -s /bin/sh -c 'id -un' | grep nobody",
    # Without a cgroup, memory counts that is only reserved (how-to/limits-without-root.md).
    "gcc -fsanitize=address": (
        "ulimit -d unlimited && gcc -fsanitize=address -o program /work/program.c && ./program"
    ),
    "node -e 1": "node -e 1",
    "java -version": "java -version",
    "pip install": (
        "python3 -m pip install --no-index --break-system-packages --root-user-action ignore "
        "/work/example-1-py3-none-any.whl && python3 -c 'import example'"
    ),
    "git clone": "git clone /work/origin copy && cat copy/file",
}
TOOLS: Final = ("gcc -fsanitize=address", "node -e 1", "java -version")
# What becomes another user, which takes one.
OF_OTHERS: Final = ("su",)

pytestmark = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)


@dataclass(frozen=True)
class Place:
    """A sandbox with everything in /work that the programs need."""

    client: HTTPClient
    runtime: str
    image: str
    sandbox_id: str
    has_users: bool


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the programs work on."""
    directory = tmp_path_factory.mktemp("programs") / "work"
    (directory / "repository").mkdir(parents=True)
    with tarfile.open(directory / "archive.tar", "w") as tar:
        for name, kind, mode in (("of-33", tarfile.DIRTYPE, 0o700), ("of-33/secret", tarfile.REGTYPE, 0o600)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid = kind, mode, 33, 33
            entry.size = 7 if kind == tarfile.REGTYPE else 0
            tar.addfile(entry, io.BytesIO(b"content"))
    (directory / "repository" / "Packages").write_text(
        "Package: flash-sandbox-example\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n"
        "Filename: ./example.deb\nSize: 1\nDescription: nothing\n\n"
    )
    (directory / "sources.list").write_text("deb [trusted=yes] http://localhost:8123/ ./\n")
    (directory / "program.c").write_text("int main(void) { return 0; }\n")
    with zipfile.ZipFile(directory / "example-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("example.py", "")
        wheel.writestr("example-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: example\nVersion: 1\n")
        wheel.writestr(
            "example-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("example-1.dist-info/RECORD", "")
    origin = directory / "origin"
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for line in ("init -q", "add file", "-c user.name=a -c user.email=a@b commit -q -m one"):
        origin.mkdir(exist_ok=True)
        (origin / "file").write_text("content\n")
        subprocess.run(["git", *line.split()], cwd=origin, env=environment, check=True)
    return directory


@pytest.fixture(scope="module", params=["host", "debian"])
def place(
    request: pytest.FixtureRequest,
    engine_orchestrator: EngineOrchestrator,
    need: Need,
    work: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """Start a sandbox with the image, and put the work into it."""
    need("debian", debian_root.missing())
    name, image = request.param, "host"
    if name == "debian":
        image = _debian(request, engine_orchestrator, tmp_path_factory.mktemp("debian"))
    elif engine_orchestrator.type == "docker":
        pytest.skip("docker has no image 'host'")
    with HTTPClient(address=engine_orchestrator.orchestrator.http_address) as client:
        options = {"type": engine_orchestrator.type, "image": image, "memory_mb": 1024, "cpu_cores": 2.0}
        sandbox_id = client.start_sandbox(command=["sleep", "100000"], **options)
        client.upload(sandbox_id, work, "/work")
        yield Place(client, engine_orchestrator.type, name, sandbox_id, engine_orchestrator.has_users)
        client.stop_sandbox(sandbox_id)


def _debian(request: pytest.FixtureRequest, engine: EngineOrchestrator, directory: Path) -> str:
    """Return the name of a Debian root file system for a runtime. Docker's has the large programs, too."""
    if engine.type != "docker":
        path = engine.state_dir / "rootfs" / "debian.tar"
        if not path.exists():
            debian_root.make(path, debian_root.BASE)
        return str(path)
    docker: docker_engine.DockerEngine = request.getfixturevalue("docker_engine")
    debian_root.make(directory / "tar", (*debian_root.BASE, *debian_root.TOOLS, debian_root.java()))
    with (directory / "tar").open("rb") as file:
        docker.import_image("flash-sandbox-test-debian:latest", file)
    (directory / "tar").unlink()
    return "flash-sandbox-test-debian:latest"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_an_ordinary_program_works(place: Place, program: str) -> None:
    if program in TOOLS and place.image == "debian" and place.runtime != "docker":
        pytest.skip("the large programs are those of image 'host'")
    if program == "apt-get update" and place.image == "host":
        pytest.skip("image 'host' has no package database")
    script = f"mkdir -p '/tmp/{program}' && cd '/tmp/{program}' && {PROGRAMS[program]}"
    result = place.client.exec_command(place.sandbox_id, ["sh", "-c", script], timeout=120)
    works = place.has_users or program not in OF_OTHERS
    assert (result.exit_code == 0) == works, result

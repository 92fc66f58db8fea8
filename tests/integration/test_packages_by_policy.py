"""Package managers, git and other programs in a sandbox that reaches what a policy names."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import HostPrograms
from every_runtime import Runtime
from gate_servers import ALLOWED, DENIED, running

from flash_sandbox import Network, Sandbox

pytestmark = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)

WHEEL = "made_here-1.0-py3-none-any.whl"


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an index with a wheel, a git repository and a package of npm; give the URL."""
    root = tmp_path_factory.mktemp("site")
    _index(root / "simple" / "made-here")
    _repository(root)
    _package_of_npm(root)
    (root / "debian").mkdir()
    (root / "debian" / "Packages").write_text(
        "Package: made-here\nVersion: 1.0\nArchitecture: all\nFilename: ./a.deb\nSize: 1\nSHA256: "
        + 64 * "0"
        + "\n"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=root))
    with running(server) as port:
        yield f"http://{ALLOWED}:{port}"


def _index(directory: Path) -> None:
    directory.mkdir(parents=True)
    with zipfile.ZipFile(directory / WHEEL, "w") as wheel:
        wheel.writestr("made_here.py", "print('made here')\n")
        wheel.writestr(
            "made_here-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-here\nVersion: 1.0\n"
        )
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("made_here-1.0.dist-info/WHEEL", tags)
        wheel.writestr("made_here-1.0.dist-info/RECORD", "")
    (directory / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')


def _package_of_npm(root: Path) -> None:
    files = {
        "package/package.json": b'{"name": "made-here", "version": "1.0.0", "main": "main.js"}',
        "package/main.js": b"console.log('made here')",
    }
    with tarfile.open(root / "made-here.tgz", "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _repository(root: Path) -> None:
    script = """
    git init -q work && cd work && echo cloned > file && git add file
    git -c user.name=a -c user.email=a@b commit -qm first
    cd .. && git clone -q --bare work repository.git && cd repository.git && git update-server-info
    """
    subprocess.run(["sh", "-ec", script], cwd=root, check=True)


@pytest.fixture(scope="module")
def sandbox(runtime: Runtime, site: str, host_programs: HostPrograms) -> Iterator[Sandbox]:
    """A sandbox with this host's programs, whose policy names the site alone."""
    policy = Network(allow=[site.removeprefix("http://")])
    options = {**host_programs(runtime.type), "memory_mb": 1024}
    with Sandbox.create(network=policy, client=runtime.client, **options) as found:
        yield found


# What a host may lack: how to see whether it has it, and Debian's package.
PROGRAMS = {
    "apt": ("apt-get --version", "apt"),
    "busybox": ("busybox wget --help", "busybox-static"),
    "curl": ("curl --version", "curl"),
    "java": ("java --list-modules | grep jdk.compiler", "default-jdk-headless"),
    "node": ("node --version", "nodejs"),
    "npm": ("npm --version", "npm"),
    "pip": ("python3 -m pip --version", "python3-pip"),
}


@pytest.fixture(autouse=True)
def program(request: pytest.FixtureRequest, sandbox: Sandbox, need: Callable[..., None]) -> None:
    """Require the program that a test is marked with."""
    for mark in request.node.iter_markers("program"):
        command, package = PROGRAMS[mark.args[0]]
        has_it = sandbox.run(command).exit_code == 0
        need(mark.args[0], None if has_it else f"this host has none (on Debian: apt-get install {package})")


@pytest.mark.program("pip")
def test_pip_installs(sandbox: Sandbox, site: str) -> None:
    host = site.removeprefix("http://").partition(":")[0]
    options = f"--index-url {site}/simple --trusted-host {host} --target /tmp/packages"
    command = f"python3 -m pip install -q {options} made-here"
    sandbox.run(command, check=True)
    assert sandbox.run("PYTHONPATH=/tmp/packages python3 -m made_here").stdout == "made here\n"


@pytest.mark.program("npm")
def test_npm_installs(sandbox: Sandbox, site: str) -> None:
    sandbox.run(f"cd /tmp && npm install --no-audit --no-fund {site}/made-here.tgz", check=True)
    assert sandbox.run("node -e \"require('/tmp/node_modules/made-here')\"").stdout == "made here\n"


@pytest.mark.program("apt")
def test_apt_updates(sandbox: Sandbox, site: str) -> None:
    script = f"""
    mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial
    echo 'deb [trusted=yes] {site}/debian ./' > /tmp/apt/sources.list
    apt-get update -q -o Dir::State=/tmp/apt -o Dir::Cache=/tmp/apt/cache \\
        -o Dir::Etc::SourceList=/tmp/apt/sources.list -o Dir::Etc::SourceParts=/dev/null
    cat /tmp/apt/lists/*Packages
    """
    assert "Package: made-here" in sandbox.run(script, check=True).stdout


@pytest.mark.parametrize(
    "command",
    [
        "git clone -q http://{}/repository.git /tmp/cloned-elsewhere",
        pytest.param("busybox wget -q -O - http://{}/", marks=pytest.mark.program("busybox")),
        pytest.param("curl -sSf http://{}/", marks=pytest.mark.program("curl")),
        pytest.param(
            "cd /tmp && npm install --no-audit --no-fund http://{}/made-here.tgz",
            marks=pytest.mark.program("npm"),
        ),
        pytest.param(
            "python3 -m pip download --index-url http://{0}/simple --trusted-host {0} made-here",
            marks=pytest.mark.program("pip"),
        ),
    ],
    ids=lambda command: command.replace("python3 -m ", "").split()[command.startswith("cd") * 3],
)
def test_everything_else_fails_fast_and_is_told(runtime: Runtime, sandbox: Sandbox, command: str) -> None:
    name = f"{os.urandom(4).hex()}.test"
    with runtime.client.watch_events() as events:
        result = sandbox.run(command.format(name), limit=60)
        assert result.exit_code != 0
        assert result.duration_ms < 30_000
        # Events come in the order of what they tell of.
        sandbox.pause()
        sandbox.resume()
        told = []
        for event in events:
            if event.id == sandbox.id and event.type == "paused":
                break
            told.append(event.detail)
    assert f"{name}:80: the sandbox's network policy does not allow it" in told


def test_git_clones(sandbox: Sandbox, site: str) -> None:
    sandbox.run(f"git clone -q {site}/repository.git /tmp/cloned", check=True)
    assert sandbox.run("cat /tmp/cloned/file").stdout == "cloned\n"


PYTHON = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    connection.sendall(f"GET /work/file HTTP/1.0\\r\\nHost: {sys.argv[1]}:{sys.argv[2]}\\r\\n\\r\\n".encode())
    print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""


class TestProgramsThatKnowNoProxy:
    """They look a name up, and connect to it."""

    def test_python(self, sandbox: Sandbox, site: str) -> None:
        host, port = site.removeprefix("http://").split(":")
        result = sandbox.run(["python3", "-c", PYTHON, host, port])
        assert result.stdout.endswith("cloned\n\n"), result

    @pytest.mark.program("curl")
    @pytest.mark.parametrize("how", ["--noproxy '*'", "--noproxy '*' --ipv4"])
    def test_curl(self, sandbox: Sandbox, site: str, how: str) -> None:
        assert sandbox.run(f"curl -sS {how} {site}/work/file").stdout == "cloned\n"

    @pytest.mark.program("busybox")
    def test_a_static_program(self, sandbox: Sandbox, site: str) -> None:
        command = f"env -u http_proxy -u HTTP_PROXY busybox wget -q -O - {site}/work/file"
        assert sandbox.run(command).stdout == "cloned\n"

    @pytest.mark.program("node")
    def test_node(self, sandbox: Sandbox, site: str) -> None:
        script = f"fetch('{site}/work/file').then(r => r.text()).then(console.log)"
        assert sandbox.run(["env", "-u", "NODE_USE_ENV_PROXY", "node", "-e", script]).stdout == "cloned\n\n"

    @pytest.mark.program("java")
    def test_java(self, sandbox: Sandbox, site: str) -> None:
        sandbox.files.write(
            "/tmp/Get.java",
            "public class Get { public static void main(String[] a) throws Exception {"
            "System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }",
        )
        assert sandbox.run(["java", "/tmp/Get.java", f"{site}/work/file"]).stdout == "cloned\n"

    @pytest.mark.program("curl")
    def test_name_over_tcp(self, sandbox: Sandbox, site: str) -> None:
        result = sandbox.run(f"RES_OPTIONS=use-vc curl -sS --noproxy '*' {site}/work/file")
        assert result.stdout == "cloned\n", result

    @pytest.mark.program("curl")
    @pytest.mark.parametrize("name", [DENIED, f"secret-data.{ALLOWED}", "example.com"])
    def test_other_names_are_unknown(self, sandbox: Sandbox, name: str) -> None:
        result = sandbox.run(f"curl -sS --noproxy '*' http://{name}/")
        assert (result.exit_code, "Could not resolve host" in result.stderr) == (6, True)

    @pytest.mark.program("curl")
    def test_another_name_in_host_is_refused(self, sandbox: Sandbox, site: str) -> None:
        assert (
            "cloned" not in sandbox.run(f"curl -sS --noproxy '*' -H 'Host: {DENIED}' {site}/work/file").stdout
        )

    @pytest.mark.program("curl")
    def test_names_come_and_go_with_the_policy(self, sandbox: Sandbox, site: str) -> None:
        allowed = site.removeprefix("http://")
        sandbox.set_network(Network(allow=["other.test"]))
        assert sandbox.run(f"curl -sS --noproxy '*' {site}/work/file").exit_code == 6
        sandbox.set_network(Network(allow=[allowed]))
        assert sandbox.run(f"curl -sS --noproxy '*' {site}/work/file").stdout == "cloned\n"

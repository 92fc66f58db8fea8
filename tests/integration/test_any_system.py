"""The clients on systems other than this one, as far as that can be told from here, and on every Python."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packages import Packages

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
CLIENTS = ["HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient"]

OUTCOMES = ["hello\n", 3, "running", "sandbox_not_found", True, "", "streamed\n", ""]
SEEN = "".join(f"{client} {OUTCOMES}\n" for client in CLIENTS)


def run(python: str | Path, program: str, orchestrator: Orchestrator, *options: str) -> tuple[str, str]:
    addresses = [str(orchestrator.http_address), str(orchestrator.grpc_address)]
    command = [str(python), "-W", "error", *options, str(PROGRAMS / program), *addresses]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout, done.stderr


def test_clients_need_nothing_that_only_linux_has(orchestrator: Orchestrator) -> None:
    assert run(sys.executable, "other_system.py", orchestrator) == (SEEN, "")


@pytest.mark.parametrize("kind", CLIENTS)
def test_unix_socket_is_refused_where_the_system_has_none(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(flash_sandbox.InvalidArgumentError, match="does not have"):
        getattr(flash_sandbox, kind)(address="unix:///run/flash-sandbox.sock")


def interpreters(version: str) -> Iterator[str]:
    """Find interpreters of a version: on the PATH, and where pyenv and uv put them."""
    name = f"python{version}"
    places = [Path(sys.prefix).resolve() / "bin" / name, *map(Path, filter(None, [shutil.which(name)]))]
    places += Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")
    places += Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/{name}")
    places += [Path("/usr/bin", name), Path("/usr/local/bin", name)]
    for place in places:
        # A shim may stand for what is not there.
        command = [str(place), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        if place.exists():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                yield str(place)


def pip(*arguments: str) -> str | None:
    """Run pip, and return what it says is wrong, or None."""
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip() or "pip failed" if done.returncode else None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", VERSIONS)
def test_installed_clients_work_on_python(
    version: str,
    published: Packages,
    orchestrator: Orchestrator,
    need: Callable[[str, str | None], None],
    tmp_path: Path,
) -> None:
    found = next(interpreters(version), None)
    if found is None:
        pytest.skip(f"there is no Python {version}")
    # Without a pip of its own, which takes longer to install than all the rest.
    command = [found, "-m", "venv", "--without-pip", str(tmp_path / "venv")]
    subprocess.run(command, check=True, capture_output=True)
    python = tmp_path / "venv" / "bin" / "python"
    need("pypi", pip("--python", str(python), "install", "--no-compile", str(published.wheel)))
    # Isolated (-I): only what the wheel and its dependencies bring is there.
    assert run(python, "all_clients.py", orchestrator, "-I") == (SEEN, "")

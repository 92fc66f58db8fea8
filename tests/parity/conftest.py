"""A live orchestrator behind all four clients, so that one test body holds for each of them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import flash_sandbox
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., flash_sandbox.SandboxAPI]


@pytest.fixture
def address(kind: str, orchestrator: Orchestrator) -> str:
    """Tell where the orchestrator listens for the client under test."""
    return orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address


@pytest.fixture
def client(connect: Connect, address: str) -> flash_sandbox.SandboxAPI:
    """Return a client of the live orchestrator."""
    return connect(address)


@pytest.fixture
def sandbox_id(client: flash_sandbox.SandboxAPI) -> Iterator[str]:
    """Start an idle sandbox, stopped at the end."""
    started = client.start_sandbox(memory_mb=64)
    yield started
    with suppress(flash_sandbox.SandboxNotFoundError, flash_sandbox.ClientClosedError):
        client.stop_sandbox(started)


@pytest.fixture
def unreachable() -> Iterator[str]:
    """Listen on a port whose queue is full: connecting to it neither succeeds nor fails."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = listener.getsockname()
        while True:
            one_more = stack.enter_context(socket.socket())
            one_more.settimeout(0.2)
            try:
                one_more.connect(place)
            except TimeoutError:
                break
        yield f"127.0.0.1:{place[1]}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"

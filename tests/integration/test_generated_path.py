"""Every call goes through the generated layer, on httpx, or on grpclib or h2."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import pytest

from flash_sandbox import SandboxAPI
from flash_sandbox.orchestrator import Orchestrator

PATHS: Final = {
    "HTTPClient": {"flash_sandbox_http.api.*.{method}.*", "httpx._client.Client.send"},
    "AsyncHTTPClient": {"flash_sandbox_http.api.*.{method}.*", "httpx._client.AsyncClient.send"},
    "SandboxClient": {
        "flash_sandbox_grpc.sync_stub.SandboxServiceSyncStub.{method}",
        "h2.connection.H2Connection.send_data",
        "h2.connection.H2Connection.receive_data",
    },
    "AsyncSandboxClient": {
        "flash_sandbox_grpc.sandbox.SandboxServiceStub.{method}",
        "grpclib.client.Stream.send_message",
        "grpclib.client.Stream.recv_message",
        "h2.connection.H2Connection.send_data",
        "h2.connection.H2Connection.receive_data",
    },
}


@pytest.fixture
def client(connect: Callable[..., SandboxAPI], kind: str, orchestrator: Orchestrator) -> SandboxAPI:
    return connect(orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address)


@pytest.fixture
def sandbox_id(client: SandboxAPI) -> Iterator[str]:
    started = client.start_sandbox(memory_mb=64)
    yield started
    client.stop_sandbox(started)


def functions_of(call: Callable[[], Any]) -> set[str]:
    """Return the full names of the functions of Python that a call enters in this thread."""
    entered = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.add(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize("kind", PATHS, indirect=True)
@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("get_status", lambda client, sandbox_id: client.get_status(sandbox_id)),
        ("exec_command", lambda client, sandbox_id: client.exec_command(sandbox_id, ["true"])),
        ("exec_stream", lambda client, sandbox_id: list(client.exec_stream(sandbox_id, ["true"]))),
        (
            "upload_archive",
            lambda client, sandbox_id: client.upload_archive(sandbox_id, "/tmp", iter([bytes(1024)])),
        ),
    ],
)
def test_a_warm_call_goes_through_the_generated_layer(
    client: SandboxAPI, sandbox_id: str, kind: str, method: str, call: Callable[[SandboxAPI, str], Any]
) -> None:
    call(client, sandbox_id)
    entered = functions_of(lambda: call(client, sandbox_id))
    for pattern in PATHS[kind]:
        assert fnmatch.filter(entered, pattern.format(method=method)), pattern

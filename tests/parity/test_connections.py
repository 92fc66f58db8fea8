"""How clients reach an orchestrator: keys, sessions, prefixes, TLS and Unix sockets."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import hpack
import httpx
import pytest
import requests

import flash_sandbox
from flash_sandbox import (
    AuthenticationError,
    NotFoundError,
    SandboxAPI,
    SandboxConnectionError,
    SandboxError,
    SandboxHTTPError,
    SandboxNotFoundError,
    UnsupportedError,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator

Connect = Callable[..., SandboxAPI]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Orchestrator]:
    with running_orchestrator(limits="best-effort", api_key="right-key") as running:
        yield running


@pytest.fixture
def guarded_address(kind: str, guarded: Orchestrator) -> str:
    return guarded.http_address if "HTTP" in kind else guarded.grpc_address


def test_right_key_is_let_in(connect: Connect, guarded_address: str) -> None:
    with pytest.raises(SandboxNotFoundError):
        connect(guarded_address, api_key="right-key").get_status("a")


@pytest.mark.parametrize("kind", ["SandboxClient", "AsyncSandboxClient"], indirect=True)
def test_address_that_names_grpc_is_taken_by_the_clients_of_grpc(
    connect: Connect, guarded: Orchestrator
) -> None:
    with pytest.raises(SandboxNotFoundError):
        connect(f"grpc://{guarded.grpc_address}", api_key="right-key").get_status("a")


@pytest.mark.parametrize("key", ["wrong-key", None])
def test_wrong_or_no_key_is_refused(connect: Connect, guarded_address: str, key: str | None) -> None:
    with pytest.raises(AuthenticationError) as caught:
        connect(guarded_address, api_key=key).get_status("a")
    assert (caught.value.status_code, caught.value.grpc_status) == (401, "UNAUTHENTICATED")


def test_key_of_the_environment_is_used(
    connect: Connect, guarded_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_SANDBOX_API_KEY", "right-key")
    with pytest.raises(SandboxNotFoundError):
        connect(guarded_address).get_status("a")


def test_metadata_goes_with_every_call(guarded: Orchestrator) -> None:
    metadata = {"authorization": "Bearer right-key"}
    client = flash_sandbox.SandboxClient(address=guarded.grpc_address, metadata=metadata)
    with client, pytest.raises(SandboxNotFoundError):
        client.get_status("a")


def test_httpx_session_is_used_and_not_closed(guarded: Orchestrator) -> None:
    with httpx.Client(headers={"authorization": "Bearer right-key"}) as session:
        client = flash_sandbox.HTTPClient(address=guarded.http_address, session=session)
        with client, pytest.raises(SandboxNotFoundError):
            client.get_status("a")
        assert not session.is_closed


async def test_async_httpx_session_is_used_and_not_closed(guarded: Orchestrator) -> None:
    async with httpx.AsyncClient(headers={"authorization": "Bearer right-key"}) as session:
        async with flash_sandbox.AsyncHTTPClient(address=guarded.http_address, session=session) as client:
            with pytest.raises(SandboxNotFoundError):
                await client.get_status("a")
        assert not session.is_closed


def test_requests_session_is_used_and_not_closed(guarded: Orchestrator) -> None:
    with requests.Session() as session:
        session.headers["authorization"] = "Bearer right-key"
        with flash_sandbox.HTTPClient(address=guarded.http_address, session=session) as client:
            sandbox_id = client.start_sandbox(memory_mb=64)
            assert client.exec_command(sandbox_id, ["echo", "\u20ac"]).stdout == "\u20ac\n"
            client.stop_sandbox(sandbox_id)
        assert session.get(f"{guarded.http_address}/healthz", timeout=10).ok


def test_requests_session_without_a_server_is_a_connection_error() -> None:
    with requests.Session() as session:
        client = flash_sandbox.HTTPClient(address="127.0.0.1:1", session=session, max_retries=0)
        with closing(client), pytest.raises(SandboxConnectionError) as caught:
            client.exec_command("a", ["true"])
    assert caught.value.reason == "connection_failed"


def test_session_that_the_caller_closed_is_told(guarded: Orchestrator) -> None:
    session = httpx.Client()
    session.close()
    client = flash_sandbox.HTTPClient(address=guarded.http_address, session=session)
    with client, pytest.raises(flash_sandbox.ClientClosedError):
        client.get_status("a")


def read_path(connection: socket.socket) -> str:
    """Read a request and return its path, of HTTP/1.1 or of HTTP/2."""
    with connection.makefile("rb") as stream:
        line = stream.readline()
        if not line.startswith(b"PRI"):
            return line.split()[1].decode()
        stream.read(24 - len(line))
        while (head := stream.read(9))[3] != 1:  # HEADERS
            stream.read(int.from_bytes(head[:3], "big"))
        headers = hpack.Decoder().decode(stream.read(int.from_bytes(head[:3], "big")))
        return {str(name): str(value) for name, value, *_ in headers}[":path"]


def test_prefix_stands_before_every_path(connect: Connect) -> None:
    paths: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                paths.append(read_path(connection))

        thread = threading.Thread(target=accept)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(SandboxError):
            connect(f"127.0.0.1:{port}/v1/service/sandbox/", max_retries=0).get_status("a")
        thread.join()
    assert paths[0] in (
        "/v1/service/sandbox/sandboxes/a",
        "/v1/service/sandbox/sandbox.SandboxService/GetStatus",
    )


@contextmanager
def relay(listener: socket.socket, target: str, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Pass every connection of `listener` on to `target`, taking TLS off it."""
    host, _, port = target.removeprefix("http://").rpartition(":")
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), socket.create_connection((host, int(port))) as upstream:
            end = context.wrap_socket(connection, server_side=True) if context else connection
            with end:
                back = threading.Thread(target=pump, args=(upstream, end))
                back.start()
                pump(end, upstream)
                back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        for thread in threads:
            thread.join(10)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (sink, source):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
def test_unix_socket_is_reached(connect: Connect, address: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with relay(listener, address):
            client = connect(f"unix://{tmp_path}/s")
            with pytest.raises(SandboxNotFoundError):
                client.get_status("a")
            client.close()


def test_unix_socket_that_is_not_there_is_a_connection_error(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(SandboxConnectionError) as caught:
        connect(f"unix://{tmp_path}/s", max_retries=0).exec_command("a", ["true"])
    assert caught.value.reason == "connection_failed"


@contextmanager
def tls_relay(target: str, certificate: tuple[Path, Path], protocol: str) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols([protocol])
    with socket.create_server(("127.0.0.1", 0)) as listener, relay(listener, target, context):
        yield listener.getsockname()[1]


def test_tls_is_spoken_where_the_address_says_https(
    connect: Connect, address: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with tls_relay(address, certificate, "http/1.1" if address.startswith("http") else "h2") as port:
        client = connect(f"https://127.0.0.1:{port}")
        with pytest.raises(SandboxNotFoundError):
            client.get_status("a")
        client.close()


def test_certificate_that_nobody_vouches_for_is_a_connection_error(
    connect: Connect, address: str, certificate: tuple[Path, Path]
) -> None:
    with tls_relay(address, certificate, "h2") as port:
        client = connect(f"https://localhost:{port}", max_retries=0)
        with pytest.raises(SandboxConnectionError, match=r"(?i)certificate") as caught:
            client.exec_command("a", ["true"])
    assert caught.value.reason == "connection_failed"


def test_server_without_http2_is_told_from_its_tls_handshake(
    orchestrator: Orchestrator, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with tls_relay(orchestrator.grpc_address, certificate, "http/1.1") as port:
        client = flash_sandbox.SandboxClient(address=f"127.0.0.1:{port}", ssl=context, max_retries=0)
        with client, pytest.raises(SandboxConnectionError, match="HTTP/2"):
            client.get_status("a")


@contextmanager
def mute_tls_server(certificate: tuple[Path, Path], asked: threading.Event | None = None) -> Iterator[int]:
    """Shake hands with one client and then neither write nor hang up; yield the port.

    Read no more than tells that a request has come, where `asked` wants to know.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secured:
                if asked is not None:
                    secured.recv(1)
                    asked.set()
                over.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("name", ["AsyncHTTPClient", "AsyncSandboxClient"])
def test_closed_client_leaves_no_socket_though_the_server_does_not_answer_the_end_of_tls(
    name: str, certificate: tuple[Path, Path]
) -> None:
    with mute_tls_server(certificate) as port:
        script = f"""
import asyncio, flash_sandbox
async def main():
    async with flash_sandbox.{name}(address="https://127.0.0.1:{port}", timeout=1) as client:
        try:
            await client.get_status("a")
        except flash_sandbox.SandboxTimeoutError:
            print("asked")
asyncio.run(main())
"""
        environment = os.environ | {"SSL_CERT_FILE": str(certificate[0])}
        command = [sys.executable, "-W", "error", "-c", script]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.stdout, done.stderr) == ("asked\n", "")


def test_an_orchestrator_at_another_path_knows_nothing_of_the_sandbox(
    connect: Connect, kind: str, orchestrator: Orchestrator
) -> None:
    address = orchestrator.http_address if "HTTP" in kind else f"grpc://{orchestrator.grpc_address}"
    with pytest.raises(SandboxHTTPError) as caught:
        connect(f"{address}/elsewhere").get_status("a")
    # gRPC calls it an unknown method.
    assert type(caught.value) in (NotFoundError, UnsupportedError)


@pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient"], indirect=True)
def test_close_ends_a_call_over_tls_that_another_thread_waits_for(
    connect: Connect, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    asked = threading.Event()
    with mute_tls_server(certificate, asked) as port, ThreadPoolExecutor() as pool:
        client = connect(f"https://127.0.0.1:{port}", timeout=20)
        call = pool.submit(client.exec_command, "a", ["true"])
        assert asked.wait(10)
        client.close()
        with pytest.raises(flash_sandbox.ClientClosedError):
            call.result(timeout=10)

"""What a session of the caller's refuses or loses is told, and no command is run twice for it."""

from __future__ import annotations

import io
import os
import socket
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import requests
from foreign import ForeignServer, Page
from requests.adapters import HTTPAdapter

from flash_sandbox import HTTPClient, OutcomeUnknownError, ProtocolError, SandboxConnectionError
from flash_sandbox.orchestrator import Orchestrator


def raise_for_status(answer: requests.Response | httpx.Response, *_: object, **__: object) -> None:
    answer.raise_for_status()


def requests_session_with_a_hook() -> requests.Session:
    session = requests.Session()
    session.hooks["response"].append(raise_for_status)
    return session


def requests_session_that_repeats() -> requests.Session:
    session = requests.Session()
    session.mount("http://", refusing := HTTPAdapter())
    refusing.max_retries = refusing.max_retries.new(total=0, status_forcelist=[503], allowed_methods=None)
    return session


def httpx_session_with_a_hook() -> httpx.Client:
    return httpx.Client(event_hooks={"response": [raise_for_status]})


@pytest.mark.parametrize(
    "session", [requests_session_with_a_hook, requests_session_that_repeats, httpx_session_with_a_hook]
)
def test_command_whose_answer_the_session_refuses_is_not_run_again(
    session: Callable[[], requests.Session | httpx.Client],
) -> None:
    with (
        ForeignServer(Page(503)) as server,
        session() as given,
        HTTPClient(address=server.address, session=given, max_retries=3) as client,
    ):
        with pytest.raises(ProtocolError, match="503"):
            client.exec_command("a", ["true"])
        assert server.connections == 1


@contextmanager
def breaking_tls(certificate: tuple[Path, Path]) -> Iterator[tuple[str, list[bytes]]]:
    """Read a request over TLS and answer outside of it; yield the address and the requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    received: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secured:
                received.append(secured.recv(65536))
                os.write(secured.fileno(), b"this is no TLS" * 10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_command_whose_answer_breaks_tls_is_not_run_again(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with (
        breaking_tls(certificate) as (address, received),
        requests.Session() as session,
        HTTPClient(address=address, session=session, max_retries=3) as client,
    ):
        with pytest.raises(OutcomeUnknownError):
            client.exec_command("a", ["true"])
        assert len(received) == 1


def test_certificate_that_nobody_vouches_for_is_a_connection_error(certificate: tuple[Path, Path]) -> None:
    with (
        breaking_tls(certificate) as (address, received),
        requests.Session() as session,
        HTTPClient(address=address, session=session, max_retries=0) as client,
    ):
        with pytest.raises(SandboxConnectionError, match=r"(?i)certificate") as caught:
            client.exec_command("a", ["true"])
        assert caught.value.reason == "connection_failed"
        assert received == []


def test_upload_goes_out_as_it_comes(orchestrator: Orchestrator) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("one")
        member.size = 2**20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    whole = packed.getvalue()
    with (
        requests.Session() as session,
        HTTPClient(address=orchestrator.http_address, session=session) as client,
    ):
        sandbox_id = client.start_sandbox(memory_mb=64)
        client.upload_archive(sandbox_id, "/tmp/a", iter([whole[:9], b"", whole[9:]]))
        assert client.stat(sandbox_id, "/tmp/a/one").size == member.size
        client.stop_sandbox(sandbox_id)


def test_upload_is_not_begun_where_there_is_no_connection() -> None:
    pieces = iter([b"one", b"other"])
    with (
        requests.Session() as session,
        HTTPClient(address="127.0.0.1:1", session=session, max_retries=1) as client,
        pytest.raises(SandboxConnectionError),
    ):
        client.upload_archive("a", "/tmp", pieces)
    assert list(pieces) == [b"one", b"other"]

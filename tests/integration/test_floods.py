"""What one client without a key can do: nothing that others notice, and nothing that stays."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from h2_peer import Peer, framed, headers_of

from benchmarks.floods import KEY, KINDS, flood
from benchmarks.serving import Serving
from flash_sandbox import HTTPClient, SandboxClient
from flash_sandbox.codecs import MAX_REQUEST_BYTES
from flash_sandbox.errors import GRPC_STATUS
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

START = "/sandbox.SandboxService/StartSandbox"
STATUS = "/sandbox.SandboxService/GetStatus"
SECONDS = 0.5
MOST_GROWTH_MIB = 50


class Served(NamedTuple):
    """An orchestrator that asks for `KEY`, in a process of its own, and its log."""

    serving: Serving
    log: Path

    def connect(self) -> socket.socket:
        """Return a connection to the HTTP front door."""
        return socket.create_connection(("127.0.0.1", urlsplit(self.serving.http).port or 80), timeout=30)


@contextmanager
def serve(folder: Path, limits: Limits, *more: str, descriptors: int | None = None) -> Iterator[Served]:
    command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--limits", limits, "--api-key", KEY]
    command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", str(folder / "state"), *more]
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
    log = folder / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            http, grpc = (process.stdout.readline().split()[1] for _ in range(2))
            yield Served(Serving(http, grpc, process.pid), log)
            assert process.poll() is None
            assert "Traceback" not in log.read_text()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def served(limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("floods"), limits) as found:
        yield found


def ask(served: Served, sent: bytes) -> tuple[int, bytes]:
    """Send bytes to the HTTP front door; return the status and all of what is answered until it closes."""
    with served.connect() as connection:
        connection.sendall(sent)
        received = b""
        while data := connection.recv(65536):
            received += data
            if b"\r\n\r\n" in received and b"onnection: close" not in received:
                break
    return int(received.split(b" ", 2)[1]), received


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_costs_little_memory_and_others_are_answered(kind: str, served: Served) -> None:
    found = flood(served.serving, kind, SECONDS)
    assert found.failed == ()
    assert found.peak - found.before < MOST_GROWTH_MIB
    assert found.sent > 0 or kind == "idle"
    assert found.connections > 0


def test_idle_connections_shut_nobody_out(limits: Limits, tmp_path: Path) -> None:
    with serve(tmp_path, limits, descriptors=256) as few, ExitStack() as stack:
        client = stack.enter_context(SandboxClient(address=few.serving.grpc, api_key=KEY, max_retries=0))
        client.list_sandboxes()
        for _ in range(400):
            stack.enter_context(few.connect())
        with HTTPClient(address=few.serving.http, api_key=KEY, timeout=20, max_retries=0) as another:
            another.list_sandboxes()
        client.list_sandboxes()


class TestBeforeTheKey:
    def test_a_call_without_it_is_answered_before_its_message_comes(self, served: Served) -> None:
        with Peer(served.serving.grpc) as peer:
            outcome = peer.wait(peer.begin(headers_of(START)))
        assert outcome.status == GRPC_STATUS["UNAUTHENTICATED"]

    def test_calls_without_it_are_counted(self, served: Served) -> None:
        with Peer(served.serving.grpc) as peer:
            outcomes = [peer.call(headers_of(STATUS), [framed(b"")]) for _ in range(20)]
        assert {outcome.status for outcome in outcomes} == {GRPC_STATUS["UNAUTHENTICATED"]}

    @pytest.mark.parametrize("length", [b"content-length: 1000", b"transfer-encoding: chunked"])
    def test_a_request_without_it_is_answered_before_its_body_and_ends_the_connection(
        self, served: Served, length: bytes
    ) -> None:
        head = b"POST /sandboxes HTTP/1.1\r\nhost: localhost\r\n" + length + b"\r\n\r\n"
        status, received = ask(served, head)
        assert status == 401
        assert b"\r\nconnection: close\r\n" in received.lower()

    def test_the_answer_reaches_a_client_that_is_still_sending(self, served: Served) -> None:
        size = 3 * 2**20
        head = b"POST /sandboxes HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % size
        status, _ = ask(served, head + bytes(size))
        assert status == 401


class TestHeads:
    @pytest.mark.parametrize(
        "head",
        [
            b"GET /sandboxes HTTP/1.1\r\nhost: [\r\n",
            b"GET / HTTP/1.1\r\nhost: [\r\n",
            b"GET /nowhere HTTP/1.1\r\nhost: [\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: [::1\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: []\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: [v1.x]\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: a b\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: a/b\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: user@localhost\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost:port\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: \xff\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: http://[\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n",
            b"GET /healthz HTTP/1.1\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n folded: 1\r\nx\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1, 2\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: \x00\r\n",
            b"GET \x1b HTTP/1.1\r\nhost: localhost\r\n",
            b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n",
            b"\r\x00\r\n",
        ],
        ids=repr,
    )
    def test_a_malformed_one_is_a_400(self, served: Served, head: bytes) -> None:
        status, received = ask(served, head + b"\r\n")
        assert status == 400
        assert json.loads(received.partition(b"\r\n\r\n")[2])["reason"] == "invalid_argument"

    def test_one_that_is_too_long_is_a_400(self, served: Served) -> None:
        status, _ = ask(served, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 70_000)
        assert status == 400

    def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(self, served: Served) -> None:
        head = "POST /sandboxes HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %s\r\ncontent-length: %d"
        sent = (head % (KEY, MAX_REQUEST_BYTES + 1) + "\r\n\r\n").encode()
        assert ask(served, sent)[0] == 413


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_caller_sends_reaches_the_log_escaped(log_format: str, limits: Limits, tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\nlevel=info event=forged \x7f\x9b\u2028"
    with serve(tmp_path, limits, "--log-format", log_format) as found:
        path = "".join(f"%{byte:02X}" for byte in hostile.encode())
        ask(found, f"GET /%FF{path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        with Peer(found.serving.grpc) as peer:
            peer.call(headers_of("/" + hostile.encode("ascii", "ignore").decode()), [framed(b"")])
    lines = found.log.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 2
    for line in lines:
        assert line.decode().replace("\x7f", "" if log_format == "json" else "\x7f").isprintable()
        assert b"owned" in line
        if log_format == "json":
            assert json.loads(line)["event"] == "request"


def test_an_empty_frame_of_data_is_not_the_end(served: Served) -> None:
    empty = b"\0\0\0\0\0\0\0\0\1"
    with Peer(served.serving.grpc) as peer:
        stream = peer.begin(headers_of(STATUS, ("authorization", f"Bearer {KEY}")))
        peer.write(empty)
        peer.send(stream, framed(b"\x0a\x04gone"))
        peer.write(empty)
        peer.end(stream)
        assert peer.wait(stream).status == GRPC_STATUS["NOT_FOUND"]

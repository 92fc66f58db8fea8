"""A web server in a sandbox, and how it is reached by the orchestrator's URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

KEY: Final = "sesame"
COOKIE: Final = "flash_sandbox_link"
# What servers in sandboxes begin with.
BASE: Final = r"""
import base64, hashlib, http.server

class Base(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def accept_websocket(self):
        key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode())
        self.end_headers()
"""
SERVER: Final = (
    BASE
    + r"""
import json, socketserver, struct, time

class Handler(Base):

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.half_closed() if self.path.startswith("/half-closed") else self.websocket()
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(3):
                self.wfile.write(b"2\r\n%d\n\r\n" % number)
                time.sleep(0.3)
            return self.wfile.write(b"0\r\n\r\n")
        if self.path == "/page":
            page = b"<!doctype html><title>page</title><body>served by a sandbox</body>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            return self.wfile.write(page)
        if self.path == "/dies":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        said = {"path": self.path, "headers": self.headers.items(), "body": len(body), "method": self.command}
        answer = json.dumps(said).encode()
        self.send_response(200)
        for name, value in (
            ("Content-Length", len(answer)),
            ("Set-Cookie", "mine=1; Domain=localhost; Path=/"),
            ("Set-Cookie", "flash_sandbox_link=forged; Path=/"),
            ("Clear-Site-Data", '"*"'),
            ("X-Mine", "yes"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_HEAD = do_GET

    def half_closed(self):
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.close_connection = True
        if self.path == "/half-closed-by-server":
            self.connection.shutdown(1)
        count = len(self.rfile.read())
        if self.path == "/half-closed-by-server":
            open("/tmp/count", "w").write(str(count))
        else:
            self.wfile.write(str(count).encode())

    def websocket(self):
        self.accept_websocket()
        while True:
            first, second = self.rfile.read(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", self.rfile.read(2))
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(size)))
            head = struct.pack(">BBH", first, 126, size) if size > 125 else bytes([first, size])
            self.wfile.write(head + data)
            self.wfile.flush()
            if first & 15 == 8:
                self.close_connection = True
                return

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    pass

Server(("127.0.0.1", 8000), Handler).serve_forever()
"""
)


@pytest.fixture(scope="module")
def keyless(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox_without_key(keyless: Orchestrator) -> Iterator[Sandbox]:
    yield from serving(keyless)


def serving(orchestrator: Orchestrator, **options: Any) -> Iterator[Sandbox]:
    with (
        HTTPClient(address=orchestrator.http_address, **options) as client,
        Sandbox.create(client=client, memory_mb=128) as sandbox,
    ):
        sandbox.commands.start(["python3", "-c", SERVER])
        sandbox.ports.wait(8000)
        yield sandbox


def name_of(sandbox: Sandbox, port: int = 8000) -> str:
    return f"{sandbox.id}--{port}.localhost"


def token_of(sandbox: Sandbox, port: int = 8000, ttl: float = 60) -> str:
    return urlsplit(sandbox.ports.url(port, ttl=ttl)).query.partition("=")[2]

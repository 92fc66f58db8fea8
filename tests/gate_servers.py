"""Servers outside of sandboxes, on this host's loopback interface, and their names in network policies."""

from __future__ import annotations

import base64
import hashlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

ALLOWED: Final = "allowed.test"
DENIED: Final = "denied.test"
BELOW: Final = "below.allowed.test"

RESOLVE: Final = tuple(f"{name}=127.0.0.1" for name in (ALLOWED, DENIED, BELOW))
"""What `serve --resolve` is told."""


class _Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self._answer(302, b"", Location=f"http://{DENIED}:{self.server.server_port}/")
        elif self.headers.get("Upgrade") == "websocket":
            self._upgrade()
        elif self.path == "/headers":
            self._answer(200, str(self.headers).encode())
        elif self.path.startswith("/bytes/"):
            self._answer(200, bytes(int(self.path.rpartition("/")[2])))
        else:
            self._answer(200, f"hello {self.headers['Host']} {self.path}".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _upgrade(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header(
            "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.end_headers()
        self.close_connection = True
        while data := self.rfile.read1(65536):
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Speaker(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"220 speaking first\r\n")
        _Echo.handle(self)


class _Threaded(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[int]:
    """Run a server for the length of a block; give the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def web_server() -> Iterator[int]:
    """Serve HTTP for the length of a block; give the port."""
    return running(ThreadingHTTPServer(("127.0.0.1", 0), _Web))


def echo_server() -> Iterator[int]:
    """Send back whatever comes."""
    return running(_Threaded(("127.0.0.1", 0), _Echo))


def speaking_server() -> Iterator[int]:
    """Speak first, and then send back whatever comes."""
    return running(_Threaded(("127.0.0.1", 0), _Speaker))


def client_hello(name: str | None) -> bytes:
    """Return what a client of TLS sends first that asks for a server of this name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake needs a server")

"""Registries for tests: docker-registry on the loopback interface, with basic or token authentication.

What a test needs of one beyond its answers: a proxy that cuts connections, and the log of requests.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

USER, PASSWORD = "tester", "not a secret"
# bcrypt of the password, which is what docker-registry reads.
_HTPASSWD = "$2b$04$abcdefghijklmnopqrstuufjJ3DP7hIDUkwzAqTBtlkzMsXi0O/Pm"
_ISSUER = "the test's own"
_SERVICE = "registry"
_PATIENCE_SECONDS = 30


def missing() -> str | None:
    """Return what is not installed; None for nothing."""
    programs = ("docker-registry", "skopeo", "openssl", "busybox")
    return next((f"{program} is not installed" for program in programs if not shutil.which(program)), None)


def auth_document(registry: str, user: str = USER, password: str = PASSWORD) -> str:
    """Return what ``docker login`` would write."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": encoded}}})


@dataclass
class Registry:
    """A registry that runs.

    Attributes:
        port: Where it listens on 127.0.0.1.
        directory: What it stores.
        log: Where it writes one line a request.
    """

    port: int
    directory: Path
    log: Path

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def push(self, layout: Path, image: str, tag: str = "latest") -> str:
        """Push an image of a layout with all its platforms, and return its name."""
        target = f"{self.name}/{image}"
        login = ["--dest-creds", f"{USER}:{PASSWORD}", "--dest-tls-verify=false"]
        command = ["skopeo", "--insecure-policy", "copy", "--all", *login]
        result = subprocess.run(
            [*command, f"oci:{layout}:{tag}", f"docker://{target}"], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return target

    def requests(self, path: str) -> list[tuple[int, int]]:
        """Return status and size of each answered GET of a path, from the log."""
        found = []
        for line in self.log.read_text().splitlines():
            if f'"GET {path} HTTP/' in line:
                status, size = line.split('" ')[1].split()[:2]
                found.append((int(status), int(size)))
        return found

    def stored(self, digest: str) -> Path:
        """Return the file of a blob."""
        digits = digest.removeprefix("sha256:")
        return self.directory / f"docker/registry/v2/blobs/sha256/{digits[:2]}/{digits}/data"


@contextmanager
def running_registry(directory: Path, auth: dict[str, Any]) -> Iterator[Registry]:
    """Run a registry."""
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of the test"},
        "auth": auth,
    }
    directory.mkdir(exist_ok=True)
    # JSON is YAML.
    (directory / "config.yml").write_text(json.dumps(config))
    log = directory / "log"
    with log.open("wb") as output:
        command = ["docker-registry", "serve", str(directory / "config.yml")]
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield Registry(port, directory / "data", log)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def basic_registry(directory: Path) -> Iterator[Registry]:
    """Run a registry that asks for user and password."""
    directory.mkdir(exist_ok=True)
    (directory / "htpasswd").write_text(f"{USER}:{_HTPASSWD}\n")
    auth = {"htpasswd": {"realm": "test, with a comma", "path": str(directory / "htpasswd")}}
    with running_registry(directory, auth) as registry:
        yield registry


@contextmanager
def token_registry(directory: Path) -> Iterator[Registry]:
    """Run a registry that takes the tokens of a token server of the test's own."""
    directory.mkdir(exist_ok=True)
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenHandler)
    server.signing = (key, certificate)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    auth = {
        "token": {
            "realm": f"http://127.0.0.1:{server.server_port}/token",
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": str(certificate),
        }
    }
    try:
        with running_registry(directory, auth) as registry:
            yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _TokenHandler(BaseHTTPRequestHandler):
    """Gives whoever logs in a token for the scope that was asked for (docker's token specification)."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("authorization") != expected:
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        query = parse_qs(urlsplit(self.path).query)
        body = json.dumps({"token": self._token(query)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _token(self, query: dict[str, list[str]]) -> str:
        key, certificate = self.server.signing  # type: ignore[attr-defined]
        lines = certificate.read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "sub": USER,
            "aud": query["service"][0],
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": "1",
            "access": access,
        }
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(key)]
        signature = subprocess.run(command, input=signed.encode(), check=True, capture_output=True).stdout
        return f"{signed}.{_base64url(signature)}"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class CuttingProxy:
    """Passes connections on to a port, and cuts those that carry too much.

    Attributes:
        target: The port.
        cut_after: Bytes of answers after which a connection is cut; None for never.
        cuts_left: How many more connections are cut.
        cuts: How many were.
    """

    target: int
    cut_after: int | None = None
    cuts_left: int = 0
    cuts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Listen on 127.0.0.1, and yield the port."""
        threads: list[threading.Thread] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            accepting = threading.Thread(target=self._accept, args=(listener, threads))
            accepting.start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                accepting.join()
                for thread in threads:
                    thread.join()

    def _accept(self, listener: socket.socket, threads: list[threading.Thread]) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                for source, sink, answers in ((client, server, False), (server, client, True)):
                    threads.append(threading.Thread(target=self._pass_on, args=(source, sink, answers)))
                    threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        passed = 0
        with source, suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if answers and self._cuts(passed):
                    break
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _cuts(self, passed: int) -> bool:
        with self._lock:
            if self.cut_after is None or passed < self.cut_after or not self.cuts_left:
                return False
            self.cuts_left -= 1
            self.cuts += 1
            return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False).status_code == 401
    time.sleep(0.02)
    return False


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

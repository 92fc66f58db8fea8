"""The environment of the machine does not redirect what goes to this machine, and does not see its key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from loop_server import LoopServer

from flash_sandbox import (
    HTTPClient,
    InvalidArgumentError,
    SandboxAPI,
    SandboxConnectionError,
    SandboxTimeoutError,
    UnavailableError,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator

Connect = Callable[..., SandboxAPI]

KEY = "the-key-of-this-machine"
VARIABLES = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]

clients_over_http = pytest.mark.parametrize("kind", ["HTTPClient", "AsyncHTTPClient"], indirect=True)


class Proxy(LoopServer):
    """Has nothing to pass on, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            self.seen += await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


class SlowProxy(LoopServer):
    """Sends a byte of an answer now and then, for two seconds."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
            for _ in range(40):
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """Let every variable name the proxy."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://{proxy.address}")
    return proxy


@pytest.fixture(scope="module")
def guarded() -> Iterator[Orchestrator]:
    with running_orchestrator(limits="best-effort", api_key=KEY) as running:
        yield running


class TestThisMachine:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
    def test_no_proxy_is_used_for_it(
        self, connect: Connect, kind: str, guarded: Orchestrator, proxied: Proxy, host: str
    ) -> None:
        address = guarded.http_address if "HTTP" in kind else guarded.grpc_address
        client = connect(f"{host}:{address.rpartition(':')[2]}", api_key=KEY)
        assert client.list_sandboxes().sandboxes == ()
        assert proxied.connections == 0

    @pytest.mark.parametrize("variable", VARIABLES)
    def test_no_proxy_of_any_variable_is(
        self,
        connect: Connect,
        address: str,
        proxy: Proxy,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
    ) -> None:
        monkeypatch.setenv(variable, proxy.address)
        assert connect(address).list_sandboxes() is not None
        assert proxy.connections == 0

    def test_a_requests_session_uses_none_of_the_environment(
        self, guarded: Orchestrator, proxied: Proxy
    ) -> None:
        with requests.Session() as session:
            client = HTTPClient(address=guarded.http_address, session=session, api_key=KEY)
            assert client.list_sandboxes().sandboxes == ()
        assert proxied.connections == 0

    def test_a_requests_session_keeps_a_proxy_of_its_own(self, guarded: Orchestrator, proxy: Proxy) -> None:
        with requests.Session() as session:
            session.proxies["http"] = f"http://{proxy.address}"
            client = HTTPClient(address=guarded.http_address, session=session, api_key=KEY, max_retries=0)
            with pytest.raises(UnavailableError):
                client.list_sandboxes()
        assert proxy.connections == 1

    def test_a_netrc_file_does_not_take_the_place_of_the_key(
        self, guarded: Orchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password something\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with requests.Session() as session:
            client = HTTPClient(address=guarded.http_address, session=session, api_key=KEY)
            assert client.list_sandboxes().sandboxes == ()

    def test_an_embedded_orchestrator_is_reached(self, proxied: Proxy) -> None:
        program = (
            "from flash_sandbox import Sandbox\n"
            "with Sandbox.create() as sandbox: print(sandbox.exec_command(['echo', 'hi']).stdout)"
        )
        environment = {name: value for name, value in os.environ.items() if name != "FLASH_SANDBOX_ADDR"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "hi"), done.stderr
        assert proxied.connections == 0


@clients_over_http
class TestAnotherMachine:
    def test_an_error_names_the_proxy_but_not_its_password(
        self, connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@{proxy.address}")
        client = connect("sandboxes.example:80", max_retries=0)
        with pytest.raises(UnavailableError, match=f"through the proxy http://{proxy.address}") as caught:
            client.list_sandboxes()
        assert "secret" not in str(caught.value)
        assert b"GET http://sandboxes.example/" in proxy.seen

    def test_so_does_that_of_a_proxy_that_does_not_answer(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        client = connect("https://sandboxes.example", max_retries=0)
        with pytest.raises(SandboxConnectionError, match=r"through the proxy http://127\.0\.0\.1:9"):
            client.list_sandboxes()

    def test_a_call_through_a_proxy_takes_no_longer_than_its_timeout(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with SlowProxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
            client = connect("sandboxes.example:80", timeout=0.4, max_retries=0)
            with pytest.raises(SandboxTimeoutError, match=r"no answer within 0\.4 s"):
                client.list_sandboxes()

    def test_no_proxy_is_used_for_what_the_environment_excepts(
        self, connect: Connect, proxied: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "elsewhere.invalid:81,sandboxes.invalid")
        for address in ("sandboxes.invalid:80", "elsewhere.invalid:81"):
            with pytest.raises(SandboxConnectionError) as caught:
                connect(address, max_retries=0).list_sandboxes()
            assert "proxy" not in str(caught.value)
        assert proxied.connections == 0

    @pytest.mark.parametrize("proxy_url", ["gopher://proxy.example:70", "http://proxy.example:port"])
    def test_a_proxy_that_cannot_be_used_is_named(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy_url: str
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy_url)
        with pytest.raises(InvalidArgumentError, match=proxy_url):
            connect("sandboxes.example:80")

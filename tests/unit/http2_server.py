"""A server of gRPC that leaves, refuses, dawdles and answers early, as a test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from flash_sandbox_grpc import StatusResponse
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from flash_sandbox.codecs.grpc import SERVER_CODEC

__all__ = [
    "HEAD",
    "Server",
    "answer_one",
    "leave_after_one",
    "leave_before_one",
    "refuse_one",
    "reset_one",
    "serving",
]

HEAD = [(":status", "200"), ("content-type", "application/grpc")]


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
        self._requests: list[int] = []

    def flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def begin(self) -> int:
        """Return the next call once its headers are there."""
        while not self._requests:
            self._events()
        return self._requests.pop(0)

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
            if isinstance(event, RequestReceived):
                self._requests.append(int(event.stream_id or 0))
            elif isinstance(event, DataReceived):
                self.received += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        self.flush()
        return events

    def answer(self, stream: int, status: str = "running") -> None:
        data = SERVER_CODEC.encode(StatusResponse(status=status), StatusResponse)
        self.h2.send_headers(stream, HEAD)
        self.h2.send_data(stream, b"\0" + len(data).to_bytes(4, "big") + data)
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()

    def go_away(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say which call is the last one here, and go on with those before it."""
        self.h2.close_connection(code, last_stream_id=last)
        self.flush()
        # h2 sends nothing after it has said so; a server that winds down does.
        self.h2.state_machine.state = ConnectionState.SERVER_OPEN

    def hold(self) -> None:
        """Read, and answer nothing, until the client leaves."""
        with suppress(OSError):
            while self._socket.recv(65536):
                pass

    def flood(self) -> None:
        """Send frames that nobody knows, as fast as they are taken, until the client leaves."""
        # 4.1 of RFC 9113: length, type, flags, stream.
        frames = b"\0\0\x01\x77\0\0\0\0\0a" * 10_000
        with suppress(OSError):
            while True:
                self._socket.sendall(frames)

    def leave(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)


@contextmanager
def serving(
    *scripts: Callable[[Server], None],
    settings: dict[SettingCodes, int] | None = None,
    at_once: bool = False,
) -> Iterator[str]:
    """Serve as many connections as there are scripts, one by one or at once, and yield the address."""
    failures: list[BaseException] = []

    def serve(*these: Callable[[Server], None]) -> None:
        try:
            for script in these:
                with accepting:
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

    accepting = threading.Lock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        shares = [(script,) for script in scripts] if at_once else [scripts]
        threads = [threading.Thread(target=serve, args=share) for share in shares]
        for thread in threads:
            thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for thread in threads:
            thread.join()
    assert failures == []


def answer_one(server: Server) -> None:
    stream = server.begin()
    server.answer(stream)


def leave_after_one(server: Server) -> None:
    """Say that this call is the last one, and only then answer it, as nginx does."""
    stream = server.begin()
    server.go_away(stream)
    server.answer(stream)


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

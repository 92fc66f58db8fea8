"""One client without a key, which makes the orchestrator of its own machine work as fast as it can.

Run as ``flood.py KIND PORT SECONDS``. It says on standard output how much it has sent, and over how many
connections.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_MOST_IDLE: Final = 1500
_END_HEADERS: Final = 4
# A call without a key in the static table of HPACK and literals without indexing (RFC 7541).
_CALL: Final = (
    b"\x83\x86"
    + b"\x04\x21/sandbox.SandboxService/GetStatus"
    + b"\x0f\x10\x10application/grpc"
    + b"\x00\x02te\x08trailers"
)


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _streams(make: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield what is sent on one connection, a few hundred streams at a time."""
    for first in range(1, 2**30, 1000):
        yield b"".join(make(stream) for stream in range(first, first + 1000, 2))


def _repeated(piece: bytes, head: bytes = b"") -> Iterator[bytes]:
    yield head
    block = piece * max(65536 // len(piece), 1)
    while True:
        yield block


_ERROR: Final = (8).to_bytes(4, "big")
_MANY_HEADERS: Final = b"\x00\x01a\x01b" * 3000

FLOODS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "resets": lambda: _streams(lambda stream: frame(1, 4, stream, _CALL) + frame(3, 0, stream, _ERROR)),
    "calls": lambda: _streams(lambda stream: frame(1, 4, stream, _CALL)),
    "pings": lambda: _repeated(frame(6, 0, 0, bytes(8))),
    "settings": lambda: _repeated(frame(4, 0, 0)),
    "large settings": lambda: _repeated(frame(4, 0, 0, b"\x00\x04\x00\x01\x00\x00" * 2700)),
    "priorities": lambda: _repeated(frame(2, 0, 1, bytes(5))),
    "windows": lambda: _repeated(frame(8, 0, 0, b"\0\0\0\1")),
    "empty data": lambda: _repeated(frame(0, 0, 1), frame(1, 4, 1, _CALL)),
    "continuations": lambda: _repeated(frame(9, 0, 1), frame(1, 0, 1, _CALL)),
    "large headers": lambda: _streams(lambda stream: frame(1, 4, stream, _CALL + _MANY_HEADERS)),
    "unknown frames": lambda: _repeated(frame(250, 0, 0, b"x")),
}
"""What is sent over gRPC's port, by name."""

HTTP_FLOODS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "requests": lambda: _repeated(b"GET /sandboxes HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "unread answers": lambda: _repeated(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "bodies": lambda: _repeated(
        bytes(65536), b"POST /sandboxes HTTP/1.1\r\nhost: localhost\r\ncontent-length: 16000000\r\n\r\n"
    ),
    "endless head": lambda: _repeated(b"x-more: 1\r\n", b"GET / HTTP/1.1\r\nhost: localhost\r\n"),
}
"""What is sent over the other port, by name."""

HELD: Final[dict[str, bytes]] = {
    "idle": b"",
    "half heads": b"GET /sandboxes HTTP/1.1\r\nhost: loc",
    "half headers": PREFACE + frame(1, 0, 1, _CALL),
}
"""What is sent on each of many connections that are then held, by name."""


class _Flood:
    def __init__(self, port: int, seconds: float) -> None:
        self.sent = 0
        self.connections = 0
        self._port = port
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def send(self, pieces: Iterator[bytes], *, reads: bool) -> None:
        """Send on one connection until it is closed."""
        try:
            with self._connect() as connection:
                connection.setblocking(False)
                for piece in pieces:
                    if self.is_over or not self._send(connection, piece, reads):
                        return
        except OSError:
            return

    def _send(self, connection: socket.socket, piece: bytes, reads: bool) -> bool:
        rest = memoryview(piece)
        while rest and not self.is_over:
            wanted = [connection] if reads else []
            readable, writable, _ = select.select(wanted, [connection], [], 0.1)
            if readable and not connection.recv(65536):
                return False
            if writable:
                size = connection.send(rest)
                self.sent += size
                rest = rest[size:]
        return True

    def hold(self, data: bytes) -> None:
        """Open connections, as many as there can be, and again those that are closed."""
        held: set[socket.socket] = set()
        while not self.is_over:
            try:
                while len(held) < _MOST_IDLE and not self.is_over:
                    connection = self._connect()
                    held.add(connection)
                    connection.sendall(data)
                    self.sent += len(data)
                    connection.setblocking(False)
            except OSError:
                pass
            waiting = select.poll()
            by_number = {connection.fileno(): connection for connection in held}
            for number in by_number:
                waiting.register(number, select.POLLIN)
            for number, _ in waiting.poll(50):
                try:
                    gone = not by_number[number].recv(65536)
                except OSError:
                    gone = True
                if gone:
                    by_number[number].close()
                    held.discard(by_number[number])

    def _connect(self) -> socket.socket:
        self.connections += 1
        return socket.create_connection(("127.0.0.1", self._port), timeout=1)


def main(kind: str, port: int, seconds: float) -> None:
    """Flood for so many seconds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    flood = _Flood(port, seconds)
    if kind in HELD:
        flood.hold(HELD[kind])
    while not flood.is_over:
        if kind in FLOODS:
            flood.send(_with_preface(FLOODS[kind]()), reads=kind not in ("pings", "settings"))
        else:
            flood.send(HTTP_FLOODS[kind](), reads=kind != "unread answers")
    print(json.dumps({"sent": flood.sent, "connections": flood.connections}))


def _with_preface(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces)
    yield PREFACE + first
    yield from pieces


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))

"""The name of a server in the first message of TLS (RFC 8446, 4.1.2; RFC 6066, 3)."""

from __future__ import annotations

from typing import Final

__all__ = ["HANDSHAKE", "Incomplete", "server_name"]

HANDSHAKE: Final = 0x16
"""The first byte of what a client of TLS sends."""

_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_MOST: Final = 64 * 1024


class Incomplete(Exception):
    """More bytes are needed."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if size > len(self.data):
            raise ValueError("the message is cut short")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size_bytes: int) -> _Reader:
        return _Reader(self.take(self.number(size_bytes)))


def server_name(data: bytes) -> str | None:
    """Return the server's name that a client of TLS names first; None if it names none.

    Args:
        data: What the client has sent so far.

    Raises:
        Incomplete: That is not all of its first message.
        ValueError: It is not the first message of TLS, or names more than one server.
    """
    hello = _Reader(_handshake(data))
    # Version, random bytes, session, cipher suites, compression.
    hello.take(2 + 32)
    for size_bytes in (1, 2, 1):
        hello.block(size_bytes)
    if not hello.data:
        return None
    names = []
    extensions = hello.block(2)
    while extensions.data:
        kind, content = extensions.number(2), extensions.block(2)
        if kind == _SERVER_NAME:
            entries = content.block(2)
            while entries.data:
                if entries.number(1) != _HOST_NAME:
                    raise ValueError("the server is named by something else than its name")
                names.append(entries.block(2).data.decode("ascii"))
    if len(names) > 1:
        raise ValueError("several servers are named")
    return names[0] if names else None


def _handshake(data: bytes) -> bytes:
    """Return the body of the first message, which may be spread over several records."""
    message, rest = b"", data
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        if len(data) > _MOST:
            raise ValueError("the first message is too long")
        if rest and rest[0] != HANDSHAKE:
            raise ValueError("this is not the first message of TLS")
        size = int.from_bytes(rest[3:5], "big")
        if len(rest) < 5 or len(rest) < 5 + size:
            raise Incomplete
        if not size:
            raise ValueError("a record is empty")
        message, rest = message + rest[5 : 5 + size], rest[5 + size :]
    if message[0] != _CLIENT_HELLO:
        raise ValueError("this is not the first message of TLS")
    return message[4 : 4 + int.from_bytes(message[1:4], "big")]

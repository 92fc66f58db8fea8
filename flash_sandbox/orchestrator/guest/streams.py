"""The byte streams that channels to guest agents run on."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from .channel import Channel
from .tasks import ChannelFailed

__all__ = ["AgentStream", "OpenStream", "open_stream"]

_MAX_UNSENT: Final = 64 * 1024 * 1024
"""Bytes that wait to be sent, above which an agent is given up: it does not read."""


@dataclass(frozen=True, slots=True)
class AgentStream:
    """A byte stream to the agent of one sandbox. `open_stream` takes over its descriptors and closes them.

    Attributes:
        read: Descriptor that is read from.
        write: Descriptor that is written to; for a socket the same.
        may_break: Whether the stream may have been broken off inside a frame, as pipes may.
        secret: What the agent has to show when it connects again; empty if it does not connect itself.
    """

    read: int
    write: int
    may_break: bool = False
    secret: bytes = b""

    def close(self) -> None:
        """Close the descriptors of a stream that has not been opened."""
        for descriptor in {self.read, self.write}:
            os.close(descriptor)


class OpenStream:
    """A stream that a channel runs on.

    Attributes:
        transports: Its ends.
    """

    def __init__(self, protocol: _Protocol, transports: list[asyncio.BaseTransport]) -> None:
        self.transports = transports
        self._protocol = protocol

    def close(self) -> None:
        """Close the stream, about which the channel hears nothing. Idempotent."""
        self._protocol.is_closed = True
        for transport in self.transports:
            if transport.is_closing():
                continue
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
            else:
                transport.close()


async def open_stream(stream: AgentStream, channel: Channel) -> OpenStream:
    """Connect a channel with a stream. `Channel.open` waits for the agent's greeting."""
    loop = asyncio.get_running_loop()
    protocol = _Protocol(channel, stream)
    if stream.read == stream.write:
        sock = socket.socket(fileno=stream.read)
        sock.setblocking(False)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return OpenStream(protocol, [transport])
    read_end, write_end = os.fdopen(stream.read, "rb", 0), os.fdopen(stream.write, "wb", 0)
    opened = OpenStream(protocol, [])
    try:
        protocol.writer, _ = await loop.connect_write_pipe(lambda: _WriteProtocol(protocol), write_end)
        opened.transports.append(protocol.writer)
        reader, _ = await loop.connect_read_pipe(lambda: protocol, read_end)
        opened.transports.append(reader)
    except BaseException:
        opened.close()
        read_end.close()
        write_end.close()
        raise
    return opened


class _Protocol(asyncio.Protocol):
    def __init__(self, channel: Channel, stream: AgentStream) -> None:
        self.is_closed = False
        self.writer: asyncio.WriteTransport | None = None
        self._channel = channel
        self._stream = stream
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A socket's transport is both ends.
        if self.writer is None:
            self.writer = cast(asyncio.Transport, transport)
        stream = self._stream
        self._channel.connect(self._write, synchronise=stream.may_break, secret=stream.secret)

    def data_received(self, data: bytes) -> None:
        if not self.is_closed:
            self._channel.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._channel.lost()

    def _write(self, parts: Sequence[bytes]) -> None:
        # What is sent in one turn of the event loop is sent at once.
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += parts

    def _flush(self) -> None:
        assert self.writer is not None
        parts, self._unsent = self._unsent, []
        if self.is_closed:
            return
        # A long command line has a million parts. uvloop's `writelines` fails at so many.
        self.writer.write(b"".join(parts))
        if self.writer.get_write_buffer_size() > _MAX_UNSENT:
            self._channel.fail(ChannelFailed("the agent does not read"))


class _WriteProtocol(asyncio.BaseProtocol):
    """The write end of a pair of pipes, whose loss is that of the stream."""

    def __init__(self, protocol: _Protocol) -> None:
        self._protocol = protocol

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)

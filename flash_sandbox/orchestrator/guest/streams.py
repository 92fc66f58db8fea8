"""The byte streams that channels to guest agents run on."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .channel import Channel, ChannelFailed

__all__ = ["AgentStream", "OpenChannel", "open_channel"]

_MAX_UNSENT: Final = 64 * 1024 * 1024
"""Bytes that wait to be sent, above which an agent is given up: it does not read."""


@dataclass(frozen=True, slots=True)
class AgentStream:
    """A byte stream to the agent of one sandbox. `open_channel` takes over its descriptors and closes them.

    Attributes:
        read: Descriptor that is read from.
        write: Descriptor that is written to; for a socket the same.
        may_break: Whether the stream may have been broken off inside a frame, as pipes may.
        secret: What the agent has to show when it connects again; empty where it does not connect itself.
        shows: What the agent has to show now, where it has connected itself: the secret of the connection
            before, or nothing the first time. None where it has not connected itself.
    """

    read: int
    write: int
    may_break: bool = False
    secret: bytes = b""
    shows: bytes | None = None

    def close(self) -> None:
        """Close the descriptors of a stream that nobody has opened a channel on."""
        for descriptor in {self.read, self.write}:
            os.close(descriptor)


class OpenChannel:
    """A channel, and the transports that it runs on.

    Attributes:
        channel: The channel.
    """

    def __init__(self, channel: Channel, transports: list[asyncio.BaseTransport]) -> None:
        self.channel = channel
        self._transports = transports

    def close(self) -> None:
        """Close the channel and its stream. Idempotent."""
        self.channel.close()
        for transport in self._transports:
            abort = getattr(transport, "abort", transport.close)
            abort()


async def open_channel(
    stream: AgentStream, on_failure: Callable[[ChannelFailed], None] | None = None
) -> OpenChannel:
    """Make a channel on a stream. `Channel.open` greets the agent.

    Args:
        stream: The stream.
        on_failure: Called once, with the reason, when the channel fails.
    """
    loop = asyncio.get_running_loop()
    protocol = _Protocol(stream, on_failure)
    if stream.read == stream.write:
        sock = socket.socket(fileno=stream.read)
        sock.setblocking(False)
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        protocol.writer = transport
        return OpenChannel(protocol.channel, [transport])
    reading, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(stream.read, "rb", 0))
    writer = os.fdopen(stream.write, "wb", 0)
    try:
        writing, _ = await loop.connect_write_pipe(lambda: _WriteProtocol(protocol), writer)
    except BaseException:
        reading.close()
        writer.close()
        raise
    protocol.writer = writing
    return OpenChannel(protocol.channel, [reading, writing])


class _Protocol(asyncio.Protocol):
    def __init__(self, stream: AgentStream, on_failure: Callable[[ChannelFailed], None] | None) -> None:
        self.writer: asyncio.WriteTransport | None = None
        self.channel = Channel(
            self._write,
            synchronise=stream.may_break,
            secret=stream.secret,
            shows=stream.shows,
            on_failure=on_failure,
        )

    def data_received(self, data: bytes) -> None:
        self.channel.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.channel.lost()

    def _write(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)
        if self.writer.get_write_buffer_size() > _MAX_UNSENT:
            self.channel.fail(ChannelFailed("the agent does not read"))


class _WriteProtocol(asyncio.BaseProtocol):
    """The write end of a pair of pipes, whose loss is that of the stream."""

    def __init__(self, protocol: _Protocol) -> None:
        self._protocol = protocol

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.channel.lost()

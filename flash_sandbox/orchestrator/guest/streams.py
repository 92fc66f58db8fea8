"""The streams that a channel to a guest agent runs on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

from .channel import Channel, ChannelFailed

__all__ = ["channel_on_socket"]

_MOST_UNSENT: Final = 64 * 1024 * 1024
"""Bytes that wait to be sent, above which an agent is given up: it does not read."""


@asynccontextmanager
async def channel_on_socket(
    sock: socket.socket,
    *,
    secret: bytes = b"",
    shows: bytes | None = None,
    on_failure: Callable[[ChannelFailed], None] | None = None,
) -> AsyncIterator[Channel]:
    """Make a channel on a connected stream socket for the length of the block; the socket is closed then.

    Takes what `Channel` does.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: _Protocol(secret, shows, on_failure), sock=sock
    )
    try:
        yield protocol.channel
    finally:
        protocol.channel.close()
        transport.abort()


class _Protocol(asyncio.Protocol):
    def __init__(
        self, secret: bytes, shows: bytes | None, on_failure: Callable[[ChannelFailed], None] | None
    ) -> None:
        self.channel = Channel(self._write, secret=secret, shows=shows, on_failure=on_failure)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.channel.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.channel.lost()

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _MOST_UNSENT:
            self.channel.fail(ChannelFailed("the agent does not read"))

"""Connections to the TCP ports of a sandbox, which its guest agent makes on its own loopback interface."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from ...errors import PortClosedError
from ..cancellation import completed
from .channel import Channel
from .tasks import ChannelFailed, Task

__all__ = ["PortConnection", "connected"]

_CONNECT_SECONDS: Final = 10.0
"""How long a program may take to accept a connection: the kernel waits where its queue is full."""

_PIECE: Final = 256 * 1024
"""Bytes that are handed on at once: what a transport does for each piece takes longer than to copy it."""


class PortConnection:
    """A connection to a port, for as long as the block of `connected` runs.

    Args:
        port: The port.
        task: The agent's task.

    Attributes:
        id: A random name for it.
        port: The port.
    """

    def __init__(self, port: int, task: Task) -> None:
        self.id = secrets.token_hex(10)
        self.port = port
        self._task = task
        # One write at a time, so that bytes arrive in the order of the calls.
        self._writing = asyncio.Lock()
        self._is_ended = False

    async def receive(self) -> bytes:
        """Return what the program sends next; nothing once it has closed its side.

        Raises:
            PortClosedError: The connection broke off.
        """
        try:
            piece = await self._task.next_output(_PIECE)
        except ChannelFailed as failure:
            raise PortClosedError(f"port {self.port}: the sandbox ended") from failure
        if piece is not None:
            return piece.data
        if self._task.has_ended:
            await self.ended()
        return b""

    async def ended(self) -> None:
        """Wait until both sides are closed. What the program still sends is discarded.

        Raises:
            PortClosedError: The connection broke off.
        """
        try:
            status = (await self._task.ended()).status
        except ChannelFailed as failure:
            raise PortClosedError(f"port {self.port}: the sandbox ended") from failure
        if status:
            raise PortClosedError(f"port {self.port}: {os.strerror(status)}")

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send bytes, as fast as the program reads them, and the end of them if that is asked.

        Raises:
            PortClosedError: The program has closed the connection, or the end was sent before.
        """
        async with self._writing:
            if self._is_ended:
                raise PortClosedError(f"port {self.port}: nothing can be sent after the end")
            self._is_ended = end
            try:
                sent = await self._task.write(data, end=end)
            except ChannelFailed as failure:
                raise PortClosedError(f"port {self.port}: the sandbox ended") from failure
        if not sent and not (end and not data):
            raise PortClosedError(f"port {self.port}: the connection has ended")

    def close(self) -> None:
        """End it at once. Idempotent."""
        if not self._task.has_ended:
            self._task.kill()


@asynccontextmanager
async def connected(channel: Channel, port: int) -> AsyncIterator[PortConnection]:
    """Connect to a TCP port on the sandbox's loopback interface for the length of the block.

    Raises:
        PortClosedError: Nothing listens there, or it does not accept the connection in time.
    """
    try:
        task = channel.dial(port=port)
    except ChannelFailed as failure:
        raise PortClosedError(f"port {port}: the sandbox ended") from failure
    try:
        await _begin(task, port)
        yield PortConnection(port, task)
    finally:
        if not task.has_ended:
            with suppress(ChannelFailed):
                await completed(task.end())
        task.forget()


async def _begin(task: Task, port: int) -> None:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await task.begun()
        if task.has_started:
            return
        status = (await task.ended()).status
    except TimeoutError:
        raise PortClosedError(
            f"port {port}: the connection was not accepted within {_CONNECT_SECONDS:g} s"
        ) from None
    except ChannelFailed as failure:
        raise PortClosedError(f"port {port}: the sandbox ended") from failure
    if status == errno.ECONNREFUSED:
        raise PortClosedError(f"nothing in the sandbox listens on port {port}")
    raise PortClosedError(f"port {port}: {os.strerror(status)}")

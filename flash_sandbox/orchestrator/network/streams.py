"""The two ends of a connection through the gate, and what is copied between them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ...models.rules import IPAddress
from ..guest.tasks import ChannelFailed, Task
from .judge import Refused, Target

if TYPE_CHECKING:
    from .authority import Authority

__all__ = [
    "IDLE_SECONDS",
    "Headers",
    "Inner",
    "Lost",
    "Outer",
    "Pieces",
    "RequestWay",
    "Stream",
    "Way",
    "first_to_speak",
    "relay",
]

Headers: TypeAlias = list[tuple[bytes, bytes]]

IDLE_SECONDS: Final = 300.0
"""How long nothing may come from either end."""

_CONNECT_SECONDS: Final = 10.0
_MOST_ADDRESSES: Final = 4
_PIECE: Final = 64 * 1024


class Lost(Exception):
    """An end of the connection is gone."""


class Stream(Protocol):
    """One end of a connection."""

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end. May be cancelled."""

    async def write(self, data: bytes) -> None:
        """Send, as fast as the other side reads."""

    async def end(self) -> None:
        """Send nothing more."""


class Inner:
    """The end of a program in the sandbox.

    Args:
        task: The connection, which has been accepted.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end. May be cancelled."""
        try:
            piece = await self._task.next_output()
        except ChannelFailed as failure:
            raise Lost from failure
        return b"" if piece is None else piece.data

    async def write(self, data: bytes) -> None:
        """Send, as fast as the program reads."""
        await self._write(data, end=False)

    async def end(self) -> None:
        """Send nothing more."""
        await self._write(b"", end=True)

    def close(self) -> None:
        """End the connection. Idempotent."""
        with suppress(ChannelFailed):
            self._task.forget()

    async def _write(self, data: bytes, *, end: bool) -> None:
        try:
            sent = await self._task.write(data, end=end)
        except ChannelFailed as failure:
            raise Lost from failure
        if not sent:
            raise Lost


class Outer:
    """The end of a server outside.

    Args:
        reader: What it sends.
        writer: What is sent to it.
        counted: Called with how many bytes were received, and how many sent.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Callable[[int, int], None]
    ) -> None:
        self._reader, self._writer, self._counted = reader, writer, counted

    @classmethod
    async def connect(
        cls, addresses: Sequence[IPAddress], port: int, counted: Callable[[int, int], None]
    ) -> Outer:
        """Connect to the first address that answers.

        Raises:
            OSError: None does.
        """
        error = OSError("it has no address")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return cls(*await asyncio.open_connection(str(address), port), counted)
            except OSError as failure:
                error = failure
        raise error

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end. May be cancelled."""
        try:
            data = await self._reader.read(_PIECE)
        except OSError as error:
            raise Lost from error
        self._counted(len(data), 0)
        return data

    async def write(self, data: bytes) -> None:
        """Send, as fast as the server reads."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Lost from error
        self._counted(0, len(data))

    async def end(self) -> None:
        """Send nothing more."""
        with suppress(OSError, RuntimeError):
            self._writer.write_eof()

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Go on over TLS, once the server has shown that it is the one named.

        Raises:
            OSError: It has not.
        """
        async with asyncio.timeout(_CONNECT_SECONDS):
            await self._writer.start_tls(context, server_hostname=name)

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._writer.transport.abort()


class Pieces:
    """What an end of a connection sends, in pieces of known sizes.

    Args:
        stream: The end.
        rest: What has been read already.

    Attributes:
        rest: What has been read, and not been taken yet.
    """

    def __init__(self, stream: Stream, rest: bytes = b"") -> None:
        self._stream = stream
        self.rest = rest

    async def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            Lost: The end comes first.
        """
        while len(self.rest) < size:
            more = await self._stream.read()
            if not more:
                raise Lost
            self.rest += more
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


class RequestWay(Protocol):
    """What requests need of the gate."""

    async def connect(self, target: Target) -> Outer:
        """Connect to a host; raise Refused, or OSError."""

    def refuse(self, refused: Refused) -> None:
        """Tell that something was refused."""

    def filled_in(self, target: Target, path: bytes, headers: Headers) -> tuple[bytes, Headers]:
        """Return path and headers of a request to a host with the values of secrets that are for it."""


class Way(RequestWay, Protocol):
    """What a connection needs of its gate."""

    def denies(self, name: str, port: int) -> bool:
        """Tell whether the policy denies a name."""

    def authority_for(self, target: Target) -> Authority | None:
        """Return who signs for a host whose requests get secrets; None where none does."""


async def first_to_speak(inner: Stream, outer: Stream) -> tuple[bytes | None, bytes | None]:
    """Return what the program sends first, and what the server does; None for what is not there yet."""
    reads = [asyncio.create_task(end.read()) for end in (inner, outer)]
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        said = [read.result() if read.done() else None for read in reads]
    finally:
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)
    return said[0], said[1]


async def relay(inner: Stream, outer: Stream) -> None:
    """Copy both ways until both have ended, or nothing has come from either for a long time."""
    loop = asyncio.get_running_loop()

    async def copy(source: Stream, sink: Stream) -> None:
        while data := await source.read():
            limit.reschedule(loop.time() + IDLE_SECONDS)
            await sink.write(data)
        await sink.end()

    try:
        async with asyncio.timeout(IDLE_SECONDS) as limit, asyncio.TaskGroup() as copies:
            copies.create_task(copy(inner, outer))
            copies.create_task(copy(outer, inner))
    except* (Lost, TimeoutError):
        pass

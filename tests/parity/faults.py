"""A TCP proxy that breaks connections at chosen places, whichever protocol they carry.

A fault is a coroutine function that is given the `Link` of one connection. The two ends of a connection
speak to each other only through it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import chain, repeat
from typing import Final

from loop_server import LoopServer

__all__ = [
    "BEFORE",
    "LOSSES",
    "PREFACE",
    "Fault",
    "FaultProxy",
    "Link",
    "answer_once",
    "close_at_once",
    "cut_after",
    "cut_at",
    "cut_before",
    "garbage",
    "hold",
    "keep_secret",
    "pass_on",
    "read_message",
    "reset_at_once",
    "whole_message",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_DATA, _HEADERS, _END_STREAM = 0, 1, 1


def whole_message(sent: bytes) -> int | None:
    """Return where the first request or answer ends in what one side has sent; None where it goes on.

    HTTP/2 begins with a preface from the client and with a frame from the server (RFC 9113, section 3.4).
    """
    if sent.startswith((b"HTTP/", b"GET ", b"POST ", b"DELETE ")):
        head = sent.find(b"\r\n\r\n")
        length = _LENGTH.search(sent, 0, max(head, 0))
        end = head + 4 + (int(length[1]) if length else 0)
        return end if head >= 0 and len(sent) >= end else None
    position = len(PREFACE) if sent.startswith(PREFACE) else 0
    while len(sent) >= position + 9:
        kind, flags = sent[position + 3], sent[position + 4]
        position += 9 + int.from_bytes(sent[position : position + 3], "big")
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return position if len(sent) >= position else None
    return None


class Link:
    """One connection of a client, and the one to the server behind it once there is one."""

    def __init__(
        self, upstream: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forwarded: Forwarded
    ) -> None:
        self._upstream = upstream
        self._reader = reader
        self._writer = writer
        self._forwarded = forwarded
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self) -> bytes:
        """Read the client's first request."""
        return await read_message(self._reader)

    async def part(self, size: int) -> None:
        """Read so many bytes of what the client sends."""
        await self._reader.readexactly(size)

    async def forward(self, request: bytes) -> None:
        """Send the server what the client sent."""
        self._forwarded()
        _, writer = await self._connected()
        writer.write(request)
        await writer.drain()

    async def answer(self) -> bytes:
        """Read the server's first answer."""
        reader, _ = await self._connected()
        return await read_message(reader)

    async def reply(self, data: bytes) -> None:
        """Send the client something."""
        self._writer.write(data)
        await self._writer.drain()

    async def until_client_leaves(self) -> None:
        """Read what else the client sends, until it closes the connection."""
        with suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    def half_close(self) -> None:
        """Tell the client that nothing more will come."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Break the connection off (TCP RST) rather than end it."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def pass_on(self) -> None:
        """Pass everything on, in both directions, until either side ends."""
        self._forwarded()
        reader, writer = await self._connected()
        ways = (_pump(self._reader, writer), _pump(reader, self._writer))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Close the connection to the server."""
        if self._server is not None:
            self._server[1].close()
            with suppress(ConnectionError):
                await self._server[1].wait_closed()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._server is None:
            host, _, port = self._upstream.rpartition(":")
            self._server = await asyncio.open_connection(host, int(port))
        return self._server


Fault = Callable[[Link], Awaitable[None]]
Forwarded = Callable[[], None]


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read the first request or answer of a connection."""
    sent = b""
    while whole_message(sent) is None:
        data = await reader.read(65536)
        if not data:
            raise ConnectionError("closed before the message was whole")
        sent += data
    return sent


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()


class FaultProxy(LoopServer):
    """Stands between clients and one server.

    Args:
        upstream: Address of the server.
        faults: What happens to the first connection, to the second and so on; later ones are passed on.
        port: Where to listen; 0 for any free port.

    Attributes:
        forwarded: How many requests reached the server.
    """

    def __init__(self, upstream: str, faults: Iterable[Fault], port: int = 0) -> None:
        super().__init__(port)
        self._upstream = upstream.removeprefix("http://")
        self._faults = chain(faults, repeat(pass_on))
        self.forwarded = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let the next fault happen to a connection."""
        link = Link(self._upstream, reader, writer, self._count)
        try:
            await next(self._faults)(link)
        finally:
            await link.close()

    def _count(self) -> None:
        self.forwarded += 1


async def pass_on(link: Link) -> None:
    """Break nothing."""
    await link.pass_on()


async def close_at_once(link: Link) -> None:
    """Close before the client has sent anything, or while it does."""


async def reset_at_once(link: Link) -> None:
    """Break off before the client has sent anything, or while it does."""
    link.reset()


async def cut_before(link: Link) -> None:
    """Close before the request has reached the server."""
    await link.request()


async def reset_before(link: Link) -> None:
    """Break off before the request has reached the server."""
    await link.request()
    link.reset()


def cut_at(part: float, *, reset: bool = False) -> Fault:
    """Return the fault that sends `part` of an answer, 0 to less than 1, and then closes or breaks off."""

    async def fault(link: Link) -> None:
        await link.forward(await link.request())
        answer = await link.answer()
        await link.reply(answer[: int(len(answer) * part)])
        if reset:
            link.reset()

    return fault


async def cut_after(link: Link) -> None:
    """Close once the server has answered."""
    await cut_at(0)(link)


async def reset_after(link: Link) -> None:
    """Break off once the server has answered."""
    await cut_at(0, reset=True)(link)


async def cut_in_the_answer(link: Link) -> None:
    """Close in the middle of the answer."""
    await cut_at(0.5)(link)


async def reset_in_the_answer(link: Link) -> None:
    """Break off in the middle of the answer."""
    await cut_at(0.5, reset=True)(link)


async def truncate(link: Link) -> None:
    """Close before the last byte of the answer."""
    await cut_at(0.999999)(link)


async def answer_once(link: Link) -> None:
    """Pass on one request and its answer, and close."""
    await link.forward(await link.request())
    await link.reply(await link.answer())


async def half_close(link: Link) -> None:
    """End the way back, but not the way there, once the server has answered."""
    await link.forward(await link.request())
    await link.answer()
    link.half_close()
    await link.until_client_leaves()


async def garbage(link: Link) -> None:
    """Answer something that is no protocol."""
    await link.forward(await link.request())
    await link.answer()
    await link.reply(b"\x00\xffNot a protocol that anyone speaks\r\n\r\n" * 50)
    await link.until_client_leaves()


async def hold(link: Link) -> None:
    """Keep the answer back until the client has left."""
    await link.forward(await link.request())
    await link.until_client_leaves()


async def keep_secret(link: Link) -> None:
    """Keep the answer back, and from the server that the client has left."""
    await link.forward(await link.request())
    with suppress(ConnectionError):
        await link.answer()


BEFORE: Final[tuple[Fault, ...]] = (cut_before, reset_before)
"""Losses of a request that the server never saw."""

LOSSES: Final[tuple[Fault, ...]] = (
    *BEFORE,
    cut_after,
    reset_after,
    cut_in_the_answer,
    reset_in_the_answer,
    truncate,
    half_close,
)
"""Everything after which nobody can tell whether the request was carried out."""

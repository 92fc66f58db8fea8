"""What trees of files are made of, on their way between archives and sandboxes.

Neither side is trusted: what is kept in memory of what it sends is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import flash_sandbox_guest as guest

from .messages import parse

__all__ = [
    "CHUNK_BYTES",
    "MAX_ENTRY",
    "MAX_SIZE",
    "ByteSource",
    "Gathered",
    "Item",
    "Malformed",
    "entry_name",
    "parsed_entry",
    "shown",
]

CHUNK_BYTES: Final = 65_536
"""What is passed on at a time, more or less."""

MAX_SIZE: Final = 2**63 - 1
"""Bytes of the largest file."""

MAX_ENTRY: Final = 1 << 20
"""Bytes of the largest entry."""

_MAX_MODE: Final = 0xFFFF
_MAX_ID: Final = 2**32 - 1
_MAX_NUMBER_BITS: Final = 63
_SHOWN_BYTES: Final = 200


class Malformed(Exception):
    """What came is not what was agreed on; the text says why."""


@dataclass(slots=True)
class Item:
    """Something in a tree.

    Attributes:
        entry: What it is; its name is its path below the top of the tree.
        same_as: Path of an earlier regular file that this is another name of.
        content: Offsets, and what is there, of a regular file; None for anything else.
    """

    entry: guest.Entry
    same_as: bytes = b""
    content: AsyncIterator[tuple[int, bytes]] | None = None


class ByteSource:
    """A stream of bytes, read in pieces of any size.

    Args:
        chunks: The bytes, as they come.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    async def some(self, most: int) -> bytes:
        """Return up to `most` bytes, as many as are there; none at the end."""
        if self._at == len(self._chunk) and not await self._more():
            return b""
        begin, self._at = self._at, min(self._at + most, len(self._chunk))
        return self._chunk[begin : self._at]

    async def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            Malformed: There are fewer.
        """
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        if len(data) == size:
            return data
        parts, missing = [data], size - len(data)
        while missing:
            data = await self.some(missing)
            if not data:
                raise Malformed("it is cut short")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    async def skip(self, size: int) -> None:
        """Read `size` bytes and drop them.

        Raises:
            Malformed: There are fewer.
        """
        while size:
            data = await self.some(size)
            if not data:
                raise Malformed("it is cut short")
            size -= len(data)

    async def is_at_end(self) -> bool:
        """Wait for more, and return whether there is none."""
        return self._at == len(self._chunk) and not await self._more()

    async def number(self) -> int:
        """Return the next number, a varint of at most 63 bits.

        Raises:
            Malformed: There is none.
        """
        value = shift = 0
        while shift < _MAX_NUMBER_BITS:
            if await self.is_at_end():
                raise Malformed("it is cut short")
            byte = self._chunk[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise Malformed("it has a number that is too large")

    async def _more(self) -> bool:
        """Wait for the next chunk; False at the end."""
        # A sender that is never slow must not keep others from their turn.
        await asyncio.sleep(0)
        async for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                return True
        return False


class Gathered:
    """Bytes that are passed on once there are enough of them."""

    def __init__(self) -> None:
        self._size = 0
        self._parts: list[bytes] = []

    def add(self, *parts: bytes) -> bool:
        """Add bytes; return whether there are enough."""
        self._parts += parts
        self._size += sum(map(len, parts))
        # A piece that is not quite full is not copied together with the next one.
        return self._size >= CHUNK_BYTES // 2

    def take(self) -> bytes:
        """Return them all, and begin again."""
        taken = b"".join(self._parts)
        self._size, self._parts = 0, []
        return taken


def parsed_entry(data: bytes) -> guest.Entry:
    """Read an entry.

    Raises:
        Malformed: It is none.
    """
    try:
        entry = parse(guest.Entry, data)
    except ValueError as error:
        raise Malformed("an entry cannot be read") from error
    if entry.mode > _MAX_MODE or max(entry.uid, entry.gid) > _MAX_ID or entry.size > MAX_SIZE:
        raise Malformed("an entry has a number that is too large")
    return entry


def entry_name(entry: guest.Entry) -> bytes:
    """Return the name of something in a directory.

    Raises:
        Malformed: There cannot be such a name.
    """
    if entry.name in (b"", b".", b"..") or b"/" in entry.name or b"\0" in entry.name:
        raise Malformed(f"{shown(entry.name)} is no name of a file in a directory")
    return entry.name


def shown(text: bytes) -> str:
    """Return bytes of unknown origin as a short text that can be printed."""
    decoded = text[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    escaped = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in decoded)
    return "".join(escaped) + ("..." if len(text) > _SHOWN_BYTES else "")

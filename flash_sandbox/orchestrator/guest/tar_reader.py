"""Tar archives of callers, read as the items of trees.

It reads ustar, GNU and pax archives, sparse files included. It keeps nothing in memory but the headers of one
file, and those are bounded.
"""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import flash_sandbox_guest as guest

from .entries import CHUNK_BYTES, MAX_SIZE, ByteSource, Item, Malformed, shown

__all__ = ["MalformedArchive", "items_of_tar"]

_BLOCK: Final = 512
_MAX_HEADERS: Final = 1 << 20
_MAX_SECONDS: Final = 2**33
_SECOND_NS: Final = 10**9

# Types of members (tar(5), pax(1)).
_FILE: Final = b"0"
_HARD_LINK: Final = b"1"
_LINK: Final = b"2"
_DIRECTORY: Final = b"5"
_DEVICES: Final = (b"3", b"4")
_SPARSE: Final = b"S"
_LISTED_DIRECTORY: Final = b"D"
_MODES: Final = {
    b"\0": stat.S_IFREG,
    _FILE: stat.S_IFREG,
    b"7": stat.S_IFREG,
    _SPARSE: stat.S_IFREG,
    _HARD_LINK: stat.S_IFREG,
    _LINK: stat.S_IFLNK,
    _DIRECTORY: stat.S_IFDIR,
    _LISTED_DIRECTORY: stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}

_RECORD: Final = re.compile(rb"([1-9][0-9]{0,8}) ([^=]+)=")
_OCTAL: Final = re.compile(rb"[0-7]*")
_TIME: Final = re.compile(rb"(-?)([0-9]{1,18})(?:\.([0-9]*))?")
_DECIMAL: Final = re.compile(rb"[0-9]{1,18}")


class MalformedArchive(Malformed):
    """An archive cannot be unpacked; the text says why."""


@dataclass(slots=True)
class _Member:
    """A file of an archive.

    Attributes:
        entry: What it is.
        same_as: Path of the file that it is another name of.
        stored: How many bytes of its content follow in the archive.
        segments: Where these belong in the file, offset and size each.
    """

    entry: guest.Entry
    same_as: bytes = b""
    stored: int = 0
    segments: list[tuple[int, int]] = field(default_factory=list)

    @property
    def has_content(self) -> bool:
        """Whether it is a file of its own."""
        return stat.S_ISREG(self.entry.mode) and not self.same_as


async def items_of_tar(source: ByteSource) -> AsyncGenerator[Item]:
    """Read a tar archive. Owners are not taken over. The content of an item is read before the next one.

    Raises:
        MalformedArchive: It is no tar archive, or has something that cannot be unpacked.
    """
    with _malformed_archives():
        if await source.is_at_end():
            raise Malformed("it is empty")
        members = _TarReader(source)
        while (member := await members.next()) is not None:
            content = _content(source, member) if member.has_content else None
            yield Item(member.entry, member.same_as, content)
            if content is not None:
                # What nobody has read of it.
                async for _ in content:
                    pass
            await source.skip(-member.stored % _BLOCK)
        while await source.some(CHUNK_BYTES):
            pass


async def _content(source: ByteSource, member: _Member) -> AsyncGenerator[tuple[int, bytes]]:
    with _malformed_archives():
        for offset, size in member.segments:
            at, end = offset, offset + size
            while at < end:
                data = await source.some(end - at)
                if not data:
                    raise Malformed("it is cut short")
                yield at, data
                at += len(data)


@contextmanager
def _malformed_archives() -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise MalformedArchive(str(error)) from error


class _TarReader:
    """Reads the headers of an archive; the caller reads what a member stores before it asks for the next."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._of_all: dict[bytes, bytes] = {}
        self._room = 0

    async def next(self) -> _Member | None:
        """Return the next member; None at the end."""
        own: dict[bytes, bytes] = {}
        self._room = _MAX_HEADERS
        while not await self._source.is_at_end():
            block = await self._source.exactly(_BLOCK)
            if not any(block):
                return None
            kind, size = block[156:157], _checked_size(block)
            if kind in (b"L", b"K"):
                text = await self._text(size)
                own[b"path" if kind == b"L" else b"linkpath"] = text.partition(b"\0")[0]
            elif kind in (b"x", b"X"):
                own |= _records(await self._text(size))
            elif kind == b"g":
                self._of_all |= _records(await self._text(size))
                if sum(len(key) + len(value) for key, value in self._of_all.items()) > _MAX_HEADERS:
                    raise Malformed("its headers are too large")
            elif kind == b"V":
                await self._text(size)
            else:
                return await self._member(block, self._of_all | own)
        if own:
            raise Malformed("it is cut short")
        return None

    async def _text(self, size: int) -> bytes:
        """Read what follows a header, with what fills the last block."""
        self._room -= size + _BLOCK
        if self._room < 0:
            raise Malformed("its headers are too large")
        text = await self._source.exactly(size)
        await self._source.skip(-size % _BLOCK)
        return text

    async def _member(self, block: bytes, records: dict[bytes, bytes]) -> _Member:
        kind = block[156:157]
        name = records.get(b"GNU.sparse.name") or records.get(b"path") or _name(block)
        link = records.get(b"linkpath") or block[157:257].partition(b"\0")[0]
        if kind in (b"\0", _FILE) and name.endswith(b"/"):
            kind = _DIRECTORY
        mode = _MODES.get(kind)
        if mode is None:
            what = "is a device" if kind in _DEVICES else f"is of the type {shown(kind)}, which is unknown"
            raise Malformed(f"{shown(name)} {what}")
        entry = guest.Entry(
            name=_inside(name),
            mode=mode | (_number(block[100:108]) & 0o7777),
            link=link if kind == _LINK else b"",
            modified_ns=_modified(records.get(b"mtime"), block),
        )
        member = _Member(entry, _inside(link) if kind == _HARD_LINK else b"")
        if (kind == _HARD_LINK and not member.same_as) or b"\0" in entry.name + link:
            raise Malformed(f"{shown(name)} has a name, or is a link, that there cannot be")
        if member.has_content or kind == _LISTED_DIRECTORY:
            member.stored = _number_of(records[b"size"]) if b"size" in records else _size(block[124:136])
        if kind == _LISTED_DIRECTORY:
            await self._source.skip(member.stored)
        elif kind == _SPARSE:
            await self._read_old_map(member, block)
        elif any(key.startswith(b"GNU.sparse.") for key in records):
            await self._read_map(member, records)
        elif member.has_content:
            entry.size = member.stored
            member.segments = [(0, member.stored)] if member.stored else []
        return member

    async def _read_old_map(self, member: _Member, block: bytes) -> None:
        """Read where the data of a sparse file belongs, as GNU tar writes it of its own accord."""
        numbers = [_size(block[at : at + 12]) for at in range(386, 482, 12)]
        size, more = _size(block[483:495]), block[482]
        while more:
            block = await self._text(_BLOCK)
            numbers += [_size(block[at : at + 12]) for at in range(0, 504, 12)]
            more = block[504]
        _set_map(member, numbers, size)

    async def _read_map(self, member: _Member, records: dict[bytes, bytes]) -> None:
        """Read where the data of a sparse file belongs, in the forms 0.1 and 1.0 of pax archives."""
        if b"GNU.sparse.map" in records:
            numbers = [_number_of(part) for part in records[b"GNU.sparse.map"].split(b",")]
            _set_map(member, numbers, _number_of(records.get(b"GNU.sparse.size", b"")))
            return
        if records.get(b"GNU.sparse.major") != b"1":
            raise Malformed(f"{shown(member.entry.name)} is a sparse file of an unknown form")
        blocks: list[bytes] = []
        lines, wanted = 0, 1
        while lines < wanted:
            blocks.append(await self._text(_BLOCK))
            lines += blocks[-1].count(b"\n")
            if wanted == 1 and lines:
                wanted += 2 * _number_of(b"".join(blocks).partition(b"\n")[0])
        member.stored -= len(blocks) * _BLOCK
        numbers = [_number_of(part) for part in b"".join(blocks).split(b"\n")[1:wanted]]
        _set_map(member, numbers, _number_of(records.get(b"GNU.sparse.realsize", b"")))


def _set_map(member: _Member, numbers: list[int], size: int) -> None:
    """Say where the data of a sparse file belongs."""
    at = 0
    for offset, length in zip(numbers[::2], numbers[1::2], strict=False):
        if not length:
            continue
        if offset < at or length > size - offset:
            break
        at = offset + length
        member.segments.append((offset, length))
    else:
        if sum(length for _, length in member.segments) == member.stored:
            member.entry.size = size
            return
    raise Malformed(f"{shown(member.entry.name)} is a sparse file whose map is wrong")


def _checked_size(block: bytes) -> int:
    """Return the size in a header that has the right checksum."""
    checksum = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if _number(block[148:156]) != checksum:
        raise Malformed("it is no tar archive")
    return _size(block[124:136])


def _number(text: bytes) -> int:
    """Read a number of a header: octal digits or, where its first bit is set, base 256 (tar(5))."""
    if text[0] & 0x80:
        sign = 1 << 8 * len(text) - 2
        value = int.from_bytes(text, "big") & 2 * sign - 1
        return value - 2 * (value & sign)
    digits = text.partition(b"\0")[0].strip(b" ")
    if not _OCTAL.fullmatch(digits):
        raise Malformed("it is no tar archive")
    return int(digits or b"0", 8)


def _size(text: bytes) -> int:
    """Read a size of a header."""
    size = _number(text)
    if not 0 <= size <= MAX_SIZE:
        raise Malformed("it has a size that there cannot be")
    return size


def _number_of(text: bytes) -> int:
    """Read a number of an extended header."""
    if not _DECIMAL.fullmatch(text):
        raise Malformed(f"{shown(text)} is no number")
    return int(text)


def _name(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return b"%s/%s" % (prefix, name) if prefix and block[257:263] == b"ustar\0" else name


def _inside(name: bytes) -> bytes:
    """Return a name as a path below the directory that is unpacked into."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Malformed(f"{shown(name)} leads out of the directory")
    return b"/".join(parts)


def _modified(record: bytes | None, block: bytes) -> int:
    """Return a time in nanoseconds."""
    if record is None:
        seconds = _number(block[136:148])
        return min(max(seconds, -_MAX_SECONDS), _MAX_SECONDS) * _SECOND_NS
    found = _TIME.fullmatch(record)
    if found is None:
        raise Malformed(f"{shown(record)} is no time")
    seconds = min(int(found[2]), _MAX_SECONDS)
    nanoseconds = seconds * _SECOND_NS + int((found[3] or b"").ljust(9, b"0")[:9])
    return -nanoseconds if found[1] else nanoseconds


def _records(text: bytes) -> dict[bytes, bytes]:
    """Read the records of an extended header: its length, a name and a value each (pax(1))."""
    found = {}
    at = 0
    while at < len(text) and text[at]:
        record = _RECORD.match(text, at)
        end = at + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(text):
            raise Malformed("an extended header is wrong")
        found[record[2]] = text[record.end() : end - 1]
        at = end
    return found

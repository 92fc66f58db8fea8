"""Tar archives of trees, in the format of GNU tar, which every tar reads."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from .entries import CHUNK_BYTES, Gathered, Item, Malformed, shown

__all__ = ["tar_of_items"]

_BLOCK: Final = 512
_ZEROS: Final = bytes(CHUNK_BYTES)
_SECOND_NS: Final = 10**9

# Types of members (tar(5)).
_HARD_LINK: Final = b"1"
_DIRECTORY: Final = b"5"
_LONG_NAME: Final = b"L"
_LONG_LINK: Final = b"K"
_TYPES: Final = {stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFDIR: _DIRECTORY, stat.S_IFIFO: b"6"}


async def tar_of_items(items: AsyncIterator[Item]) -> AsyncGenerator[bytes]:
    """Make a tar archive of a tree. Devices and sockets are left out.

    Raises:
        Malformed: An item has a name that leads out of the archive.
    """
    out = Gathered()
    is_first = True
    async for item in items:
        size = item.entry.size if item.content is not None else 0
        if out.add(*_headers(item, size, is_first=is_first)):
            yield out.take()
        is_first = False
        if item.content is None:
            continue
        at = 0
        async for offset, data in _with_end(item.content, size):
            while at < offset:
                zeros = _ZEROS[: offset - at]
                at += len(zeros)
                if out.add(zeros):
                    yield out.take()
            at += len(data)
            if out.add(data):
                yield out.take()
        out.add(_ZEROS[: -size % _BLOCK])
    out.add(_ZEROS[: 2 * _BLOCK])
    yield out.take()


async def _with_end(
    content: AsyncIterator[tuple[int, bytes]], size: int
) -> AsyncGenerator[tuple[int, bytes]]:
    """Yield content, and at its end an empty piece, so that a last hole is one before it."""
    async for piece in content:
        yield piece
    yield size, b""


def _headers(item: Item, size: int, *, is_first: bool) -> list[bytes]:
    """Return the headers of an item; none for what no archive holds."""
    entry = item.entry
    _require_inside(entry.name, is_first)
    kind = _TYPES.get(stat.S_IFMT(entry.mode))
    if kind is None:
        return []
    link = entry.link
    if item.same_as:
        _require_inside(item.same_as)
        kind, link = _HARD_LINK, b"./" + item.same_as
    if b"\0" in link:
        raise Malformed(f"{shown(entry.name)} is no file that there can be")
    name = b"./" + entry.name + (b"/" if kind == _DIRECTORY and entry.name else b"")
    found = []
    for long, text in ((_LONG_NAME, name), (_LONG_LINK, link)):
        if len(text) > 100:
            found += [
                _header(b"././@LongLink", long, len(text) + 1),
                text,
                _ZEROS[: 1 + -(len(text) + 1) % _BLOCK],
            ]
    found.append(
        _header(
            name,
            kind,
            size,
            link,
            stat.S_IMODE(entry.mode),
            entry.uid,
            entry.gid,
            entry.modified_ns // _SECOND_NS,
        )
    )
    return found


def _require_inside(name: bytes, may_be_empty: bool = False) -> None:
    if not (name or may_be_empty) or b"\0" in name:
        raise Malformed(f"{shown(name)!r} is no name")
    if name and not {b"", b".", b".."}.isdisjoint(name.split(b"/")):
        raise Malformed(f"{shown(name)} leads out of the directory")


def _header(
    name: bytes,
    kind: bytes,
    size: int,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
) -> bytes:
    before = b"%s%s%s%s%s%s" % (
        name[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        _encoded(uid, 8),
        _encoded(gid, 8),
        _encoded(size, 12),
        _encoded(mtime, 12),
    )
    after = b"%s%sustar  \0" % (kind, link[:100].ljust(100, b"\0"))
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return (before + b"%06o\0 " % checksum + after).ljust(_BLOCK, b"\0")


def _encoded(value: int, room: int) -> bytes:
    """Return a number in octal digits or, where these are too few, in base 256."""
    if 0 <= value < 8 ** (room - 1):
        return b"%0*o\0" % (room - 1, value)
    number = value.to_bytes(room, "big", signed=True)
    return bytes([number[0] | 0x80]) + number[1:]

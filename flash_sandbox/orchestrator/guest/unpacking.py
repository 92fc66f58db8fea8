"""Trees of files that are made in a sandbox, item by item.

Each directory is entered by its name from the one above it, so that paths may be of any length.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import flash_sandbox_guest as guest

from ...errors import PayloadTooLargeError
from .entries import Item, shown
from .file_worker import GONE, FileWorker, Kind, failure, ignore, tolerating

__all__ = ["unpack_tree"]

_HELD: Final = 250_000
"""Directories and links that are kept at most."""

_MAX_NAME: Final = 255
_MAX_LINK: Final = 4095
_SHOWN: Final = 256


@dataclass(slots=True, eq=False)
class _Place:
    """A directory that is unpacked into.

    Attributes:
        is_link: Whether it is reached by a link that was there before.
        entry: What it is to be in the end; None to leave it as it is.
        below: Directories in it, by name.
    """

    is_link: bool = False
    entry: guest.Entry | None = None
    below: dict[bytes, _Place] = field(default_factory=dict)


_TOP: Final = 1
_SOURCE: Final = 2


async def unpack_tree(worker: FileWorker, path: bytes, items: AsyncIterator[Item]) -> None:
    """Make a tree below a directory that is there. Nothing is made through a link that the tree has made."""
    worker.ask(Kind.ENTER, path, ignore, follow=True, keep=_TOP)
    await worker.settle()
    unpacking = _Unpacking(worker)
    async for item in items:
        await unpacking.add(item)
        await worker.keep_up()
    await unpacking.finish()
    await worker.settle()


class _Unpacking:
    """Makes a tree, item by item.

    Args:
        worker: Does it, in a directory that it has kept as `_TOP`.
    """

    def __init__(self, worker: FileWorker) -> None:
        self._worker = worker
        self._top = _Place()
        self._way: list[_Place] = []
        self._links: set[tuple[int, int]] = set()
        self._held = 0

    async def add(self, item: Item) -> None:
        """Make an item, in the place of what is there; a directory that is there stays."""
        entry = item.entry
        what = entry.name[-_SHOWN:]
        *above, name = entry.name.split(b"/")
        if len(name) > _MAX_NAME or len(entry.link) > _MAX_LINK:
            raise failure(shown(what), errno.ENAMETOOLONG)
        entry.name = what
        is_directory = stat.S_ISDIR(entry.mode) and not item.same_as
        if not name and is_directory:
            self._top.entry = entry
            return
        if item.same_as:
            *source, first = item.same_as.split(b"/")
            await self._go(source, what)
            self._worker.ask(Kind.ENTER, b"", ignore, keep=_SOURCE)
        await self._go(above, what)
        if is_directory:
            self._make_directory(name, entry)
            return
        self._below.pop(name, None)
        if item.content is not None:
            await self._write(name or b".", entry, item.content)
            return
        self._worker.ask(Kind.UNLINK, name or b".", what=entry.name, tolerated=GONE)
        if item.same_as:
            self._worker.ask(Kind.LINK, name, what=entry.name, target=first, kept=_SOURCE)
            return
        kind = stat.S_IFMT(entry.mode)
        self._worker.ask(Kind.MAKE, name, what=entry.name, mode=kind | 0o600, target=entry.link)
        if stat.S_ISLNK(entry.mode):
            self._worker.ask(Kind.STAT, name, self._remember_link, what=entry.name)
        self._set(name, entry)

    async def finish(self) -> None:
        """Set permissions and times of directories, the deepest first: they may deny what is made in them."""
        await self._go([], b"")
        names: list[bytes] = []
        left = [iter(self._top.below.items())]
        while left:
            found = next(left[-1], None)
            if found is None:
                left.pop()
                if not left:
                    break
                place, name = self._way[-1], names.pop()
                if place.is_link:
                    await self._go(names, name)
                else:
                    self._leave(name)
            else:
                name, place = found
                if place.below:
                    self._enter(name, place, name)
                    names.append(name)
                    left.append(iter(place.below.items()))
                    continue
            if place.entry is not None:
                self._set(name, place.entry)
            await self._worker.keep_up()
        if self._top.entry is not None:
            self._set(b".", self._top.entry)

    @property
    def _below(self) -> dict[bytes, _Place]:
        """The known directories in the current one."""
        return (self._way[-1] if self._way else self._top).below

    def _make_directory(self, name: bytes, entry: guest.Entry) -> None:
        there = tolerating(errno.ENOENT, errno.EISDIR)
        self._worker.ask(Kind.UNLINK, name, what=entry.name, tolerated=there)
        mode, tolerated = stat.S_IFDIR | 0o700, tolerating(errno.EEXIST)
        self._worker.ask(Kind.MAKE, name, what=entry.name, mode=mode, tolerated=tolerated)
        place = self._below.get(name)
        if place is None or place.is_link:
            place = self._know(name, is_link=False)
        place.entry = entry

    async def _write(
        self, name: bytes, entry: guest.Entry, content: AsyncIterator[tuple[int, bytes]]
    ) -> None:
        at = 0
        self._set(name, entry, Kind.WRITE, anew=True)
        async for offset, data in content:
            await self._worker.write(offset - at, data)
            at = offset + len(data)
        await self._worker.write(entry.size - at, b"")

    def _set(
        self, name: bytes, entry: guest.Entry, kind: guest.FileKind = Kind.SET, *, anew: bool = False
    ) -> None:
        self._worker.ask(
            kind,
            name,
            what=entry.name,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            modified_ns=entry.modified_ns,
            anew=anew,
        )

    async def _go(self, path: Sequence[bytes], what: bytes) -> None:
        """Make a directory the current one."""
        above, common = self._top, 0
        for name, place in zip(path, self._way, strict=False):
            if above.below.get(name) is not place:
                break
            above, common = place, common + 1
        if any(place.is_link for place in self._way[common:]):
            # Above where the link leads to is something else.
            self._worker.ask(Kind.ENTER, b"", ignore, what=what, kept=_TOP)
            common = 0
        else:
            for _ in self._way[common:]:
                self._leave(what)
        del self._way[common:]
        for name in path[common:]:
            self._enter(name, self._below.get(name) or await self._find(name, what), what)

    def _enter(self, name: bytes, place: _Place, what: bytes) -> None:
        self._worker.ask(Kind.ENTER, name, ignore, what=what, follow=place.is_link)
        self._way.append(place)

    def _leave(self, what: bytes) -> None:
        self._worker.ask(Kind.LEAVE, what=what)
        self._way.pop()

    async def _find(self, name: bytes, what: bytes) -> _Place:
        """Find out what is there of a directory that no item has made, and make it where nothing is."""
        if len(name) > _MAX_NAME:
            raise failure(shown(what), errno.ENAMETOOLONG)
        self._worker.ask(Kind.STAT, name, what=what, tolerated=GONE)
        found = await self._worker.result()
        if found is None:
            mode, tolerated = stat.S_IFDIR | 0o755, tolerating(errno.EEXIST)
            self._worker.ask(Kind.MAKE, name, what=what, mode=mode, tolerated=tolerated)
        elif (found.device, found.inode) in self._links:
            raise failure(shown(what), errno.ELOOP)
        return self._know(name, is_link=found is not None and stat.S_ISLNK(found.mode))

    def _know(self, name: bytes, *, is_link: bool) -> _Place:
        self._hold_one_more()
        place = self._below[name] = _Place(is_link)
        return place

    def _remember_link(self, entry: guest.Entry) -> None:
        self._hold_one_more()
        self._links.add((entry.device, entry.inode))

    def _hold_one_more(self) -> None:
        self._held += 1
        if self._held > _HELD:
            raise PayloadTooLargeError(f"more than {_HELD} directories and links cannot be unpacked")

"""Directories of a sandbox with all that they hold: listed, removed, packed and unpacked.

Each directory is entered by its name from the one above it, so that paths may be of any length, and nothing
is followed or left that somebody in the sandbox has exchanged meanwhile.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Final

import flash_sandbox_guest as guest

from ...errors import PayloadTooLargeError
from .entries import Item, entry_name, parsed_entry, shown
from .file_worker import FileWorker, Kind, failure, tolerating

__all__ = ["list_tree", "remove_tree", "unpack_tree"]

_GONE: Final = tolerating(errno.ENOENT)
_EXCHANGED: Final = tolerating(
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO
)

_AHEAD: Final = 16
"""Files that are asked for before they are needed."""

_HELD: Final = 250_000
"""Names of files that are kept at most."""

_LIST_BYTES: Final = 64 << 20


@dataclass(slots=True)
class _Level:
    """A directory on the way to the current one.

    Attributes:
        path: Its path below the top of the tree.
        waiting: What is still to be gone through: names, and the entries of all but files of one name.
        is_cut: Whether it holds more.
        asked: How many of the first ones have been asked for.
    """

    path: bytes
    waiting: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    is_cut: bool = False
    asked: int = 0

    def below(self, name: bytes) -> bytes:
        """Return the path of something in it."""
        return self.path + b"/" + name if self.path else name


class _Walk:
    """Goes through a directory.

    Args:
        worker: Does it.

    Attributes:
        levels: The directories from the top to the current one.
    """

    def __init__(self, worker: FileWorker) -> None:
        self.levels: list[_Level] = []
        self._worker = worker
        self._held = 0

    async def enter(self, name: bytes, *, follow: bool = False, tolerated: int = 0) -> guest.Entry | None:
        """Go into a directory, and return what it is; None where there is none (any more)."""
        path = self.levels[-1].below(name) if self.levels else b""
        self._worker.ask(Kind.ENTER, name, what=path, follow=follow, tolerated=tolerated, list=True)
        entry = await self._worker.first_entry()
        if entry is not None:
            self.levels.append(_Level(path))
            await self._read()
        return entry

    async def again(self) -> None:
        """Read anew what the current directory holds."""
        self._worker.ask(Kind.ENTER, what=self.levels[-1].path, list=True)
        await self._worker.first_entry()
        await self._read()

    async def _read(self) -> None:
        level, size = self.levels[-1], 0
        found: list[tuple[bytes, bytes]] = []
        level.is_cut = False
        while data := await self._worker.next_frame():
            size += len(data)
            if self._held + len(found) == _HELD or size > _LIST_BYTES:
                level.is_cut = True
            else:
                entry = parsed_entry(data)
                is_plain = stat.S_ISREG(entry.mode) and entry.names == 1
                found.append((entry_name(entry), b"" if is_plain else data))
        level.waiting = deque(sorted(found, key=itemgetter(0)))
        self._held += len(found)

    def next(self) -> tuple[bytes, guest.Entry]:
        """Take the next name of the current directory, and what it is."""
        self._held -= 1
        name, data = self.levels[-1].waiting.popleft()
        return name, parsed_entry(data) if data else guest.Entry(mode=stat.S_IFREG)

    def leave(self) -> None:
        """Go back to the directory above."""
        level = self.levels.pop()
        if self.levels:
            self._worker.ask(Kind.LEAVE, what=level.path)


async def remove_tree(worker: FileWorker, path: bytes) -> None:
    """Remove a directory with all that it holds."""
    walk = _Walk(worker)
    await walk.enter(path)
    while walk.levels:
        level = walk.levels[-1]
        if level.waiting:
            name, entry = walk.next()
            if stat.S_ISDIR(entry.mode):
                await walk.enter(name, tolerated=_GONE)
            else:
                worker.ask(Kind.UNLINK, name, what=level.below(name), tolerated=_GONE)
        elif level.is_cut:
            await walk.again()
        else:
            walk.leave()
            if walk.levels:
                name = level.path.rpartition(b"/")[2]
                worker.ask(Kind.REMOVE_DIR, name, what=level.path, tolerated=_GONE)
        await worker.keep_up()
    worker.ask(Kind.ENTER, b"/", take=_ignore)
    worker.ask(Kind.REMOVE_DIR, path)
    await worker.settle()


def _ignore(entry: guest.Entry) -> None:
    """Take what nobody needs."""


# From a sandbox


async def list_tree(worker: FileWorker, path: bytes) -> AsyncGenerator[Item]:
    """Yield a directory with all that it holds, or one file. Content is read before the next item."""
    worker.ask(Kind.READ, path, follow=True, tolerated=tolerating(errno.EISDIR))
    entry = await worker.first_entry()
    if entry is not None:
        entry.name = path.rpartition(b"/")[2]
        yield Item(entry, content=worker.content(entry.size))
        return
    walk = _Walk(worker)
    top = await walk.enter(path, follow=True)
    assert top is not None
    yield Item(top)
    linked: dict[tuple[int, int], bytes] = {}
    while walk.levels:
        level = walk.levels[-1]
        if level.is_cut:
            raise PayloadTooLargeError(f"{shown(path)}: has more files in one directory than can be packed")
        if not level.waiting:
            walk.leave()
            continue
        _ask_ahead(worker, level)
        item = await _next_item(worker, walk, linked)
        if item is not None:
            yield item


def _ask_ahead(worker: FileWorker, level: _Level) -> None:
    """Ask for the next files of a directory, up to anything else."""
    if level.asked > _AHEAD // 2:
        return
    for name, data in islice(level.waiting, level.asked, _AHEAD):
        if data:
            break
        worker.ask(Kind.READ, name, what=level.below(name), tolerated=_EXCHANGED)
        level.asked += 1


async def _next_item(worker: FileWorker, walk: _Walk, linked: dict[tuple[int, int], bytes]) -> Item | None:
    """Return the next item of the current directory; None where it was exchanged."""
    level = walk.levels[-1]
    name, listed = walk.next()
    path = level.below(name)
    entry: guest.Entry | None = None
    if stat.S_ISDIR(listed.mode):
        entry = await walk.enter(name, tolerated=_EXCHANGED)
    elif not stat.S_ISREG(listed.mode):
        entry = None if stat.S_ISSOCK(listed.mode) else listed
    else:
        if level.asked:
            level.asked -= 1
        elif first := linked.get((listed.device, listed.inode)):
            listed.name = path
            return Item(listed, same_as=first)
        else:
            worker.ask(Kind.READ, name, what=path, tolerated=_EXCHANGED)
        entry = await worker.first_entry(level.asked + 1)
        if entry is not None and entry.names > 1:
            linked[entry.device, entry.inode] = path
    if entry is None:
        return None
    entry.name = path
    return Item(entry, content=worker.content(entry.size) if stat.S_ISREG(entry.mode) else None)


# Into a sandbox


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
    worker.ask(Kind.ENTER, path, _ignore, follow=True, keep=_TOP)
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
        *above, name = entry.name.split(b"/")
        is_directory = stat.S_ISDIR(entry.mode) and not item.same_as
        if not name and is_directory:
            self._top.entry = entry
            return
        if item.same_as:
            *source, first = item.same_as.split(b"/")
            await self._go(source, entry.name)
            self._worker.ask(Kind.ENTER, b"", _ignore, keep=_SOURCE)
        await self._go(above, entry.name)
        if is_directory:
            self._make_directory(name, entry)
            return
        self._below.pop(name, None)
        if item.content is not None:
            await self._write(name or b".", entry, item.content)
            return
        self._worker.ask(Kind.UNLINK, name or b".", what=entry.name, tolerated=_GONE)
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
        left: list[tuple[_Place, list[bytes], bool]] = [(self._top, [], False)]
        while left:
            place, path, is_done = left.pop()
            if not is_done:
                left.append((place, path, True))
                left += [(below, [*path, name], False) for name, below in place.below.items()]
            elif place.entry is not None:
                await self._go(path[:-1], b"/".join(path))
                self._set(path[-1] if path else b".", place.entry)
                await self._worker.keep_up()

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
            self._worker.ask(Kind.ENTER, b"", _ignore, what=what, kept=_TOP)
            common = 0
        else:
            for _ in self._way[common:]:
                self._worker.ask(Kind.LEAVE, what=what)
        del self._way[common:]
        for name in path[common:]:
            place = self._below.get(name) or await self._find(name, what)
            self._worker.ask(Kind.ENTER, name, _ignore, what=what, follow=place.is_link)
            self._way.append(place)

    async def _find(self, name: bytes, what: bytes) -> _Place:
        """Find out what is there of a directory that no item has made, and make it where nothing is."""
        self._worker.ask(Kind.STAT, name, what=what, tolerated=_GONE)
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

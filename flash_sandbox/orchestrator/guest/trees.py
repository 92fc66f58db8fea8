"""Directories of a sandbox with all that they hold: listed with their content, and removed.

Each directory is entered by its name from the one above it, so that paths may be of any length, and nothing
is followed or left that somebody in the sandbox has exchanged meanwhile.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Final

import flash_sandbox_guest as guest

from ...errors import PayloadTooLargeError
from .entries import Item, entry_name, parsed_entry, shown
from .file_worker import GONE, FileWorker, Kind, failure, ignore, tolerating

__all__ = ["list_tree", "remove_tree"]

_EXCHANGED: Final = tolerating(
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO
)

_AHEAD: Final = 16
"""Files that are asked for before they are needed."""

_HELD: Final = 250_000
"""Names of files that are kept at most."""

_LIST_BYTES: Final = 64 << 20
_PATH_BYTES: Final = 1 << 20
_DEEPEST: Final = 65_536


@dataclass(slots=True)
class _Level:
    """A directory on the way to the current one.

    Attributes:
        name: Its name in the directory above; nothing for the top of the tree.
        path_size: Bytes of its path below the top, which ends in a slash.
        waiting: What is still to be gone through: names, and the entries of all but files of one name.
        is_cut: Whether it holds more.
        asked: How many of the first ones have been asked for.
    """

    name: bytes
    path_size: int
    waiting: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    is_cut: bool = False
    asked: int = 0


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
        self._path = bytearray()
        self._held = 0

    def below(self, name: bytes) -> bytes:
        """Return the path of something in the current directory."""
        return bytes(self._path) + name

    async def enter(self, name: bytes, *, follow: bool = False, tolerated: int = 0) -> guest.Entry | None:
        """Go into a directory, and return what it is; None where there is none (any more)."""
        inner = name if self.levels else b""
        self._worker.ask(Kind.ENTER, name, what=inner, follow=follow, tolerated=tolerated, list=True)
        entry = await self._worker.first_entry()
        if entry is not None:
            if inner:
                self._path += inner + b"/"
            if len(self.levels) == _DEEPEST or len(self._path) > _PATH_BYTES:
                raise failure(shown(inner), errno.ENAMETOOLONG)
            self.levels.append(_Level(inner, len(self._path)))
            await self._read()
        return entry

    async def again(self) -> None:
        """Read anew what the current directory holds."""
        self._worker.ask(Kind.ENTER, what=self.levels[-1].name, list=True)
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
            del self._path[self.levels[-1].path_size :]
            self._worker.ask(Kind.LEAVE, what=level.name)


async def remove_tree(worker: FileWorker, path: bytes) -> None:
    """Remove a directory with all that it holds."""
    walk = _Walk(worker)
    await walk.enter(path)
    while walk.levels:
        level = walk.levels[-1]
        if level.waiting:
            name, entry = walk.next()
            if stat.S_ISDIR(entry.mode):
                await walk.enter(name, tolerated=GONE)
            else:
                worker.ask(Kind.UNLINK, name, what=name, tolerated=GONE)
        elif level.is_cut:
            await walk.again()
        else:
            walk.leave()
            if walk.levels:
                worker.ask(Kind.REMOVE_DIR, level.name, what=level.name, tolerated=GONE)
        await worker.keep_up()
    worker.ask(Kind.ENTER, b"/", take=ignore)
    worker.ask(Kind.REMOVE_DIR, path)
    await worker.settle()


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
        worker.ask(Kind.READ, name, what=name, tolerated=_EXCHANGED)
        level.asked += 1


async def _next_item(worker: FileWorker, walk: _Walk, linked: dict[tuple[int, int], bytes]) -> Item | None:
    """Return the next item of the current directory; None where it was exchanged."""
    level = walk.levels[-1]
    name, listed = walk.next()
    path = walk.below(name)
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
            worker.ask(Kind.READ, name, what=name, tolerated=_EXCHANGED)
        entry = await worker.first_entry(level.asked + 1)
        if entry is not None and entry.names > 1 and len(linked) * len(path) < _LIST_BYTES:
            # Beyond that, each name is a file of its own.
            linked[entry.device, entry.inode] = path
    if entry is None:
        return None
    entry.name = path
    return Item(entry, content=worker.content(entry.size) if stat.S_ISREG(entry.mode) else None)

"""A tar archive from a sandbox, unpacked as it comes. It is the sandbox's word, so nothing of it is believed.

Nothing is written but at, or below, the path that was asked for: names that lead out of it are refused, and
no link on the way to a file is followed, be it of the archive or there before. A link is made as it is,
wherever it leads, as tar does and ``docker cp``.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import ProtocolError, SandboxConnectionError, SandboxFileConflictError

__all__ = ["Unpacking"]

_Steps = Generator[int, bytes, None]

_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 64 * 1024
# Of what stands for a name: Linux takes paths of 4 KiB.
_MOST_OF_A_NAME: Final = 64 * 1024
# Of all headers of one file; these are few, and have a record or two each.
_MOST_OF_HEADERS: Final = 4 * _MOST_OF_A_NAME
_ATTRIBUTES_READ: Final = ("path", "linkpath", "size")
_SPARSE: Final = "GNU.sparse."
_ZEROS: Final = bytes(64 * 1024)
_LONG_NAMES: Final = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_ATTRIBUTES: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LEFT_OUT: Final = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
# A record of a pax header: its length, a name and a value (pax(1), extended header).
_RECORD: Final = re.compile(rb"([0-9]{1,6}) ([^=\n]+)=")
# No name holds what parts names where the client runs.
_FOREIGN: Final = frozenset("\\:" if os.name == "nt" else "")
_OWNER: Final = 0o600
_NOT_OTHERS: Final = 0o755


class Unpacking:
    """Unpacks one archive: a file to `local` itself, and what a directory holds into the directory `local`.

    What is neither a file, a directory nor a link is left out. What is nothing but zeros in a file takes no
    room on the disk. A file belongs to the caller, who alone may write to it, and is in its place once it is
    whole.

    Args:
        local: Path of the file or directory to make.

    Attributes:
        done: Bytes of content that have come.
        total: Bytes of content that there are; None where that is not known.
    """

    def __init__(self, local: str | os.PathLike[str]) -> None:
        self.done = 0
        self.total: int | None = None
        self._local = Path(local)
        self._root: Path | None = None
        self._names: dict[str, str] = {}
        self._header_bytes = 0
        self._waiting = bytearray()
        self._complete = False
        self._steps = self._unpack()
        self._wanted = next(self._steps)

    def feed(self, data: bytes) -> None:
        """Unpack what the next bytes of the archive complete.

        Raises:
            ProtocolError: They are not those of such an archive.
            ConflictError: There is a link in the way, or another thing that is no directory.
            OSError: The disk does not take it.
        """
        self._waiting += data
        while not self._complete and len(self._waiting) >= self._wanted:
            piece = bytes(self._waiting[: self._wanted])
            del self._waiting[: self._wanted]
            try:
                self._wanted = self._steps.send(piece)
            except StopIteration:
                self._complete = True
        if self._complete:
            self._waiting.clear()

    def finish(self) -> None:
        """Check that all has come; raise SandboxConnectionError where it has not."""
        if not self._complete:
            raise SandboxConnectionError("the archive broke off before its end")

    def close(self) -> None:
        """Remove what is unfinished. Twice does no more."""
        self._steps.close()

    def _unpack(self) -> _Steps:
        while any(block := (yield _BLOCK)):
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise ProtocolError(f"what came is no tar archive: {error}") from error
            if info.size < 0:
                raise ProtocolError("what came is no tar archive: a size is negative")
            if info.type in _LONG_NAMES:
                text = yield from self._text(info.size)
                self._names[_LONG_NAMES[info.type]] = _decoded(text.partition(b"\0")[0])
            elif info.type in _ATTRIBUTES:
                self._names |= _attributes((yield from self._text(info.size)))
            elif info.type == tarfile.XGLTYPE:
                yield from self._text(info.size)
            else:
                yield from self._member(info)
                self._names.clear()
                self._header_bytes = 0

    def _text(self, size: int) -> Generator[int, bytes, bytes]:
        self._header_bytes += size
        if size > _MOST_OF_A_NAME or self._header_bytes > _MOST_OF_HEADERS:
            raise ProtocolError("a name in the archive is too long")
        padded = -(-size // _BLOCK) * _BLOCK
        return (yield padded)[:size] if padded else b""

    def _member(self, info: tarfile.TarInfo) -> _Steps:
        name = self._names.get("path", info.name)
        target = self._names.get("linkpath", info.linkname)
        parts = _parts(name)
        if self._root is None:
            if info.type == tarfile.DIRTYPE and not parts:
                self._local.mkdir(parents=True, exist_ok=True)
                self._root = self._local
                return
            yield from self._only_file(info, parts)
            return
        if info.type in _LEFT_OUT:
            return
        path = self._root.joinpath(*parts)
        if info.type == tarfile.DIRTYPE:
            self._enter(parts)
            return
        if not parts:
            raise ProtocolError("what came is no archive of a directory")
        self._enter(parts[:-1])
        if info.type in _FILES:
            yield from self._file(info, path)
        elif info.type == tarfile.SYMTYPE:
            if not target or "\0" in target:
                raise ProtocolError(f"the archive holds a link that leads nowhere: {name[:200]!r}")
            _put(path, lambda new: os.symlink(target, new))
        elif info.type == tarfile.LNKTYPE:
            source = self._source(target)
            _put(path, lambda new: _link(source, new))
        else:
            raise ProtocolError(f"the archive holds what this does not know: {name!r}, type {info.type!r}")

    def _only_file(self, info: tarfile.TarInfo, parts: tuple[str, ...]) -> _Steps:
        """Unpack the archive of one file, which is all that may come."""
        if info.type not in _FILES or len(parts) != 1 or self.total is not None:
            raise ProtocolError("what came is no archive of a file or a directory")
        self.total = self._size(info)
        self._local.parent.mkdir(parents=True, exist_ok=True)
        yield from self._file(info, self._local)

    def _file(self, info: tarfile.TarInfo, path: Path) -> _Steps:
        size = self._size(info)
        new = _beside(path)
        try:
            with new.open("xb") as file:
                yield from self._content(file, size)
            new.chmod((info.mode | _OWNER) & _NOT_OTHERS)
            with suppress(OSError, OverflowError, ValueError):
                os.utime(new, (info.mtime, info.mtime))
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        if rest := size % _BLOCK:
            yield _BLOCK - rest

    def _content(self, file: BinaryIO, size: int) -> _Steps:
        left = size
        while left:
            data = yield min(left, _CHUNK)
            if data == _ZEROS[: len(data)]:
                file.seek(len(data), os.SEEK_CUR)
            else:
                file.write(data)
            left -= len(data)
            self.done += len(data)
        file.truncate()

    def _size(self, info: tarfile.TarInfo) -> int:
        size = self._names.get("size", "")
        return int(size) if size.isascii() and size.isdigit() and len(size) < 20 else info.size

    def _enter(self, parts: tuple[str, ...]) -> None:
        """Make a directory where there is none; refuse what is no directory itself, such as a link to one."""
        assert self._root is not None
        path = self._root
        for part in parts:
            path /= part
            with suppress(FileExistsError):
                path.mkdir()
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise _refusal(path, "is in the way of a directory")

    def _source(self, target: str) -> Path:
        """Return the file that another name is to be given."""
        assert self._root is not None
        parts = _parts(target)
        self._enter(parts[:-1])
        path = self._root.joinpath(*parts)
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _refusal(path, "is no file, so it gets no other name")
        return path


def _attributes(text: bytes) -> dict[str, str]:
    found = {}
    position = 0
    while position < len(text):
        record = _RECORD.match(text, position)
        if record is None or int(record[1]) <= record.end() - position:
            raise ProtocolError("what came is no tar archive: malformed attributes")
        end = position + int(record[1])
        name = _decoded(record[2])
        if name.startswith(_SPARSE):
            raise ProtocolError("the archive holds what this does not know: a sparse file")
        if name in _ATTRIBUTES_READ:
            found[name] = _decoded(text[record.end() : end - 1])
        position = end
    return found


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a name in the archive; raise ProtocolError for one that leads out of it."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts or "\0" in name or not _FOREIGN.isdisjoint(name):
        raise ProtocolError(f"the archive holds a name that leads out of it: {name[:200]!r}")
    return parts


def _refusal(path: str | Path, why: str) -> SandboxFileConflictError:
    return SandboxFileConflictError(f"{path} {why}")


def _beside(path: Path) -> Path:
    return path.with_name(f".flash-sandbox-{os.urandom(8).hex()}")


def _put(path: Path, make: Callable[[Path], None]) -> None:
    """Have something made beside a path, then put it there in place of what is there."""
    new = _beside(path)
    try:
        make(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _link(source: Path, new: Path) -> None:
    try:
        os.link(source, new)
    except OSError:
        # Not every file system knows a second name.
        shutil.copy2(source, new, follow_symlinks=False)

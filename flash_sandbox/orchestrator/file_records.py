"""What the scripts of `file_commands` print of files, read into models. All of it is the sandbox's word."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import ConflictError, InvalidArgumentError, Reason
from ..models import FileInfo, ListDirResult

__all__ = ["directory_records", "file_records"]

# GNU find's letters (its manual, -printf), and the kinds of inode(7).
_TYPES: Final = {
    b"f": "file",
    b"d": "directory",
    b"l": "symlink",
    b"p": "fifo",
    b"s": "socket",
    b"c": "char_device",
    b"b": "block_device",
}
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char_device",
    stat.S_IFBLK: "block_device",
}
# No name holds a slash, but for the one that stands before it.
_END_OF_STAT: Final = b"//\n"


def file_records(printed: bytes) -> tuple[FileInfo, ...]:
    """Return what was printed of each file, by name; what is not UTF-8 in a name reads as U+FFFD.

    Raises:
        ConflictError: It makes no sense.
    """
    with _making_sense():
        records = _of_stat(printed[1:]) if printed.startswith(b"\0") else _of_find(printed)
        return tuple(info for _, info in sorted(records, key=lambda record: record[0]))


def directory_records(printed: bytes) -> ListDirResult:
    """Return what was printed of the files in a directory, as `file_records` does.

    Raises:
        ConflictError: It makes no sense, or has a name that no file in a directory can have.
    """
    with _making_sense():
        return ListDirResult(file_records(printed))


@contextmanager
def _making_sense() -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, OverflowError, InvalidArgumentError) as error:
        raise ConflictError(
            f"the sandbox's programs tell nonsense of its files: {error}", reason=Reason.FILE_CONFLICT
        ) from error


def _of_find(printed: bytes) -> Iterator[tuple[bytes, FileInfo]]:
    fields = printed.split(b"\0")
    if fields.pop():
        raise ValueError("it is cut short")
    for first, target in zip(fields[::2], fields[1::2], strict=True):
        letter, size, mode, uid, gid, modified, name = first.split(b" ", 6)
        yield name, _info(name, _TYPES[letter], size, int(mode, 8), uid, gid, modified, target)


def _of_stat(printed: bytes) -> Iterator[tuple[bytes, FileInfo]]:
    stats, _, links = printed.partition(b"\0")
    fields = links.split(b"\0")
    targets = dict(zip(fields[:-1:2], fields[1::2], strict=True))
    *records, rest = stats.split(_END_OF_STAT)
    if rest:
        raise ValueError("it is cut short")
    for record in records:
        mode, size, uid, gid, modified, path = record.split(b" ", 5)
        name = path.removeprefix(b"./")
        bits = int(mode, 16)
        kind = _KINDS[stat.S_IFMT(bits)]
        target = targets.get(name, b"")
        yield name, _info(name, kind, size, stat.S_IMODE(bits), uid, gid, modified, target)


def _info(
    name: bytes, kind: str, size: bytes, mode: int, uid: bytes, gid: bytes, modified: bytes, target: bytes
) -> FileInfo:
    return FileInfo(
        name=name.decode("utf-8", "replace"),
        type=kind,
        size=int(size),
        mode=mode,
        uid=int(uid),
        gid=int(gid),
        modified_at=float(modified),
        link_target=target.decode("utf-8", "replace"),
    )

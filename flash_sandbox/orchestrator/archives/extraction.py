"""Tar files into directories, one or many over one another, with every bound that hostile ones make needed.

Nothing is written outside the directory that is filled: a name with ``..`` is refused, and each directory
on the way to an entry is looked at without following links. What a sandbox cannot have (devices,
set-user-ID) is left out.
"""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import suppress
from copy import copy
from enum import Enum
from pathlib import Path
from typing import Final, cast

from ...errors import InvalidArgumentError
from ..linux.id_range import IdRange
from ..linux.tree_walk import remove_tree, walk
from .bounded_tar import Bounds, Readable, entries, refused, refusing

__all__ = ["Extraction", "Whiteouts"]

OPAQUE: Final = ".wh..wh..opq"
OPAQUE_XATTR: Final = "user.overlay.opaque"
OVERLAY_XATTRS: Final = "user.overlay."
WHITEOUT: Final = ".wh."
XATTR_HEADER: Final = "SCHILY.xattr."

_AUFS: Final = ".wh..wh."
_BLOCK: Final = 64 * 1024
_ZEROS: Final = bytes(_BLOCK)
_MAX_LINKS: Final = 40
_MAX_DEPTH: Final = 256
# Of Linux's 4096, so that a tree that is renamed can still be walked.
_PATH_BYTES: Final = 3584
# Without set-user-ID and set-group-ID, which would work for others on the host; in a sandbox they never do.
# A directory may hand its group on to what is made in it.
KEPT_MODES: Final = 0o1777
KEPT_OF_DIRECTORIES: Final = 0o3777
_LAST_TIME: Final = 2.0**33


class Whiteouts(Enum):
    """What an entry named ``.wh.NAME`` (OCI image specification, layer.md) means."""

    NAMES = "names like any other"
    OVERLAY = "deletions, kept as overlayfs has them"
    APPLY = "deletions, made in what earlier tar files have left"


class Extraction:
    """Fills one empty directory from tar files, in their order.

    Args:
        root: The directory.
        owners: What users and groups in the tar files are here; None where all are the caller.
        whiteouts: What whiteouts mean.
        follow_links: Whether a directory on the way to an entry may be a link, which is then followed as it
            would be with `root` as the root directory; else such an entry is refused.
        bounds: What all tar files together may take; None for no bound.
    """

    def __init__(
        self,
        root: Path,
        *,
        owners: IdRange | None = None,
        whiteouts: Whiteouts = Whiteouts.NAMES,
        follow_links: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self._root = str(root)
        self._owners = owners
        self._whiteouts = whiteouts
        self._follow_links = follow_links
        self._bounds = bounds
        self._entries = 0
        self._directories: dict[str, tuple[int, float]] = {}
        # Of the tar file that is being unpacked: what it has made, and what it has hidden.
        self._own: set[str] = set()
        self._whited_out: set[tuple[str, bool]] = set()
        self.total_bytes = 0

    def add(self, file: Readable) -> None:
        """Unpack one tar file, uncompressed, over what is there.

        Raises:
            InvalidArgumentError: If it is damaged, has an entry that would lie outside, or exceeds a bound.
            UnavailableError: If the disk is full.
        """
        self._own.clear()
        self._whited_out.clear()
        with refusing():
            for tar, info in entries(file):
                self._count(info)
                self._add_one(tar, info)

    def finish(self) -> None:
        """Give directories their modes and times, which filling them would have changed or hindered."""
        with refusing():
            for path, (mode, mtime) in sorted(self._directories.items(), reverse=True):
                os.chmod(path, mode)
                os.utime(path, (mtime, mtime))

    def _count(self, info: tarfile.TarInfo) -> None:
        self._entries += 1
        if info.size < 0:
            raise refused(f"entry {info.name[:200]!r} has a negative size")
        self.total_bytes += info.size if info.isreg() else 0
        if self._bounds is None:
            return
        if info.name.count("/") > _MAX_DEPTH:
            raise _refused_entry(info.name, f"lies deeper than {_MAX_DEPTH} directories")
        if self._entries > self._bounds.entries:
            raise refused(f"it has more than {self._bounds.entries} entries")
        if self.total_bytes > self._bounds.total_bytes:
            raise refused(f"it holds more than {self._bounds.total_bytes} bytes")

    def _add_one(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        parts = _parts(info.name)
        if not parts:
            return
        if self._whiteouts is Whiteouts.APPLY and any(part.startswith(WHITEOUT) for part in parts):
            self._apply_whiteout(parts, info.name)
            return
        path = self._place(parts, info.name)
        self._own.add(path)
        if self._whiteouts is Whiteouts.OVERLAY and parts[-1].startswith(WHITEOUT):
            self._keep_whiteout(path, parts[-1], info.name)
        elif self._make(tar, info, path):
            self._take_over(path, info)

    # Where entries belong

    def _place(self, parts: list[str], name: str) -> str:
        path = os.path.join(self._directory(parts[:-1], name), parts[-1])
        if len(os.fsencode(path)) > _PATH_BYTES:
            raise _refused_entry(name, "has too long a path")
        return path

    def _directory(self, parts: list[str], name: str, *, make: bool = True) -> str:
        """Return the directory that parts of a name lead to, itself reached through no link."""
        path, ahead, links = self._root, parts[::-1], 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                path = os.path.dirname(path) if path != self._root else path
                continue
            child = os.path.join(path, part)
            try:
                mode = os.lstat(child).st_mode
            except FileNotFoundError:
                if not make:
                    raise
                self._make_directory(child, 0o755, None)
                mode = stat.S_IFDIR
            if stat.S_ISDIR(mode):
                path = child
                if make:
                    self._own.add(child)
                continue
            links += 1
            if not (stat.S_ISLNK(mode) and self._follow_links) or links > _MAX_LINKS:
                raise _refused_entry(name, "passes through a link or a file")
            target = os.readlink(child)
            path = self._root if target.startswith("/") else path
            ahead += [part for part in target.split("/") if part not in ("", ".")][::-1]
        return path

    # What they become

    def _make(self, tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> bool:
        """Make one entry; tell whether there is now something to own."""
        # The source first: an entry may be a hard link to itself.
        source = self._link_source(info, path) if info.islnk() else ""
        self._replace(path, keep_directory=info.isdir())
        if info.isdir():
            self._make_directory(path, info.mode & KEPT_OF_DIRECTORIES, info.mtime)
        elif info.issym():
            os.symlink(info.linkname, path)
        elif source:
            os.link(source, path, follow_symlinks=False)
            return False
        elif info.isfifo():
            os.mkfifo(path, 0o600)
        elif info.isreg():
            _write_file(tar, info, path)
        else:
            # Devices: a sandbox has its own /dev.
            return False
        return True

    def _make_directory(self, path: str, mode: int, mtime: float | None) -> None:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        self._own.add(path)
        if mtime is None:
            self._give_away(path)
        self._directories[path] = (mode, _time(mtime or 0.0))

    def _link_source(self, info: tarfile.TarInfo, path: str) -> str:
        parts = _parts(info.linkname)
        why = f"is a hard link to {info.linkname[:200]!r}, which is no file of it"
        if not parts:
            raise _refused_entry(info.name, why)
        try:
            source = os.path.join(self._directory(parts[:-1], info.name, make=False), parts[-1])
            mode = os.lstat(source).st_mode
        except FileNotFoundError:
            raise _refused_entry(info.name, why) from None
        # A link of a link is one more name of that link, and leads nowhere by itself.
        if not (stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and self._follow_links)) or source == path:
            raise _refused_entry(info.name, why)
        return source

    def _take_over(self, path: str, info: tarfile.TarInfo) -> None:
        self._give_away(path, info.uid, info.gid)
        if info.issym():
            return
        for header, value in info.pax_headers.items():
            name = header.removeprefix(XATTR_HEADER)
            # What overlayfs keeps in attributes is its own: an image could redirect directories with them.
            if name != header and name.startswith("user.") and not name.startswith(OVERLAY_XATTRS):
                with suppress(OSError, ValueError):
                    os.setxattr(path, name, value.encode("utf-8", "surrogateescape"))
        if not info.isdir():
            os.chmod(path, info.mode & KEPT_MODES)
            os.utime(path, (_time(info.mtime), _time(info.mtime)))

    def _give_away(self, path: str, user: int = 0, group: int = 0) -> None:
        if self._owners is not None:
            os.chown(path, *map(self._owners.outside, (user, group)), follow_symlinks=False)

    # What they remove

    def _replace(self, path: str, *, keep_directory: bool) -> None:
        try:
            is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if not is_directory:
            os.unlink(path)
        elif not keep_directory:
            self._remove(path)

    def _remove(self, path: str) -> None:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            for entry in walk(Path(path), path_bytes=_PATH_BYTES, depth=_PATH_BYTES):
                if entry.descriptor >= 0:
                    self._directories.pop(os.path.join(path, entry.path).rstrip("/"), None)
            remove_tree(Path(path))
        else:
            os.unlink(path)

    def _apply_whiteout(self, parts: list[str], name: str) -> None:
        if any(part.startswith(_AUFS) and part != OPAQUE for part in parts):
            # What aufs kept for itself; nothing of an image.
            return
        hidden = parts[-1].removeprefix(WHITEOUT)
        if any(part.startswith(WHITEOUT) for part in parts[:-1]) or hidden in ("", ".", ".."):
            raise _refused_entry(name, "is no whiteout")
        try:
            directory = self._directory(parts[:-1], name, make=False)
        except FileNotFoundError:
            return
        target = directory if parts[-1] == OPAQUE else os.path.join(directory, hidden)
        mark = (target, parts[-1] == OPAQUE)
        if mark in self._whited_out:
            # Once hides all: again would only cost the time to look through everything.
            return
        self._whited_out.add(mark)
        for path in [entry.path for entry in os.scandir(directory)] if mark[1] else [target]:
            self._hide(path)

    def _hide(self, path: str) -> None:
        """Remove what earlier tar files have put there, and nothing that this one has."""
        if not os.path.lexists(path):
            return
        if path not in self._own:
            self._remove(path)
        elif stat.S_ISDIR(os.lstat(path).st_mode):
            for child in os.listdir(path):
                self._hide(os.path.join(path, child))

    def _keep_whiteout(self, path: str, name: str, whole: str) -> None:
        if name == OPAQUE:
            directory = os.path.dirname(path)
            for child in os.listdir(directory):
                self._hide(os.path.join(directory, child))
            os.setxattr(directory, OPAQUE_XATTR, b"y")
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise _refused_entry(whole, "is no whiteout")
        target = os.path.join(os.path.dirname(path), hidden)
        self._replace(target, keep_directory=False)
        # Device 0:0 is overlayfs's mark of a deletion; since Linux 5.8 it needs no privilege.
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
        self._give_away(target)


def _write_file(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
    """Write a file; the holes of a sparse one, of which the tar file has only the rest, stay holes."""
    parts = cast(list[tuple[int, int]], [(0, info.size)] if info.sparse is None else info.sparse)
    stored = copy(info)
    stored.sparse, stored.size = None, sum(size for _, size in parts)
    content = tar.extractfile(stored)
    assert content is not None
    end = 0
    with open(path, "xb") as target:
        for offset, size in parts:
            if size < 0 or offset < end or offset + size > info.size:
                raise _refused_entry(info.name, "has parts that overlap or lie outside")
            end = offset + size
            while offset < end and (block := content.read(min(_BLOCK, end - offset))):
                # What is nothing but zeros takes no room on the disk either.
                if block != _ZEROS[: len(block)]:
                    target.seek(offset)
                    target.write(block)
                offset += len(block)
        target.truncate(info.size)


def _refused_entry(name: str, why: str) -> InvalidArgumentError:
    return refused(f"entry {name[:200]!r} {why}")


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise _refused_entry(name, "has '..' or NUL in it")
    return parts


def _time(value: float) -> float:
    return min(max(float(value), 0.0), _LAST_TIME) if value == value else 0.0

"""Walking through the directory trees of strangers, and removing them.

A sandbox decides how deep its tree is, how long its names are and what its modes deny. So nothing here
recurses, and nothing is opened by a path: each directory is opened by its name in the one above, never
through a link, and the way back is ``..``, which has to lead to where the walk came from. However deep
a walk is, it holds few descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["Entry", "Position", "TreeChanged", "open_file", "remove_tree", "removing", "walk"]

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY: Final = _READ | os.O_DIRECTORY
# Directories above the current one that stay open: few trees are deeper.
_KEPT_OPEN: Final = 24
_TRIES: Final = 3
_STEPS_AT_ONCE: Final = 256
# What opening says where a link, a socket, a pipe or nothing is in a file's place.
_EXCHANGED: Final = frozenset((errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR))


class TreeChanged(OSError):
    """Somebody moved or exchanged what was being walked through."""


@dataclass(slots=True)
class _Level:
    """One directory on the way down; the descriptor is -1 where it was closed meanwhile."""

    name: str
    identity: tuple[int, int]
    descriptor: int
    mode_before: int | None


class Position:
    """A directory somewhere in a tree, from which a walk goes down and up again, as a context manager.

    Args:
        top: The directory at the top.
        needed: Permissions that the owner needs in each directory: what a mode denies is given back when the
            directory is entered.
        restore: Whether a directory gets its own mode again when it is left.
    """

    def __init__(self, top: Path, *, needed: int, restore: bool = False) -> None:
        self._needed = needed
        self._restore = restore
        self._levels: list[_Level] = []
        self._open(str(top), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # Where the walk was broken off: upwards to the top, unless it has lost its way.
            while self._restore and self.descriptor >= 0:
                if len(self._levels) == 1:
                    self._give_mode_back(self._levels[0])
                    break
                self.leave()
        finally:
            for level in self._levels:
                if level.descriptor >= 0:
                    os.close(level.descriptor)
            self._levels.clear()

    @property
    def descriptor(self) -> int:
        """Descriptor of the directory."""
        return self._levels[-1].descriptor

    @property
    def mode(self) -> int:
        """Permissions of the directory, before any were lifted."""
        before = self._levels[-1].mode_before
        return stat.S_IMODE(os.fstat(self.descriptor).st_mode) if before is None else before

    def enter(self, name: str) -> None:
        """Go down into a directory of this one.

        Raises:
            OSError: It is not there, is no directory, or denies its owner what only another could lift.
        """
        self._open(name, self.descriptor)
        if len(self._levels) > _KEPT_OPEN + 1:
            above = self._levels[-_KEPT_OPEN - 2]
            if above.descriptor >= 0:
                os.close(above.descriptor)
                above.descriptor = -1

    def leave(self) -> str:
        """Go up, and return the name of the directory that was left.

        Raises:
            TreeChanged: It lies in another directory by now.
        """
        level, above = self._levels.pop(), self._levels[-1]
        try:
            if above.descriptor < 0:
                above.descriptor = _reopened(level.descriptor, above.identity)
            if self._restore:
                self._give_mode_back(level)
        finally:
            os.close(level.descriptor)
        return level.name

    def _open(self, name: str, parent: int | None) -> None:
        descriptor, mode_before = _opened(name, _OPEN_DIRECTORY, parent, self._needed)
        try:
            status = os.fstat(descriptor)
            # To read a directory is not all that it takes to work in it.
            if status.st_mode & self._needed != self._needed and os.geteuid() != 0:
                mode = stat.S_IMODE(status.st_mode)
                os.fchmod(descriptor, mode | self._needed)
                mode_before = mode if mode_before is None else mode_before
        except BaseException:
            os.close(descriptor)
            raise
        self._levels.append(_Level(name, _identity(status), descriptor, mode_before))

    def _give_mode_back(self, level: _Level) -> None:
        if level.mode_before is not None:
            os.fchmod(level.descriptor, level.mode_before)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a walk has come to.

    Attributes:
        path: Its path below the top; empty for the top itself.
        name: Its name.
        parent: Descriptor of the directory that it is in.
        descriptor: Descriptor of a directory; -1 for anything else.
        status: What it is, links not followed.
        mode: Its permissions, before any were lifted.
    """

    path: str
    name: str
    parent: int
    descriptor: int
    status: os.stat_result
    mode: int


def walk(top: Path, *, path_bytes: int, depth: int) -> Iterator[Entry]:
    """Yield a directory and all below it, parents first; modes that deny the owner are lifted meanwhile.

    Args:
        top: The directory.
        path_bytes: The longest path that there may be below it.
        depth: How many directories may be below one another in it.

    Raises:
        OSError: With ENAMETOOLONG where a path is longer, or has more directories; TreeChanged where somebody
            changes the tree.
    """
    with Position(top, needed=0o500, restore=True) as here:
        yield _directory("", -1, here)
        paths = [""]
        pending: list[list[str]] = []
        while True:
            if len(pending) < len(paths):
                # Here for the first time.
                directories: list[str] = []
                for name, is_directory in _listed(here.descriptor):
                    path = f"{paths[-1]}{name}"
                    if len(os.fsencode(path)) > path_bytes or len(paths) > depth + (not is_directory):
                        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
                    if is_directory:
                        directories.append(name)
                    else:
                        status = _status(name, here.descriptor)
                        yield Entry(path, name, here.descriptor, -1, status, stat.S_IMODE(status.st_mode))
                pending.append(directories)
            if pending[-1]:
                parent, name = here.descriptor, pending[-1].pop()
                path = f"{paths[-1]}{name}"
                with _exchanges_told(path):
                    here.enter(name)
                paths.append(f"{path}/")
                yield _directory(path, parent, here)
            elif len(paths) > 1:
                paths.pop()
                pending.pop()
                here.leave()
            else:
                return


def _directory(path: str, parent: int, here: Position) -> Entry:
    status = os.fstat(here.descriptor)
    return Entry(path, os.path.basename(path), parent, here.descriptor, status, here.mode)


def open_file(entry: Entry) -> tuple[int, int | None]:
    """Open a file that a walk has come to, and no other that was put in its place.

    Returns:
        Its descriptor, and the mode to give it back by `os.fchmod` where that was lifted.

    Raises:
        TreeChanged: Something else is there.
    """
    with _exchanges_told(entry.path):
        descriptor, mode_before = _opened(entry.name, _READ | os.O_NONBLOCK, entry.parent, 0o400)
    if _identity(os.fstat(descriptor)) != _identity(entry.status):
        os.close(descriptor)
        raise TreeChanged(f"{entry.path[:200]!r} was exchanged")
    return descriptor, mode_before


def remove_tree(directory: Path) -> None:
    """Remove a directory and all in it, whatever that is; nothing where it is not there.

    Raises:
        OSError: Something cannot be removed; all the rest is gone.
    """
    for _ in removing(directory):
        pass


def removing(directory: Path) -> Iterator[None]:
    """Do what `remove_tree` does, in many short steps.

    What somebody else removes meanwhile is as good as removed.
    """
    failure: OSError | None = None
    for _ in range(_TRIES):
        failure = yield from _remove_once(directory)
        if failure is None:
            return
    assert failure is not None
    raise failure


def _remove_once(top: Path) -> Generator[None, None, OSError | None]:
    failures = _Failures()
    try:
        with Position(top, needed=0o700) as here:
            pending = [(yield from _remove_files(here.descriptor, failures))]
            while True:
                if pending[-1]:
                    if failures.passed(here.enter, pending[-1].pop()):
                        pending.append((yield from _remove_files(here.descriptor, failures)))
                elif len(pending) > 1:
                    pending.pop()
                    failures.passed(os.rmdir, here.leave(), dir_fd=here.descriptor)
                else:
                    break
        os.rmdir(top)
    except NotADirectoryError:
        os.unlink(top)
    except FileNotFoundError:
        return None
    except OSError as error:
        return failures.first or error
    return failures.first


def _remove_files(directory: int, failures: _Failures) -> Generator[None, None, list[str]]:
    """Remove what is no directory, and return the names of the others."""
    directories = []
    for count, (name, is_directory) in enumerate(_listed(directory)):
        if is_directory:
            directories.append(name)
        else:
            failures.passed(os.unlink, name, dir_fd=directory)
        if count % _STEPS_AT_ONCE == 0:
            yield
    return directories


class _Failures:
    """Remembers the first of what cannot be removed."""

    def __init__(self) -> None:
        self.first: OSError | None = None

    def passed(self, act: Callable[..., None], name: str, **options: int) -> bool:
        """Do something with what has a name, and tell whether it was done; what is gone is no failure."""
        try:
            act(name, **options)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.first = self.first or error
            return False
        return True


def _reopened(below: int, identity: tuple[int, int]) -> int:
    """Open the directory above, which has to be the one that it was."""
    try:
        descriptor = os.open("..", _OPEN_DIRECTORY, dir_fd=below)
    except FileNotFoundError as error:
        raise TreeChanged("a directory is gone") from error
    if _identity(os.fstat(descriptor)) != identity:
        os.close(descriptor)
        raise TreeChanged("a directory was moved")
    return descriptor


def _listed(directory: int) -> Iterator[tuple[str, bool]]:
    """Yield the names in a directory, and whether each is a directory itself."""
    with os.scandir(directory) as found:
        for entry in found:
            yield entry.name, entry.is_dir(follow_symlinks=False)


def _status(name: str, parent: int) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError as error:
        raise TreeChanged(f"{name[:200]!r} is gone") from error


@contextmanager
def _exchanges_told(path: str) -> Iterator[None]:
    """Raise `TreeChanged` where opening says that something else, or nothing, is in a file's place."""
    try:
        yield
    except OSError as error:
        if error.errno not in _EXCHANGED:
            raise
        raise TreeChanged(f"{path[:200]!r} was exchanged") from error


def _opened(name: str, flags: int, parent: int | None, needed: int) -> tuple[int, int | None]:
    """Open what has a name, and return its mode before, too, where permissions had to be added for that."""
    try:
        return os.open(name, flags, dir_fd=parent), None
    except PermissionError:
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(place)
        if stat.S_ISLNK(status.st_mode):
            raise TreeChanged(f"{name[:200]!r} was exchanged")
        mode = stat.S_IMODE(status.st_mode)
        # By the descriptor: what has that name by now may be another one.
        path = f"/proc/self/fd/{place}"
        os.chmod(path, mode | needed)
        try:
            return os.open(path, flags & ~os.O_NOFOLLOW), mode
        except BaseException:
            os.chmod(path, mode)
            raise
    finally:
        os.close(place)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino

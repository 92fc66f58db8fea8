"""Where an orchestrator keeps its files, and that no other one uses the same place."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import platformdirs

from ..linux.user_ids import remove_any_tree

__all__ = [
    "StateDirError",
    "default_image_store",
    "default_state_dir",
    "note_version",
    "owner_name",
    "state_directory",
]

# A sandbox may leave programs with the set-user-ID bit in its layer: nobody else is to reach them.
_MODE: Final = 0o700
# The processes of an orchestrator that was killed hold on to its directory until they have ended, too.
_LOCK_SECONDS: Final = 3.0
_LOCK_POLL_SECONDS: Final = 0.05
# Counted up by a release whose files an earlier one would take for rubbish.
_VERSION: Final = "2"
_OLDER_VERSIONS: Final = ("", "1")
_VERSION_FILE: Final = "version"
_TEMPORARY: Final = "flash-sandbox-"
_SETTLED_SECONDS: Final = 60.0


class StateDirError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


def default_state_dir() -> Path:
    """Return ``/var/lib/flash-sandbox`` for root, the user's own state directory for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/flash-sandbox")
    return platformdirs.user_state_path("flash-sandbox", appauthor=False)


def default_image_store() -> Path | None:
    """Return where the images of the default state directory are, made where that can be; else None.

    An orchestrator that keeps nothing else shares it, so that an image is pulled once and not each time.
    """
    store = default_state_dir() / "images"
    with suppress(OSError):
        store.parent.mkdir(mode=_MODE, parents=True, exist_ok=True)
        store.mkdir(mode=_MODE, exist_ok=True)
    return store if os.access(store, os.R_OK | os.W_OK | os.X_OK) else None


def owner_name(directory: Path) -> str:
    """Return the random name of what a runtime keeps outside of its directory; made the first time.

    Args:
        directory: The runtime's directory, made where it is missing.
    """
    directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
    path = directory / "owner"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(secrets.token_hex(16))
        partial.rename(path)
    return path.read_text()


@asynccontextmanager
async def state_directory(path: Path | None) -> AsyncIterator[Path]:
    """Make the directory ready and keep it locked against other orchestrators.

    Args:
        path: The directory, made where it is missing; None for a temporary one, which is removed at the end.

    Raises:
        StateDirError: It cannot be made or written to, another orchestrator uses it, or another version did.
    """
    if path is None:
        temporary = await asyncio.to_thread(_make_temporary)
        descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            await _lock(descriptor, temporary)
            yield temporary
        finally:
            os.close(descriptor)
            await asyncio.to_thread(remove_any_tree, temporary)
        return
    descriptor = _open(path)
    try:
        await _lock(descriptor, path)
        _require_known_version(path)
        yield Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def _make_temporary() -> Path:
    others = list(Path(tempfile.gettempdir()).glob(_TEMPORARY + "*"))
    # In the background, and gone on with by the next one: nobody waits for what others have left.
    threading.Thread(
        target=_remove_abandoned, args=(others,), name="flash-sandbox-trash", daemon=True
    ).start()
    made = Path(tempfile.mkdtemp(prefix=_TEMPORARY)).resolve()
    note_version(made)
    return made


def _remove_abandoned(directories: Iterable[Path]) -> None:
    """Remove the temporary directories of orchestrators of this user that were killed."""
    for directory in directories:
        with suppress(OSError):
            _remove_if_abandoned(directory)


def _remove_if_abandoned(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        # Others may have directories of such names, too. One that was made just now may not be locked yet.
        is_ours = (directory / _VERSION_FILE).is_file()
        if is_ours and status.st_uid == os.geteuid() and status.st_ctime < time.time() - _SETTLED_SECONDS:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_any_tree(directory)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateDirError(f"cannot use {path}: {error.strerror}; name another with --state-dir") from error
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, _MODE)
    if not os.access(path, os.W_OK | os.X_OK):
        os.close(descriptor)
        raise StateDirError(f"cannot write to {path}; name another with --state-dir")
    return descriptor


def note_version(directory: Path) -> None:
    """Have releases before the database refuse a directory: to them, what is in it is nobody's."""
    path = directory / _VERSION_FILE
    if not path.exists() or path.read_text().strip() != _VERSION:
        partial = path.with_suffix(".partial")
        partial.write_text(f"{_VERSION}\n")
        partial.rename(path)


def _require_known_version(path: Path) -> None:
    """Refuse a directory that another version works with; one that tells none is as old as the first."""
    try:
        found = (path / _VERSION_FILE).read_text(errors="replace").strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateDirError(f"cannot read {path / _VERSION_FILE}: {error.strerror}") from error
    if found not in (*_OLDER_VERSIONS, _VERSION):
        raise StateDirError(
            f"{path} has the version {found[:20]!r}, and this flash-sandbox knows {_VERSION}: go on with the "
            "release that used it last, or name another directory with --state-dir"
        )


async def _lock(descriptor: int, path: Path) -> None:
    deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
    while True:
        try:
            # The directory itself is what is locked: no file of the lock's own stays behind.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise StateDirError(
                    f"another orchestrator uses {path}; stop it, or name another directory with --state-dir"
                ) from None
        await asyncio.sleep(_LOCK_POLL_SECONDS)

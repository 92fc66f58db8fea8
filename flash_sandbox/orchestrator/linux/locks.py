"""One at a time for each name, also across processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

__all__ = ["exclusive", "is_still", "try_lock"]

_POLL_SECONDS: Final = 0.05


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold a lock for the length of the block; its file is there only while somebody wants it."""
    while (descriptor := try_lock(path)) is None:
        await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        path.unlink()
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a file, made where it is missing; None where another has it.

    Whoever gets it removes the file before closing the descriptor.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if is_still(descriptor, path):
        return descriptor
    # Removed by its last holder between our opening and locking it.
    os.close(descriptor)
    return None


def is_still(descriptor: int, path: Path) -> bool:
    """Tell whether a path names what a descriptor has open."""
    own = os.fstat(descriptor)
    try:
        other = os.lstat(path)
    except FileNotFoundError:
        return False
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)

"""How a test that runs as root makes connections as another user of this machine does."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NOBODY", "acting_as"]

NOBODY = 65534


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    """Make sockets as `user` does, in this thread alone (setfsuid(2))."""
    libc = ctypes.CDLL(None)
    before = libc.setfsuid(user)
    try:
        yield
    finally:
        libc.setfsuid(before)

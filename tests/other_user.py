"""How a test that runs as root makes connections as another user of this machine does."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["NOBODY", "acting_as", "as_root"]

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    """Make sockets as `user` does, in this thread alone (setfsuid(2))."""
    libc = ctypes.CDLL(None)
    before = libc.setfsuid(user)
    try:
        yield
    finally:
        libc.setfsuid(before)

"""How many connections all sandboxes together may have to hosts outside: each takes a descriptor."""

from __future__ import annotations

import errno
import resource
from typing import Final

__all__ = ["Room"]

_MOST: Final = 16_384
# Half are for clients (doors/connections.py). The rest is for sandboxes, and what these take besides.
_SHARE: Final = 4


class Room:
    """Room for connections, which this process shares between all sandboxes."""

    def __init__(self) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._left = _MOST if descriptors == resource.RLIM_INFINITY else min(descriptors // _SHARE, _MOST)

    def take(self) -> None:
        """Take room for one.

        Raises:
            OSError: There is none left.
        """
        if not self._left:
            raise OSError(errno.EMFILE, "sandboxes have too many connections")
        self._left -= 1

    def give_back(self) -> None:
        """Give back the room for one."""
        self._left += 1

"""How much a caller takes of what a sandbox sends."""

from __future__ import annotations

from ..errors import PayloadTooLargeError
from ..models.checks import INT64, integer

__all__ = ["Bound"]


class Bound:
    """What may come of a file or directory.

    Args:
        path: Its path.
        max_bytes: Most bytes of it, 0 to 2**63 - 1; None for no bound.

    Raises:
        InvalidArgumentError: `max_bytes` is out of range.
    """

    def __init__(self, path: str, max_bytes: int | None) -> None:
        self._path = path
        self._max_bytes = max_bytes if max_bytes is None else integer("max_bytes", max_bytes, (0, INT64[1]))
        self._taken = 0

    def checked(self, data: bytes) -> bytes:
        """Return what has come; raise PayloadTooLargeError where that is too much."""
        self.take(len(data))
        return data

    def take(self, size: int) -> None:
        """Count what has come; raise PayloadTooLargeError where that is too much."""
        self._taken += size
        if self._max_bytes is not None and self._taken > self._max_bytes:
            raise PayloadTooLargeError(f"{self._path}: more came than max_bytes, which is {self._max_bytes}")

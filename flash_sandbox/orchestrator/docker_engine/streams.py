"""What a program printed, taken apart: the engine sends both streams of it through one connection.

A frame is one byte that names the stream, three of zero, four of length (big-endian), and as many of output:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from ..runtimes.base import Printed

__all__ = ["Demultiplexer"]

_HEADER_BYTES: Final = 8
_STDERR: Final = 2


class Demultiplexer:
    """Takes the streams apart, wherever the bytes of the connection are cut."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._stream: Literal["stdout", "stderr"] = "stdout"

    def feed(self, data: bytes) -> Iterator[Printed]:
        """Yield what the next bytes of the connection hold."""
        position = 0
        while position < len(data):
            if self._left:
                piece = data[position : position + self._left]
                self._left -= len(piece)
                position += len(piece)
                yield Printed(self._stream, piece)
                continue
            missing = data[position : position + _HEADER_BYTES - len(self._header)]
            self._header += missing
            position += len(missing)
            if len(self._header) == _HEADER_BYTES:
                self._left = int.from_bytes(self._header[4:], "big")
                self._stream = "stderr" if self._header[0] == _STDERR else "stdout"
                self._header.clear()

"""What a command printed, taken apart: the engine sends both streams of it through one connection.

A frame is one byte that names the stream, three of zero, four of length (big-endian), and as many of output:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

from typing import Final

from ..sandboxing.output import BoundedBytes

__all__ = ["Streams"]

_HEADER_BYTES: Final = 8
_STDERR: Final = 2


class Streams:
    """Both streams of a command, each bounded.

    Attributes:
        stdout: What was printed to standard output.
        stderr: What was printed to standard error.
    """

    def __init__(self) -> None:
        self.stdout = BoundedBytes()
        self.stderr = BoundedBytes()
        self._header = bytearray()
        self._left = 0
        self._target = self.stdout

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection, wherever they are cut."""
        view = memoryview(data)
        while view:
            if not self._left:
                missing = _HEADER_BYTES - len(self._header)
                self._header += view[:missing]
                view = view[missing:]
                if len(self._header) < _HEADER_BYTES:
                    return
                self._left = int.from_bytes(self._header[4:], "big")
                self._target = self.stderr if self._header[0] == _STDERR else self.stdout
                self._header.clear()
                continue
            part = view[: self._left]
            self._target.add(part)
            self._left -= len(part)
            view = view[len(part) :]

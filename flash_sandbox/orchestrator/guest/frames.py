"""Frames around the messages between orchestrator and guest agent, as ``specs/guest.proto`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["FRAME_HEAD", "MAX_FROM_GUEST", "MAX_TO_GUEST", "SYNCHRONISING", "FrameReader", "frame"]

MAX_TO_GUEST: Final = 2_228_224
"""Bytes of the largest message to the agent."""

MAX_FROM_GUEST: Final = 66_560
"""Bytes of the largest message from the agent."""

FRAME_HEAD: Final = 5
"""Bytes of a frame before its message: 0xF5, and the length."""

_BEGIN: Final = 0xF5
_END: Final = 0xFA

SYNCHRONISING: Final = bytes(FRAME_HEAD + MAX_TO_GUEST + 1)
"""Zeros that end any frame which an orchestrator before may have left unfinished."""


def frame(message: Sequence[bytes]) -> list[bytes]:
    """Return the frame of a message, both in parts.

    Raises:
        ValueError: The message is larger than `MAX_TO_GUEST`.
    """
    size = sum(map(len, message))
    if size > MAX_TO_GUEST:
        raise ValueError(f"a message to the guest agent has at most {MAX_TO_GUEST} bytes")
    return [b"%c%b" % (_BEGIN, size.to_bytes(4, "little")), *message, bytes([_END])]


class FrameReader:
    """Takes the messages out of a stream of bytes.

    Attributes:
        skipped: Bytes between frames that were not zero, and frames that had no end, so far. On a stream that
            cannot break off inside a frame there are none, unless the agent sends nonsense.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int, int]]:
        """Take bytes, and yield for each message that they complete what it is in, its begin and its end."""
        if self._held:
            data = self._held + data
        at, size = 0, len(data)
        try:
            while at < size:
                if data[at] != _BEGIN:
                    at = self._next_frame(data, at)
                    continue
                begin = at + FRAME_HEAD
                if begin > size:
                    return
                length = int.from_bytes(data[at + 1 : begin], "little")
                if length > MAX_FROM_GUEST:
                    self.skipped += 1
                    at += 1
                    continue
                end = begin + length
                if end >= size:
                    return
                at = end + 1
                if data[end] == _END:
                    yield data, begin, end
                else:
                    self.skipped += 1
        finally:
            self._held = data[at:]

    def _next_frame(self, data: bytes, at: int) -> int:
        """Return where the next frame may begin."""
        begin = data.find(_BEGIN, at)
        begin = len(data) if begin < 0 else begin
        self.skipped += (begin - at) - data.count(0, at, begin)
        return begin

"""Frames around the messages between orchestrator and guest agent, as ``specs/guest.proto`` has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["MAX_FROM_GUEST", "MAX_TO_GUEST", "SYNCHRONISING", "FrameReader", "frame"]

MAX_TO_GUEST: Final = 2_228_224
"""Bytes of the largest message to the agent."""

MAX_FROM_GUEST: Final = 66_560
"""Bytes of the largest message from the agent."""

_BEGIN: Final = 0xF5
_END: Final = b"\xfa"
_BEGIN_BYTE: Final = b"\xf5"
_HEAD: Final = 5

SYNCHRONISING: Final = bytes(_HEAD + MAX_TO_GUEST + 1)
"""Zeros that end any frame which an orchestrator before may have left unfinished."""


def frame(message: bytes) -> bytes:
    """Return the frame of a message.

    Raises:
        ValueError: The message is larger than `MAX_TO_GUEST`.
    """
    if len(message) > MAX_TO_GUEST:
        raise ValueError(f"a message to the guest agent has at most {MAX_TO_GUEST} bytes")
    return b"%b%b%b%b" % (_BEGIN_BYTE, len(message).to_bytes(4, "little"), message, _END)


class FrameReader:
    """Takes the messages out of a stream of bytes.

    Attributes:
        skipped: Bytes between frames that were not zero, and frames that had no end, so far. On a stream that
            cannot break off inside a frame there are none, unless the agent sends nonsense.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes that have come, and yield each message that they complete."""
        self._held += data
        at, size = 0, len(self._held)
        try:
            while at < size:
                if self._held[at] != _BEGIN:
                    at = self._next_frame(at)
                    continue
                if size - at < _HEAD:
                    return
                length = int.from_bytes(self._held[at + 1 : at + _HEAD], "little")
                if length > MAX_FROM_GUEST:
                    self.skipped += 1
                    at += 1
                    continue
                end = at + _HEAD + length
                if end >= size:
                    return
                message = bytes(memoryview(self._held)[at + _HEAD : end])
                whole = self._held[end : end + 1] == _END
                at = end + 1
                if whole:
                    yield message
                else:
                    self.skipped += 1
        finally:
            del self._held[:at]

    def _next_frame(self, at: int) -> int:
        """Return where the next frame may begin."""
        begin = self._held.find(_BEGIN_BYTE, at)
        begin = len(self._held) if begin < 0 else begin
        self.skipped += (begin - at) - self._held.count(0, at, begin)
        return begin

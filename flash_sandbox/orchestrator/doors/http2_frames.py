"""Counts the frames of an HTTP/2 connection by their heads, before anything is made of them.

Each kind of frame that costs work and brings no call has a budget. Time refills it, and so do calls and what
is sent: whoever reads much may ask for much. What exceeds it ends the connection with ENHANCE_YOUR_CALM (RFC
9113, 10.5).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from .connection import Connection, TooMuchError

__all__ = ["FrameWatch"]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES: Final = 9
# Types of frames and their flags (RFC 9113, 6).
_DATA, _HEADERS, _SETTINGS, _CONTINUATION = 0, 1, 4, 9
_END_STREAM: Final = 0x1
_END_HEADERS: Final = 0x4

# What one turn of the event loop may bring, so that others have theirs.
_FRAMES_AT_ONCE: Final = 64
_UNPROVEN_FRAMES_AT_ONCE: Final = 8
_UNPROVEN_BYTES_AT_ONCE: Final = 4096

# As they are sent. Decoded, h2 takes 64 KiB, which a few bytes can stand for.
_MOST_HEADER_BYTES: Final = 64 * 1024
_MOST_UNPROVEN_HEADER_BYTES: Final = 8 * 1024
_MOST_CONTINUATIONS: Final = 16


@dataclass(slots=True)
class _Budget:
    """How many frames of a kind may come.

    Attributes:
        left: How many at once, at first.
        per_second: How many more each second.
        per_kib: How many more for each KiB that was sent.
        per_call: How many more for each call that came.
        most: How many may be saved up: as many as at first.
        since: When it was refilled last, by the monotonic clock.
        sent: Bytes that had been sent by then.
        calls: Calls that had come by then.
    """

    left: float
    per_second: float
    per_kib: float = 0.0
    per_call: float = 0.0
    most: float = 0.0
    since: float = 0.0
    sent: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.most = self.left
        self.since = time.monotonic()

    def spend(self, cost: float, sent: int, calls: int) -> bool:
        """Take `cost` from what is left; tell whether that was enough."""
        now = time.monotonic()
        earned = (now - self.since) * self.per_second + (calls - self.calls) * self.per_call
        earned += (sent - self.sent) / 1024 * self.per_kib
        self.left = min(self.left + earned, self.most) - cost
        self.since, self.sent, self.calls = now, sent, calls
        return self.left >= 0


def _budget(kind: str) -> _Budget:
    # grpcio answers every message with a PING and two WINDOW_UPDATE, and the smallest answer is 60 bytes.
    if kind in ("PING", "WINDOW_UPDATE"):
        return _Budget(1000, 100, per_kib=16, per_call=4)
    # As nghttp2's server does.
    if kind == "RST_STREAM":
        return _Budget(1000, 100, per_kib=1)
    if kind == "SETTINGS":
        return _Budget(30, 1)
    return _Budget(500, 20)


_KINDS: Final = {
    2: "PRIORITY",
    3: "RST_STREAM",
    4: "SETTINGS",
    6: "PING",
    8: "WINDOW_UPDATE",
    9: "CONTINUATION",
}


class FrameWatch:
    """Reads along with one connection; a `Watch`."""

    def __init__(self) -> None:
        self._preface = len(_PREFACE)
        self._head = b""
        # Bytes to come of the frame that has begun.
        self._body = 0
        self._header_bytes = 0
        self._continuations = 0
        self._is_in_headers = False
        self._budgets: dict[str, _Budget] = {}
        self._last_stream = 0
        self._sent = self._calls = 0

    @property
    def is_midway(self) -> bool:
        """Whether headers have begun and have not ended, or the head of a frame has."""
        return self._is_in_headers or bool(self._head) or bool(self._preface)

    def admit(self, data: bytes, connection: Connection) -> int:
        """Return how many bytes of `data` may be handed on now.

        Raises:
            TooMuchError: It is no HTTP/2, or there are too many frames of a kind.
        """
        self._sent = connection.sent
        proven = connection.proven
        frames = _FRAMES_AT_ONCE if proven else _UNPROVEN_FRAMES_AT_ONCE
        at = self._skip_preface(data) if self._preface else 0
        while at < len(data):
            if self._body:
                step = min(self._body, len(data) - at)
                self._body -= step
                at += step
                continue
            if not frames or not (proven or at < _UNPROVEN_BYTES_AT_ONCE):
                break
            step = _HEAD_BYTES - len(self._head)
            self._head += data[at : at + step]
            at += step
            if len(self._head) == _HEAD_BYTES:
                frames -= 1
                self._count(proven)
        return min(at, len(data))

    def has_request(self, data: bytes) -> bool:
        """Tell whether `data`, the first of a connection, has all headers of a request."""
        at = len(_PREFACE)
        for _ in range(_UNPROVEN_FRAMES_AT_ONCE):
            if at + _HEAD_BYTES > len(data):
                break
            end = at + _HEAD_BYTES + int.from_bytes(data[at : at + 3], "big")
            if data[at + 3] == _HEADERS:
                return bool(data[at + 4] & _END_HEADERS) and end <= len(data)
            at = end
        return False

    def farewell(self) -> bytes:
        """Return a GOAWAY without an error."""
        return self._goaway(ErrorCodes.NO_ERROR, "idle")

    def _skip_preface(self, data: bytes) -> int:
        begun = len(_PREFACE) - self._preface
        size = min(self._preface, len(data))
        if data[:size] != _PREFACE[begun : begun + size]:
            raise TooMuchError(self._goaway(ErrorCodes.PROTOCOL_ERROR, "this is no HTTP/2"))
        self._preface -= size
        return size

    def _count(self, proven: bool) -> None:
        head, self._head = self._head, b""
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        self._body = length
        if kind == _HEADERS:
            self._last_stream = max(self._last_stream, int.from_bytes(head[5:], "big") & 0x7FFFFFFF)
            self._header_bytes = self._continuations = 0
            self._calls += 1
        if kind in (_HEADERS, _CONTINUATION):
            self._is_in_headers = not flags & _END_HEADERS
            self._header_bytes += length
            self._continuations += kind == _CONTINUATION
            most = _MOST_HEADER_BYTES if proven else _MOST_UNPROVEN_HEADER_BYTES
            if self._header_bytes > most or self._continuations > _MOST_CONTINUATIONS:
                raise self._too_many("headers")
        if not proven:
            # All of them, since none has brought a call.
            self._spend("frames without a key", 1)
        if kind == _DATA and (length or flags & _END_STREAM):
            return
        if kind != _HEADERS:
            self._spend(_KINDS.get(kind, "other"), 1 + length // 64 if kind == _SETTINGS else 1)

    def _spend(self, kind: str, cost: float) -> None:
        budget = self._budgets.get(kind)
        if budget is None:
            budget = self._budgets[kind] = _budget(kind)
        if not budget.spend(cost, self._sent, self._calls):
            raise self._too_many(kind)

    def _too_many(self, kind: str) -> TooMuchError:
        return TooMuchError(self._goaway(ErrorCodes.ENHANCE_YOUR_CALM, f"too many: {kind}"))

    def _goaway(self, code: ErrorCodes, text: str) -> bytes:
        frame = GoAwayFrame(0, self._last_stream, error_code=code, additional_data=text.encode())
        return frame.serialize()

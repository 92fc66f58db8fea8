"""Workarounds for libraries: each entry names its upstream issue and goes once that is fixed.

`tests/unit/test_workarounds.py` fails for an entry that is not needed any more.
"""

from __future__ import annotations

from typing import Any, Final

from h2.frame_buffer import FrameBuffer
from hyperframe.frame import Frame, GoAwayFrame

__all__ = ["KEEPALIVE_FIELDS", "BriefFrames", "FrameReader", "describe_briefly"]

KEEPALIVE_FIELDS: Final = {
    "time": "_keepalive_time",
    "timeout": "_keepalive_timeout",
    "max_pings": "_http2_max_pings_without_data",
    "interval": "_http2_min_sent_ping_interval_without_data",
}
"""grpclib's settings of its keepalive pings have no public names.

https://github.com/vmagamedov/grpclib/issues/116
"""


class BriefFrames(FrameBuffer):
    """Have h2 leave the content of what it receives out of its log; see `describe_briefly`."""

    def __next__(self) -> Frame:
        frame = super().__next__()
        describe_briefly(frame)
        return frame


class FrameReader(BriefFrames):
    """Keep GOAWAY from h2, which ends every call on it, those that the server still answers included.

    RFC 9113, section 6.8: a server answers the streams up to the last one that it names.
    https://github.com/python-hyper/h2/issues/1181

    Attributes:
        goaway: The last GOAWAY that came.
    """

    goaway: GoAwayFrame | None = None

    def __next__(self) -> Frame:
        frame = super().__next__()
        while isinstance(frame, GoAwayFrame):
            self.goaway = frame
            frame = super().__next__()
        return frame


def describe_briefly(frame: Frame) -> None:
    """Leave the content out of what h2 writes of a frame into its log, whether or not anybody reads that.

    h2 writes out all of it in hexadecimal digits, which takes longer than to receive it. So it has been since
    https://github.com/python-hyper/hyperframe/pull/25; no issue asks for a change.
    """
    described: Any = frame
    described._body_repr = _nothing


def _nothing() -> str:
    return "..."

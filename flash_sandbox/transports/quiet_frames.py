"""Frames of HTTP/2 that are not written out for a log that nobody reads.

h2 describes each frame that comes for a trace that its logger then drops. Of a frame of data it tells the
whole content in hexadecimal digits, which takes longer than to receive it.
"""

from __future__ import annotations

from typing import Any

from h2.connection import H2Connection
from hyperframe.frame import Frame

__all__ = ["describe_frames_briefly"]


def describe_frames_briefly(connection: H2Connection) -> None:
    """Make what one connection says of the frames that come short."""
    receive = connection._receive_frame

    def receive_quietly(frame: Frame) -> Any:
        frame._body_repr = _nothing  # type: ignore[method-assign]
        return receive(frame)

    connection._receive_frame = receive_quietly  # type: ignore[method-assign]


def _nothing() -> str:
    return "..."

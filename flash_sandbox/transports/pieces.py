"""The pieces of an answer that is streamed by HTTP, wherever its bytes are cut. Pure; both halves use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from ..codecs.http_client import MAX_FRAME_BYTES, codec_of
from ..errors import ProtocolError
from ..operations import KEEPALIVE, Operation
from .retry import lost_stream

__all__ = ["Pieces"]

Res = TypeVar("Res")


class Pieces(Generic[Res]):
    """Makes pieces of the bytes of one answer.

    Args:
        operation: What was asked for.
    """

    def __init__(self, operation: Operation[Any, Res]) -> None:
        self._operation = operation
        self._codec = codec_of(operation)
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._complete = operation.streams == "bytes"

    def feed(self, chunk: bytes) -> Iterator[Res]:
        """Yield the pieces that the next bytes complete, but for those that say that nothing happened.

        Raises:
            SandboxError: What the server tells is that the call failed.
            ProtocolError: It is no answer of an orchestrator.
        """
        if self._operation.streams == "bytes":
            yield self._operation.result(data=chunk)  # type: ignore[call-arg]
            return
        position = 0
        while (end := chunk.find(b"\n", position)) >= 0:
            self._begun.append(chunk[position:end])
            position = end + 1
            line = b"".join(self._begun)
            self._begun.clear()
            self._begun_bytes = 0
            piece = self._codec.frame(line)
            self._complete = self._operation.is_last(piece)
            if getattr(piece, "type", "") != KEEPALIVE:
                yield piece
        if position < len(chunk):
            self._begun.append(chunk[position:])
            self._begun_bytes += len(chunk) - position
        if self._begun_bytes > MAX_FRAME_BYTES:
            raise ProtocolError(f"a line of the answer is longer than {MAX_FRAME_BYTES} bytes")

    def finish(self) -> None:
        """Check that the answer has ended where it should.

        Raises:
            SandboxConnectionError: It was cut.
        """
        if self._begun or not self._complete:
            raise lost_stream(self._operation)

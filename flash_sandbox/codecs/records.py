"""The records that `connect_port` answers: so a silent connection can be told from a lost one. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ..errors import PortClosedError, ProtocolError

__all__ = ["BROKEN", "END", "NOTHING", "RecordReader", "record"]

_LENGTH: Final = struct.Struct(">I")
_BROKEN: Final = 2**32 - 1
_END: Final = 2**32 - 2
# As long as an ID may be.
_MOST_ID_BYTES: Final = 128

NOTHING: Final = _LENGTH.pack(0)
"""Says that nothing has happened for a while."""

BROKEN: Final = _LENGTH.pack(_BROKEN)
"""Says that the connection broke off."""

END: Final = _LENGTH.pack(_END)
"""Says that the program has closed its side; the other one may still be open."""


def record(data: bytes) -> bytes:
    """Return bytes as a record; of none, one that says nothing."""
    return _LENGTH.pack(len(data)) + data


class RecordReader:
    """Reads records, wherever they are cut.

    Attributes:
        connection_id: What the first record says, once all of it has come; empty before.
    """

    def __init__(self) -> None:
        self.connection_id = ""
        self._head = b""
        self._left = 0
        self._id = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the program in the sandbox has sent, in pieces of any size; no bytes once it has ended.

        Raises:
            PortClosedError: The connection broke off.
            ProtocolError: It is no answer of an orchestrator.
        """
        at = 0
        while at < len(chunk):
            left = self._left
            if not left:
                at = self._begin(chunk, at)
                if self._left == _END:
                    self._left = 0
                    yield b""
                continue
            piece = chunk[at : at + left]
            at += len(piece)
            self._left -= len(piece)
            if self.connection_id:
                yield piece
            else:
                self._take_id(piece)

    def finish(self) -> None:
        """Check that the last record is complete; raise ProtocolError where it is not."""
        if self._left or self._head or not self.connection_id:
            raise ProtocolError("the answer ends within a record")

    def _begin(self, chunk: bytes, at: int) -> int:
        """Read the length of the next record, as far as it is there; return where that ends."""
        end = at + _LENGTH.size - len(self._head)
        self._head += chunk[at:end]
        if len(self._head) == _LENGTH.size:
            (self._left,) = _LENGTH.unpack(self._head)
            self._head = b""
            if self._left == _BROKEN:
                raise PortClosedError("the connection to the port broke off")
        return min(end, len(chunk))

    def _take_id(self, piece: bytes) -> None:
        self._id += piece
        if len(self._id) + self._left > _MOST_ID_BYTES:
            raise ProtocolError("the ID of the connection is too long")
        if not self._left:
            self.connection_id = self._id.decode("ascii", "replace")

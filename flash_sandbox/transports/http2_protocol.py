"""HTTP/2 (RFC 9113) of a client that has one call at a time on a connection. It does no I/O.

hpack writes and reads the headers. h2 and hyperframe, which keep calls apart and make an object of every
frame, take longer for one call than all the rest of it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from grpclib.exceptions import StreamTerminatedError
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

__all__ = [
    "CONNECTION_WINDOW_BYTES",
    "FRAME_BYTES",
    "NOT_HTTP2",
    "STREAM_WINDOW_BYTES",
    "Headers",
    "OneCallProtocol",
    "RefusedError",
    "is_server_preface",
    "was_refused",
]

Headers = tuple[tuple[bytes, bytes], ...]

STREAM_WINDOW_BYTES: Final = 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 2**31 - 1
"""A stream that nobody reads holds up itself alone: no number of them fills what the connection may carry."""

FRAME_BYTES: Final = 64 * 1024
"""Of one frame: with the usual 16 KiB both ends are busier with frames than with what is in them."""

NOT_HTTP2: Final = "Protocol error"
"""Why a call was ended whose server broke the protocol, in grpclib's words."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames, their flags and the settings (RFC 9113, sections 6 and 6.5.2).
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE = 0, 1, 3, 4, 5
_PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5

# Length (its first byte apart), type, flags, stream.
_FRAME_HEAD: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")
_NUMBER: Final = struct.Struct(">L")
_STREAM_BITS: Final = 2**31 - 1
# RFC 9113, 6.5.2 and 6.9.2: what holds until SETTINGS say otherwise.
_USUAL_WINDOW_BYTES: Final = 65_535
_USUAL_FRAME_BYTES: Final = 16_384
_MOST_FRAME_BYTES: Final = 2**24 - 1
_TABLE_BYTES: Final = 4096
_MOST_HEADER_BYTES: Final = 256 * 1024
_REFUSED_STREAM: Final = 7


class RefusedError(StreamTerminatedError):
    """The server has ended a call that it says it has not begun (RFC 9113, 6.8 and 8.7)."""


def was_refused(error: StreamTerminatedError) -> bool:
    """Tell whether the server says that it has not begun the request, here or in grpclib's words."""
    text = str(error)
    return isinstance(error, RefusedError) or (text.endswith("error_code: 7") and "reset" in text)


def is_server_preface(head: bytes) -> bool:
    """Tell whether a connection's first nine bytes are those of HTTP/2.

    The first frame of a server is SETTINGS, type 4 on stream 0 (RFC 9113, section 3.4).
    """
    return head[3:9] == b"\x04\0\0\0\0\0"


class _BrokenError(Exception):
    """What came is not what HTTP/2 allows."""


class OneCallProtocol:
    """The protocol of one connection, from its first byte.

    Attributes:
        outgoing: What is to be sent; whoever sends it empties it.
        leaving: Whether the server takes no other call.
        headers: Head of the answer to the current call, once it has come.
        trailers: What followed the answer, where anything did.
        received: Data of the answer that was not taken yet.
        ended: Whether the answer is complete.
    """

    def __init__(self) -> None:
        self.outgoing = bytearray(_PREFACE)
        self.leaving = False
        self._rest = b""
        self._greeted = False
        self._encoder = Encoder()
        self._decoder = Decoder()
        # What a list of headers is, as long as the table behind it does not change.
        self._blocks: dict[Headers, bytes] = {}
        self._first_room = _USUAL_WINDOW_BYTES
        self._connection_room = _USUAL_WINDOW_BYTES
        self._frame_bytes = _USUAL_FRAME_BYTES
        self._connection_owed = 0
        self._id = -1
        self._clear()
        settings = (
            (_ENABLE_PUSH, 0),
            (_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
            (_MAX_FRAME_SIZE, FRAME_BYTES),
        )
        self._put(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings))
        self._put(_WINDOW_UPDATE, 0, 0, _NUMBER.pack(CONNECTION_WINDOW_BYTES - _USUAL_WINDOW_BYTES))

    def _clear(self) -> None:
        self.headers: dict[str, str] | None = None
        self.trailers: dict[str, str] | None = None
        self.received = bytearray()
        self.ended = False
        self._end_sent = False
        self._room = self._first_room
        self._owed = 0
        # A head that is not complete yet, and whether it ends the answer.
        self._block: bytearray | None = None
        self._block_ends = False

    @property
    def idle(self) -> bool:
        """Tell whether there is no call, so that one can begin."""
        return not self.leaving and (self._id < 0 or (self.ended and self._end_sent))

    @property
    def room(self) -> int:
        """How many bytes the server takes now."""
        return max(0, min(self._room, self._connection_room))

    def begin(self, headers: Headers) -> None:
        """Begin a call."""
        self._id += 2
        self._clear()
        block = self._blocks.get(headers) or self._encoded(headers)
        kind, size = _HEADERS, self._frame_bytes
        while len(block) > size:
            self._put(kind, 0, self._id, block[:size])
            kind, block = _CONTINUATION, block[size:]
        self._put(kind, _END_HEADERS, self._id, block)

    def _encoded(self, headers: Headers) -> bytes:
        table = self._encoder.header_table.dynamic_entries
        before = table[0] if table else None
        block = self._encoder.encode(headers)
        if table and table[0] is before:
            self._blocks[headers] = block
        else:
            self._blocks.clear()
        return block

    def send(self, data: memoryview, *, end: bool) -> None:
        """Send a part of the request for which there is `room`, its last one where `end` is true."""
        self._room -= len(data)
        self._connection_room -= len(data)
        while len(data) > self._frame_bytes:
            self._put(_DATA, 0, self._id, data[: self._frame_bytes])
            data = data[self._frame_bytes :]
        self._put(_DATA, _END_STREAM if end else 0, self._id, data)
        self._end_sent = end

    def ping(self) -> None:
        """Ask the server whether it is there."""
        self._put(_PING, 0, 0, b"are you?")

    def feed(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            RefusedError: The server has not begun the call, and will not.
            StreamTerminatedError: It has broken the call off, or is no server of HTTP/2.
        """
        try:
            self._take_frames(self._rest + data if self._rest else data)
        except (_BrokenError, HPACKError, struct.error) as error:
            self.leaving = True
            raise StreamTerminatedError(NOT_HTTP2) from error

    def _take_frames(self, data: bytes) -> None:
        position = 0
        while len(data) - position >= _FRAME_HEAD.size:
            high, low, kind, flags, stream = _FRAME_HEAD.unpack_from(data, position)
            begin = position + _FRAME_HEAD.size
            end = begin + (high << 16 | low)
            self._check(kind, end - begin, data)
            if end > len(data):
                break
            position = end
            # What is not known, and what is only advice, is passed over (RFC 9113, 5.5).
            receive = _RECEIVE.get(kind)
            if receive is not None:
                receive(self, flags, stream & _STREAM_BITS, data[begin:end])
        self._rest = data[position:]

    def _check(self, kind: int, length: int, data: bytes) -> None:
        if not self._greeted:
            if not is_server_preface(data):
                raise _BrokenError("the first frame is not SETTINGS")
            self._greeted = True
        if length > FRAME_BYTES:
            raise _BrokenError("a frame is larger than was allowed")
        if (self._block is not None) != (kind == _CONTINUATION):
            raise _BrokenError("a head is not complete, or goes on without a beginning")

    def _receive_settings(self, flags: int, stream: int, body: bytes) -> None:
        if stream or (flags & _ACK and body):
            raise _BrokenError("settings are malformed")
        if flags & _ACK:
            return
        for setting, value in _SETTING.iter_unpack(body):
            if setting == _HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, _TABLE_BYTES)
                self._blocks.clear()
            elif setting == _INITIAL_WINDOW_SIZE:
                self._room += value - self._first_room
                self._first_room = value
                _check_window(value)
            elif setting == _MAX_FRAME_SIZE:
                if not _USUAL_FRAME_BYTES <= value <= _MOST_FRAME_BYTES:
                    raise _BrokenError("a size of frames is out of range")
                self._frame_bytes = min(value, FRAME_BYTES)
        self._put(_SETTINGS, _ACK, 0, b"")

    def _receive_headers(self, flags: int, stream: int, body: bytes) -> None:
        if stream != self._id or self.ended:
            raise _BrokenError("a head belongs to no call")
        body = _unpadded(flags, body)
        self._block, self._block_ends = bytearray(), bool(flags & _END_STREAM)
        self._extend_block(flags, stream, body[5:] if flags & _PRIORITY else body)

    def _extend_block(self, flags: int, stream: int, body: bytes) -> None:
        if self._block is None or stream != self._id:
            raise _BrokenError("a head goes on in another call")
        self._block += body
        if len(self._block) > _MOST_HEADER_BYTES:
            raise _BrokenError("a head is too large")
        if flags & _END_HEADERS:
            block, self._block = bytes(self._block), None
            self._receive_head(dict(self._decoder.decode(block)))

    def _receive_head(self, headers: dict[Any, Any]) -> None:
        if self.headers is None:
            if headers.get(":status", "").startswith("1") and not self._block_ends:
                # More will come, and tell how it went (RFC 9110, 15.2).
                return
            self.headers = headers
        elif self._block_ends:
            self.trailers = headers
        else:
            raise _BrokenError("an answer has two heads")
        self.ended = self._block_ends

    def _receive_data(self, flags: int, stream: int, body: bytes) -> None:
        if stream != self._id or self.headers is None or self.ended:
            raise _BrokenError("data belong to no answer")
        self.received += _unpadded(flags, body)
        self.ended = bool(flags & _END_STREAM)
        # Padding counts, too (RFC 9113, 6.1).
        self._owed += len(body)
        self._connection_owed += len(body)
        if self._owed > STREAM_WINDOW_BYTES // 2 and not self.ended:
            self._put(_WINDOW_UPDATE, 0, self._id, _NUMBER.pack(self._owed))
            self._owed = 0
        if self._connection_owed > STREAM_WINDOW_BYTES:
            self._put(_WINDOW_UPDATE, 0, 0, _NUMBER.pack(self._connection_owed))
            self._connection_owed = 0

    def _receive_window_update(self, flags: int, stream: int, body: bytes) -> None:
        increment = _NUMBER.unpack(body)[0] & _STREAM_BITS
        if not increment:
            raise _BrokenError("a window grows by nothing")
        if stream == 0:
            self._connection_room += increment
            _check_window(self._connection_room)
        elif stream == self._id:
            self._room += increment
            _check_window(self._room)

    def _receive_ping(self, flags: int, stream: int, body: bytes) -> None:
        if stream or len(body) != 8:
            raise _BrokenError("a ping is malformed")
        if not flags & _ACK:
            self._put(_PING, _ACK, 0, body)

    def _receive_reset(self, flags: int, stream: int, body: bytes) -> None:
        code = _NUMBER.unpack(body)[0]
        # After the answer it says no more than that the rest of the request is not needed.
        if stream == self._id and not self.ended:
            self.leaving = True
            kind = RefusedError if code == _REFUSED_STREAM else StreamTerminatedError
            raise kind(f"the server has reset the stream, error code {code}")

    def _receive_goaway(self, flags: int, stream: int, body: bytes) -> None:
        last, code = (_NUMBER.unpack_from(body, at)[0] for at in (0, 4))
        # Calls up to the last one that it names are still answered.
        self.leaving = True
        if last & _STREAM_BITS < self._id and not self.ended:
            raise RefusedError(f"the server is leaving, error code {code}")

    def _receive_push(self, flags: int, stream: int, body: bytes) -> None:
        raise _BrokenError("the server pushes, which was not allowed")

    def _put(self, kind: int, flags: int, stream: int, body: bytes | memoryview) -> None:
        size = len(body)
        self.outgoing += _FRAME_HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream)
        self.outgoing += body


def _unpadded(flags: int, body: bytes) -> bytes:
    """Return what is in a frame of data or headers without its padding (RFC 9113, 6.1)."""
    if not flags & _PADDED:
        return body
    if not body or body[0] >= len(body):
        raise _BrokenError("a frame has more padding than content")
    return body[1 : len(body) - body[0]]


def _check_window(size: int) -> None:
    if size > CONNECTION_WINDOW_BYTES:
        raise _BrokenError("a window is larger than HTTP/2 allows")


_RECEIVE: Final[dict[int, Any]] = {
    _DATA: OneCallProtocol._receive_data,
    _HEADERS: OneCallProtocol._receive_headers,
    _RST_STREAM: OneCallProtocol._receive_reset,
    _SETTINGS: OneCallProtocol._receive_settings,
    _PUSH_PROMISE: OneCallProtocol._receive_push,
    _PING: OneCallProtocol._receive_ping,
    _GOAWAY: OneCallProtocol._receive_goaway,
    _WINDOW_UPDATE: OneCallProtocol._receive_window_update,
    _CONTINUATION: OneCallProtocol._extend_block,
}

"""The client's end of an HTTP/2 connection, on h2. It does no I/O; both gRPC transports use it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from grpclib.exceptions import StreamTerminatedError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hpack import Encoder

from .workarounds import FrameReader

__all__ = [
    "CONNECTION_WINDOW_BYTES",
    "FRAME_BYTES",
    "H2_CONFIGURATION",
    "NOT_HTTP2",
    "STREAM_WINDOW_BYTES",
    "ClientConnection",
    "HeaderEncoder",
    "Pings",
    "RefusedError",
    "was_refused",
]

STREAM_WINDOW_BYTES: Final = 1024 * 1024
CONNECTION_WINDOW_BYTES: Final = 2**31 - 1
"""A stream that nobody reads holds up only itself: no number of streams fills the connection's window."""

FRAME_BYTES: Final = 128 * 1024
"""Of one frame: with the usual 16 KiB both ends are busier with frames than with what is in them."""

# Sets of headers whose encoded form is remembered.
_MOST_BLOCKS: Final = 100

# RFC 9113, 6.9.2.
_FIRST_WINDOW_BYTES: Final = 65_535

NOT_HTTP2: Final = "Protocol error"
"""Why a call was ended whose server broke the protocol, in grpclib's words."""

H2_CONFIGURATION: Final = H2Configuration(
    client_side=True,
    header_encoding="ascii",
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)


class Pings:
    """When to find out whether a silent server still answers.

    Servers in Go end a connection whose client pings more than once in five minutes, so TCP's own keepalive
    is what notices a dead link within a minute.

    Attributes:
        seconds: Send a PING after this much silence.
        patience: How long its answer may take, in seconds.
    """

    seconds: ClassVar[float] = 300.0
    patience: ClassVar[float] = 20.0


class RefusedError(StreamTerminatedError):
    """The server has ended a call that it says it has not begun (RFC 9113, 6.8 and 8.7)."""


def was_refused(error: StreamTerminatedError) -> bool:
    """Tell whether the server says that it has not begun the request, here or in grpclib's words."""
    text = str(error)
    return isinstance(error, RefusedError) or (text.endswith("error_code: 7") and "reset" in text)


class HeaderEncoder(Encoder):
    """Remember the encoded form of headers that leave the table as it is: most calls send the same ones.

    It does without Huffman's code, which takes longer to write and to read than what it saves takes to send.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[tuple[Any, ...], bytes] = {}

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:  # type: ignore[override, unused-ignore]
        """Return the encoded form of `headers`."""
        known, table = tuple(headers), self.header_table
        if table.resized:
            self.blocks.clear()
        elif known in self.blocks:
            return self.blocks[known]
        before = (table.resized, next(iter(table.dynamic_entries), None))
        block = super().encode(known, huffman=False)
        # A new entry is the first one.
        if before[0] or next(iter(table.dynamic_entries), None) is not before[1]:
            self.blocks.clear()
        elif len(self.blocks) < _MOST_BLOCKS:
            self.blocks[known] = block
        return block


class ClientConnection(H2Connection):
    """Take no new call after a GOAWAY, and refuse at once what does not begin as HTTP/2 does.

    Attributes:
        leaving: Whether the server takes no more calls on this connection, and goes on with those it has.
    """

    def __init__(self) -> None:
        super().__init__(config=H2_CONFIGURATION)
        self.encoder = HeaderEncoder()
        self.leaving = False
        self.head: bytes | None = b""
        self.reader = FrameReader()
        self.incoming_buffer = self.reader
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _FIRST_WINDOW_BYTES)
        self.update_settings(
            {
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
            }
        )
        # h2 would refuse such a frame where it is read together with the acknowledgement of the settings.
        self.max_inbound_frame_size = FRAME_BYTES

    def get_next_available_stream_id(self) -> int:
        """Return the ID for the next call.

        Raises:
            RefusedError: The server takes no more calls.
        """
        if self.leaving:
            raise RefusedError("the server takes no more calls on this connection")
        return super().get_next_available_stream_id()

    def receive_data(self, data: bytes) -> list[Event]:  # type: ignore[override, unused-ignore]
        """Return the events that `data` tells; a GOAWAY is the last of them.

        Raises:
            h2.exceptions.ProtocolError: The server breaks the protocol.
        """
        if self.head is not None:
            data = self.head + data
            if len(data) < 9:
                self.head = data
                return []
            self.head = None
            # The first frame of a server is SETTINGS, type 4 on stream 0 (RFC 9113, section 3.4). h2 would
            # wait for the rest of a huge frame.
            if data[3:9] != b"\x04\0\0\0\0\0":
                raise ProtocolError("the answer is not HTTP/2")
        events = super().receive_data(data)
        frame, self.reader.goaway = self.reader.goaway, None
        if frame is not None:
            self.leaving = True
            event = ConnectionTerminated()
            code = frame.error_code
            event.error_code = ErrorCodes(code) if code in set(ErrorCodes) else ErrorCodes.PROTOCOL_ERROR
            event.last_stream_id = frame.last_stream_id
            events.append(event)
        return events

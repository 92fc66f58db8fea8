"""The client's side of HTTP/2 against h2's side of a server, and against what no server sends."""

from __future__ import annotations

import struct

import pytest
from grpclib.exceptions import StreamTerminatedError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingAckReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.transports.http2_protocol import (
    FRAME_BYTES,
    NOT_HTTP2,
    STREAM_WINDOW_BYTES,
    OneCallProtocol,
)

_REQUEST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"b"))
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20).map(lambda name: f"x-{name}")
_VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)


def new_server() -> H2Connection:
    server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    return server


def exchange(client: OneCallProtocol, server: H2Connection, size: int = 65536) -> list[object]:
    """Carry bytes both ways, `size` at a time, until neither has more to say; return the server's events."""
    events: list[object] = []
    while True:
        there, back = bytes(client.outgoing), server.data_to_send()
        client.outgoing.clear()
        if not there and not back:
            return events
        for start in range(0, len(there), size):
            events += server.receive_data(there[start : start + size])
        for start in range(0, len(back), size):
            client.feed(back[start : start + size])


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


SETTINGS = frame(4, 0, 0, b"")


@given(
    headers=st.dictionaries(_NAMES, _VALUES, max_size=6),
    body=st.binary(max_size=200_000),
    padding=st.integers(0, 255),
    size=st.integers(1, 9000),
)
def test_calls_arrive_as_they_were_sent(
    headers: dict[str, str], body: bytes, padding: int, size: int
) -> None:
    client, server = OneCallProtocol(), new_server()
    exchange(client, server)
    sent = (*_REQUEST, *((name.encode(), value.encode()) for name, value in headers.items()))
    # The second and the third one are written from what was remembered of those before.
    for number in range(3):
        client.begin(sent)
        client.send(memoryview(body[: client.room]), end=True)
        events = exchange(client, server, size)
        request = next(event for event in events if isinstance(event, RequestReceived))
        assert dict(request.headers) == {name.decode(): value.decode() for name, value in sent}
        received = b"".join(event.data for event in events if isinstance(event, DataReceived))
        assert received == body[: len(received)]
        assert any(isinstance(event, StreamEnded) for event in events)

        stream = 2 * number + 1
        server.acknowledge_received_data(len(received), stream)
        server.send_headers(stream, [(":status", "200"), *headers.items()])
        for start in range(0, len(body), 16_000):
            server.send_data(stream, body[start : start + 16_000], pad_length=padding)
        server.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        exchange(client, server, size)
        assert client.headers == {":status": "200", **headers}
        assert (bytes(client.received), client.trailers) == (body, {"grpc-status": "0"})
        assert client.idle


@given(data=st.binary(max_size=400), cut=st.integers(1, 50))
def test_whatever_comes_is_an_answer_or_an_end(data: bytes, cut: int) -> None:
    client = OneCallProtocol()
    client.begin(_REQUEST)
    try:
        for start in range(0, len(data), cut):
            client.feed((SETTINGS if not start else b"") + data[start : start + cut])
    except StreamTerminatedError:
        assert client.leaving or not client.ended


@given(
    frames=st.lists(
        st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 4), st.binary(max_size=40)),
        max_size=8,
    )
)
def test_frames_in_any_order_are_an_answer_or_an_end(frames: list[bytes]) -> None:
    client = OneCallProtocol()
    client.begin(_REQUEST)
    try:
        for each in (SETTINGS, *frames):
            client.feed(each)
    except StreamTerminatedError:
        assert not client.idle


def test_head_larger_than_a_frame_goes_on_in_others() -> None:
    client, server = OneCallProtocol(), new_server()
    exchange(client, server)
    long = ((b"x-long", b"%" * 40_000),)
    client.begin((*_REQUEST, *long))
    client.send(memoryview(b""), end=True)
    events = exchange(client, server)
    request = next(event for event in events if isinstance(event, RequestReceived))
    assert dict(request.headers)["x-long"] == "%" * 40_000
    server.send_headers(1, [(":status", "200"), ("x-long", "%" * 40_000)], end_stream=True)
    exchange(client, server)
    assert client.headers is not None
    assert (len(client.headers["x-long"]), client.ended) == (40_000, True)


def test_answer_larger_than_the_window_is_let_through_as_it_is_taken() -> None:
    client, server = OneCallProtocol(), new_server()
    exchange(client, server)
    client.begin(_REQUEST)
    client.send(memoryview(b""), end=True)
    exchange(client, server)
    server.send_headers(1, [(":status", "200")])
    sent = 0
    while sent < 3 * STREAM_WINDOW_BYTES:
        piece = min(FRAME_BYTES, server.local_flow_control_window(1), server.max_outbound_frame_size)
        assert piece > 0
        server.send_data(1, bytes(piece))
        sent += piece
        exchange(client, server)
    assert len(client.received) == sent


def test_window_that_the_server_changes_holds_for_the_call_under_way() -> None:
    client, server = OneCallProtocol(), new_server()
    exchange(client, server)
    client.begin(_REQUEST)
    client.send(memoryview(bytes(1000)), end=False)
    exchange(client, server)
    assert client.room == 65_535 - 1000
    server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 500})
    exchange(client, server)
    assert client.room == 0


def test_ping_is_answered_and_asked() -> None:
    client, server = OneCallProtocol(), new_server()
    exchange(client, server)
    server.ping(b"12345678")
    assert [type(event) for event in exchange(client, server)] == [PingAckReceived]
    client.ping()
    exchange(client, server)


def test_head_in_between_is_not_the_answer() -> None:
    client, server = OneCallProtocol(), new_server()
    client.begin(_REQUEST)
    client.send(memoryview(b""), end=True)
    exchange(client, server)
    server.send_headers(1, [(":status", "103")])
    exchange(client, server)
    assert client.headers is None
    server.send_headers(1, [(":status", "200")], end_stream=True)
    exchange(client, server)
    assert client.headers == {":status": "200"}


# `:status: 200` is entry 8 of the static table (RFC 7541, appendix A).
HEAD = frame(1, 0x4, 1, b"\x88")

BROKEN = {
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no settings first": frame(6, 0, 0, bytes(8)),
    "frame that is too large": SETTINGS + struct.pack(">BHBBL", 1, 1, 0, 0, 1),
    "settings of a stream": SETTINGS + frame(4, 0, 1, b""),
    "settings that are cut short": SETTINGS + frame(4, 0, 0, bytes(5)),
    "acknowledgement with settings": SETTINGS + frame(4, 1, 0, bytes(6)),
    "window that is too large": SETTINGS + frame(4, 0, 0, struct.pack(">HL", 4, 2**31)),
    "size of frames that is too small": SETTINGS + frame(4, 0, 0, struct.pack(">HL", 5, 100)),
    "data before the head": SETTINGS + frame(0, 0, 1, b"x"),
    "data of another call": SETTINGS + HEAD + frame(0, 0, 3, b"x"),
    "data after the end": SETTINGS + frame(1, 0x5, 1, b"\x88") + frame(0, 0, 1, b"x"),
    "padding without content": SETTINGS + HEAD + frame(0, 0x8, 1, b"\x05abc"),
    "two heads": SETTINGS + HEAD + HEAD,
    "head of another call": SETTINGS + frame(1, 0x4, 3, b"\x88"),
    "head that never ends": SETTINGS + frame(1, 0, 1, b"") + frame(9, 0, 1, bytes(60_000)) * 5,
    "head that another frame interrupts": SETTINGS + frame(1, 0, 1, b"\x88") + frame(6, 0, 0, bytes(8)),
    "end of a head that never began": SETTINGS + frame(9, 0x4, 1, b"\x88"),
    "head that is not HPACK": SETTINGS + frame(1, 0x4, 1, b"\xff\xff\xff\xff\xff"),
    "ping that is cut short": SETTINGS + frame(6, 0, 0, bytes(7)),
    "ping of a stream": SETTINGS + frame(6, 0, 1, bytes(8)),
    "push": SETTINGS + frame(5, 0x4, 1, b"\0\0\0\2\x88"),
    "window that grows by nothing": SETTINGS + frame(8, 0, 0, bytes(4)),
    "window that grows too far": SETTINGS + frame(8, 0, 0, struct.pack(">L", 2**31 - 1)),
    "reset that is cut short": SETTINGS + frame(3, 0, 1, bytes(3)),
    "leaving that is cut short": SETTINGS + frame(7, 0, 0, bytes(7)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_is_not_http2(name: str) -> None:
    client = OneCallProtocol()
    client.begin(_REQUEST)
    with pytest.raises(StreamTerminatedError) as caught:
        client.feed(BROKEN[name])
    assert str(caught.value) == NOT_HTTP2
    assert not client.idle


@pytest.mark.parametrize("kind", [2, 10, 99])
def test_frames_that_are_not_known_are_passed_over(kind: int) -> None:
    client = OneCallProtocol()
    client.begin(_REQUEST)
    client.feed(SETTINGS + frame(kind, 255, 1, bytes(20)) + HEAD)
    assert client.headers == {":status": "200"}

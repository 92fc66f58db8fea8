"""Each entry of transports/workarounds.py is still needed: a test fails once the library does without it."""

from __future__ import annotations

import dataclasses

import pytest
from grpclib.config import Configuration
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame

from flash_sandbox.transports.workarounds import KEEPALIVE_FIELDS, FrameReader

_HEAD = [(":status", "200")]


def _pair() -> tuple[H2Connection, H2Connection]:
    """Return a client that has made call 1, and the server that has received it."""
    client, server = H2Connection(), H2Connection(config=H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(
        1, [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")], end_stream=True
    )
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


def _goaway_and_answer(server: H2Connection) -> tuple[bytes, bytes]:
    server.send_headers(1, _HEAD, end_stream=True)
    answer = server.data_to_send()
    server.close_connection(last_stream_id=1)
    return server.data_to_send(), answer


def test_h2_ends_the_calls_that_a_goaway_leaves_open() -> None:
    client, server = _pair()
    goaway, answer = _goaway_and_answer(server)
    client.receive_data(goaway)
    with pytest.raises(ProtocolError):
        client.receive_data(answer)


def test_frame_reader_keeps_the_calls_that_a_goaway_leaves_open() -> None:
    client, server = _pair()
    reader = client.incoming_buffer = FrameReader()
    goaway, answer = _goaway_and_answer(server)
    assert client.receive_data(goaway) == []
    assert reader.goaway is not None
    assert reader.goaway.last_stream_id == 1
    assert client.receive_data(answer)


@pytest.mark.parametrize("workaround", [False, True])
def test_h2_writes_out_a_frame_for_a_log_that_nobody_reads(
    workaround: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []
    describe = DataFrame.serialize_body

    def described_body(frame: DataFrame) -> bytes:
        described.append(repr(type(frame)))
        return describe(frame)

    client, server = _pair()
    if workaround:
        client.incoming_buffer = FrameReader()
    server.send_headers(1, _HEAD)
    server.send_data(1, b"content")
    data = server.data_to_send()
    monkeypatch.setattr(DataFrame, "serialize_body", described_body)
    client.receive_data(data)
    assert bool(described) is not workaround


def test_grpclib_has_no_public_settings_of_its_pings() -> None:
    names = {field.name for field in dataclasses.fields(Configuration)}
    assert set(KEEPALIVE_FIELDS.values()) <= names
    assert not {name.removeprefix("_") for name in KEEPALIVE_FIELDS.values()} & names

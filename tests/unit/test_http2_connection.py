"""The client's HTTP/2 connection: encoded headers, and long frames."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from h2.settings import SettingCodes

from flash_sandbox.transports.http2_connection import FRAME_BYTES, ClientConnection


def _headers(path: str, token: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
        ("authorization", token),
    ]


def test_server_reads_the_headers_of_every_call() -> None:
    client = ClientConnection()
    server = H2Connection(config=H2Configuration(client_side=False, header_encoding="ascii"))
    server.initiate_connection()
    calls = [("/a", "x"), ("/a", "x"), ("/a", "x"), ("/b", "x"), ("/a", "x"), ("/a", "y"), ("/a", "x")]
    # A table of no entries, then of some: the server forgets what it knew.
    for table_bytes in (4096, 0, 100, 4096):
        server.update_settings({SettingCodes.HEADER_TABLE_SIZE: table_bytes})
        client.receive_data(server.data_to_send())
        for path, token in calls:
            headers = _headers(path, token)
            client.send_headers(client.get_next_available_stream_id(), headers, end_stream=True)
            events = server.receive_data(client.data_to_send())
            assert [dict(event.headers) for event in events if isinstance(event, RequestReceived)] == [
                dict(headers)
            ]
            for event in events:
                if isinstance(event, RequestReceived):
                    server.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            client.receive_data(server.data_to_send())


def test_a_long_frame_that_comes_with_the_acknowledgement_is_taken() -> None:
    client = ClientConnection()
    server = H2Connection(config=H2Configuration(client_side=False, header_encoding="ascii"))
    server.initiate_connection()
    stream = client.get_next_available_stream_id()
    client.send_headers(stream, _headers("/a", "x"), end_stream=True)
    server.receive_data(client.data_to_send())
    server.send_headers(stream, [(":status", "200")])
    server.send_data(stream, bytes(server.max_outbound_frame_size))
    events = client.receive_data(server.data_to_send())
    assert [len(event.data) for event in events if isinstance(event, DataReceived)] == [FRAME_BYTES]

"""A server that answers every request the same, in the protocol in which it was asked.

What it answers need not be anything that an orchestrator would.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import flash_sandbox_grpc
from faults import PREFACE, read_message
from grpclib.encoding.base import GRPC_CONTENT_TYPE
from grpclib.metadata import encode_bin_value, encode_grpc_message
from h2.config import H2Configuration
from h2.connection import H2Connection
from loop_server import LoopServer

from flash_sandbox.errors import GRPC_STATUS

__all__ = ["SETTINGS", "Announced", "Answer", "Error", "ForeignServer", "Message", "Page", "Raw", "Stream"]

_Headers = list[tuple[str, str]]
SETTINGS: Final = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""The empty frame with which every HTTP/2 server begins."""


@dataclass(frozen=True)
class Page:
    """What a proxy says, the same in HTTP/1.1 and in HTTP/2."""

    status: int
    body: bytes = b""
    content_type: str = "text/html"

    def over_http(self) -> bytes:
        """Return the answer in HTTP/1.1."""
        headers = f"content-type: {self.content_type}\r\ncontent-length: {len(self.body)}\r\n\r\n"
        return f"HTTP/1.1 {self.status} {_phrase(self.status)}\r\n{headers}".encode() + self.body

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer in HTTP/2."""
        headers = [(":status", str(self.status)), ("content-type", self.content_type)]
        return _http2(request, headers, self.body)


@dataclass(frozen=True)
class Message:
    """A successful answer: its JSON, and its binary form."""

    json: bytes
    binary: bytes

    def over_http(self) -> bytes:
        """Return the answer in HTTP/1.1."""
        return Page(200, self.json, "application/json").over_http()

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer in HTTP/2."""
        body = b"\x00" + len(self.binary).to_bytes(4, "big") + self.binary
        return _http2(request, _GRPC_HEADERS, body, [("grpc-status", "0")])


@dataclass(frozen=True)
class Error:
    """The answer of an orchestrator that refuses or fails."""

    status_code: int
    grpc_status: str
    reason: str
    detail: str
    request_id: str = "some-request"
    retryable: bool = False

    def over_http(self) -> bytes:
        """Return the answer in HTTP/1.1."""
        fields = {name: getattr(self, name) for name in ("detail", "reason", "request_id", "retryable")}
        return Page(self.status_code, json.dumps(fields).encode(), "application/json").over_http()

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer in HTTP/2."""
        details = flash_sandbox_grpc.Error(
            detail=self.detail, reason=self.reason, request_id=self.request_id, retryable=self.retryable
        )
        trailers = [
            ("grpc-status", str(GRPC_STATUS[self.grpc_status])),
            ("grpc-message", encode_grpc_message(self.detail)),
            ("grpc-status-details-bin", encode_bin_value(bytes(details)).decode()),
        ]
        return _http2(request, _GRPC_HEADERS, None, trailers)


@dataclass(frozen=True)
class Raw:
    """Bytes that go out as they are, after which the connection is closed."""

    http: bytes
    http2: bytes

    def over_http(self) -> bytes:
        """Return the answer to a request in HTTP/1.1."""
        return self.http

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer to a request in HTTP/2."""
        return self.http2


@dataclass(frozen=True)
class Stream:
    """The beginning of a streamed answer: pieces, each as JSON and in binary form, and perhaps the end."""

    pieces: tuple[tuple[bytes, bytes], ...] = ()
    ends: bool = False

    def over_http(self) -> bytes:
        """Return the answer in HTTP/1.1."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = [b"%x\r\n%s\n\r\n" % (len(piece) + 1, piece) for piece, _ in self.pieces]
        return b"".join([head, *chunks, b"0\r\n\r\n" if self.ends else b""])

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer in HTTP/2."""
        body = b"".join(b"\x00" + len(piece).to_bytes(4, "big") + piece for _, piece in self.pieces)
        return _http2(request, _GRPC_HEADERS, body, [("grpc-status", "0")] if self.ends else (), ends=False)


@dataclass(frozen=True)
class Announced:
    """The beginning of an answer that tells how many bytes it will have."""

    size: int
    status: int = 200

    def over_http(self) -> bytes:
        """Return the answer in HTTP/1.1."""
        line = f"HTTP/1.1 {self.status} {_phrase(self.status)}\r\n"
        return f"{line}content-type: application/json\r\ncontent-length: {self.size}\r\n\r\n".encode()

    def over_http2(self, request: bytes) -> bytes:
        """Return the answer in HTTP/2."""
        headers = [(":status", str(self.status)), *_GRPC_HEADERS[1:]]
        return _http2(request, headers, b"\x00" + self.size.to_bytes(4, "big"), ends=False)


Answer = Page | Message | Error | Raw | Stream | Announced

_GRPC_HEADERS: Final[_Headers] = [(":status", "200"), ("content-type", GRPC_CONTENT_TYPE)]


class ForeignServer(LoopServer):
    """Answers every request with `answer`.

    Args:
        answer: What to say.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        request = await read_message(reader)
        answer = self._answer
        writer.write(answer.over_http2(request) if request.startswith(PREFACE) else answer.over_http())
        await writer.drain()
        if isinstance(answer, Raw) or (isinstance(answer, Stream) and answer.ends):
            writer.write_eof()
        while await reader.read(65536):
            pass


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unnamed"


def _http2(
    request: bytes,
    headers: _Headers,
    body: bytes | None,
    trailers: Iterable[tuple[str, str]] = (),
    *,
    ends: bool = True,
) -> bytes:
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.receive_data(request)
    connection.send_headers(1, headers)
    trailers = list(trailers)
    if body is not None:
        connection.send_data(1, body, end_stream=ends and not trailers)
    if trailers:
        connection.send_headers(1, trailers, end_stream=True)
    return connection.data_to_send()

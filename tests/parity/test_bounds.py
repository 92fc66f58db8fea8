"""What bounds a call: its time also while it sends, the size of what it takes, and the life of its client."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from faults import PREFACE, FaultProxy, Link
from foreign import Announced, ForeignServer, Stream
from loop_server import LoopServer

import flash_sandbox
from flash_sandbox import (
    ClientClosedError,
    OutcomeUnknownError,
    ProtocolError,
    SandboxAPI,
    SandboxError,
    SandboxTimeoutError,
)
from flash_sandbox.codecs import MAX_ANSWER_BYTES
from flash_sandbox.codecs.http_client import MAX_FRAME_BYTES
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.transports.retry import Patience

Connect = Callable[..., SandboxAPI]

# More than sockets keep of what nobody reads.
MUCH = bytes(8 * 1024 * 1024)

# What lets a client of HTTP/2 send all of it at once (RFC 9113, sections 6.5.2 and 6.9).
WINDOWS = (
    b"\0\0\6\4\0\0\0\0\0"
    + struct.pack(">HL", 4, 2**31 - 1)
    + b"\0\0\4\x08\0\0\0\0\0"
    + struct.pack(">L", 2**30)
)


class NeverReading(LoopServer):
    """Lets clients send as much as they like, and reads next to nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readexactly(len(PREFACE))).startswith(PREFACE):
            writer.write(WINDOWS)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()


class Endless(LoopServer):
    """Answers in HTTP/1.1 with more than the largest answer, and notes how much was taken."""

    sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
        piece = b" " * (1024 * 1024)
        while self.sent < 2 * MAX_ANSWER_BYTES:
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)


@pytest.mark.timeout(60)
def test_sending_what_the_server_does_not_read_ends_at_the_time_out(connect: Connect) -> None:
    with NeverReading() as server:
        client = connect(server.address, timeout=1, max_retries=0)
        with pytest.raises(SandboxTimeoutError, match="no answer within 1 s"):
            client.write_stdin("a", "b", MUCH)
        client.close()


@pytest.mark.timeout(60)
def test_so_does_each_step_of_an_upload_when_nothing_happens(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "seconds", 0.5)
    with NeverReading() as server:
        client = connect(server.address, timeout=None, max_retries=0)
        with pytest.raises(OutcomeUnknownError, match=r"nothing came for 0\.5 s"):
            client.upload_archive("a", "/tmp", iter([MUCH, MUCH]))
        client.close()


@pytest.mark.parametrize("kind", ["HTTPClient", "AsyncHTTPClient"], indirect=True)
def test_an_answer_over_http_is_taken_up_to_the_largest(connect: Connect) -> None:
    with Endless() as server:
        client = connect(server.address, max_retries=0)
        with pytest.raises(ProtocolError, match=f"larger than {MAX_ANSWER_BYTES} bytes"):
            client.get_status("a")
        client.close()
        server.wait_until_idle()
        assert server.sent < 2 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("kind", ["SandboxClient", "AsyncSandboxClient"], indirect=True)
@pytest.mark.parametrize("call", ["get_status", "exec_stream"])
def test_so_is_a_message_over_grpc_by_the_length_that_it_tells(
    connect: Connect, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "seconds", 5.0)
    with ForeignServer(Announced(MAX_ANSWER_BYTES + 1)) as server:
        client = connect(server.address, max_retries=0, timeout=5)
        with pytest.raises(ProtocolError, match=f"larger than {MAX_ANSWER_BYTES} bytes"):
            client.get_status("a") if call == "get_status" else list(client.exec_stream("a", ["true"]))
        client.close()


@pytest.mark.parametrize("kind", ["HTTPClient", "AsyncHTTPClient"], indirect=True)
def test_a_line_of_a_streamed_answer_is_taken_up_to_the_longest(connect: Connect) -> None:
    line = b"x" * (2 * MAX_FRAME_BYTES)
    with ForeignServer(Stream(((line, b""),))) as server:
        client = connect(server.address, max_retries=0)
        with pytest.raises(ProtocolError, match=f"longer than {MAX_FRAME_BYTES} bytes"):
            list(client.exec_stream("a", ["true"]))
        client.close()


CALLS: dict[str, Callable[[Any], Any]] = {
    "call": lambda client: client.get_status("a"),
    "streamed answer": lambda client: client.exec_stream("a", ["true"]),
}


@pytest.mark.parametrize("name", ["HTTPClient", "SandboxClient"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_client_that_is_closed_under_a_call_says_so(
    name: str, orchestrator: Orchestrator, call: Callable[[Any], Any]
) -> None:
    begun, raised = threading.Event(), []
    address = orchestrator.http_address if name == "HTTPClient" else orchestrator.grpc_address

    async def note_and_hold(link: Link) -> None:
        await link.request()
        begun.set()
        await link.until_client_leaves()

    with FaultProxy(address, [note_and_hold]) as proxy:
        client = getattr(flash_sandbox, name)(address=proxy.address, max_retries=5)

        def use() -> None:
            try:
                list(call(client))
            except SandboxError as error:
                raised.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        assert begun.wait(60)
        client.close()
        thread.join()
    (error,) = raised
    assert (type(error), error.reason) == (ClientClosedError, "client_closed")
    assert "closed during the call" in error.detail


@pytest.mark.parametrize("name", ["AsyncHTTPClient", "AsyncSandboxClient"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_so_does_an_asynchronous_one(
    name: str, orchestrator: Orchestrator, call: Callable[[Any], Any]
) -> None:
    begun = threading.Event()
    address = orchestrator.http_address if name == "AsyncHTTPClient" else orchestrator.grpc_address

    async def note_and_hold(link: Link) -> None:
        await link.request()
        begun.set()
        await link.until_client_leaves()

    async def use() -> None:
        answer = await call(client)
        async for _ in answer:
            pass

    with FaultProxy(address, [note_and_hold]) as proxy:
        client = getattr(flash_sandbox, name)(address=proxy.address, max_retries=5)
        task = asyncio.create_task(use())
        assert await asyncio.to_thread(begun.wait, 60)
        await client.close()
        with pytest.raises(ClientClosedError, match="closed during the call"):
            await task

"""What a connection may do before its caller has shown a key, and what a proven one may."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame

from benchmarks.programs.flood import FLOODS, PREFACE, frame
from flash_sandbox.orchestrator.doors.connection import Connection, Watch
from flash_sandbox.orchestrator.doors.connections import Connections
from flash_sandbox.orchestrator.doors.http2_frames import FrameWatch

BRIEF = 0.05
LONG = 60.0
# The kinds of frames of which a caller with a key sends as many as it likes, within what h2 bounds.
OF_CALLERS = ("calls", "large headers")


class Answering(asyncio.Protocol):
    """Sends back what comes, and does what it reads: begin a request, prove the caller, end the request."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"raise" in data:
            raise NotImplementedError
        for word, act in (
            (b"begin", self.connection.begin),
            (b"prove", self.connection.prove),
            (b"end", self.connection.end),
        ):
            if word in data:
                act()
        self.transport.write(data)


@dataclass
class Door:
    """A listening front door and the protocols that it has made."""

    port: int
    protocols: list[Answering] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        self.writers.append(writer)
        return reader, writer


@asynccontextmanager
async def door(
    connections: Connections, watch: Callable[[], Watch | None] = lambda: None
) -> AsyncIterator[Door]:
    made = Door(0)

    def make(connection: Connection) -> asyncio.Protocol:
        made.protocols.append(Answering(connection))
        return made.protocols[-1]

    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(connections, make, watch()), "127.0.0.1", 0
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(30):
            yield made
    finally:
        server.close()
        for protocol in made.protocols:
            protocol.transport.abort()
        connections.close_silent()
        for writer in made.writers:
            writer.close()
        for writer in made.writers:
            with suppress(OSError):
                await writer.wait_closed()
        await server.wait_closed()


def connections(most: int = 100, seconds: float = LONG) -> Connections:
    return Connections(lambda socket: False, most, seconds, seconds)


async def is_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes = b"x") -> bool:
    """Tell whether a connection is open, which it is if what is sent comes back."""
    try:
        writer.write(data)
        return await reader.readexactly(len(data)) == data
    except (OSError, asyncio.IncompleteReadError):
        return False


class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", b"half of a head", b"begin", b"begin end"], ids=repr)
    async def test_a_connection_ends_that_brings_no_proof(self, sent: bytes) -> None:
        async with door(connections(seconds=BRIEF)) as opened:
            reader, writer = await opened.connect()
            writer.write(sent)
            received = b""
            try:
                while data := await reader.read(100):
                    received += data
            except ConnectionError:
                pass
            assert received in (b"", sent)

    @pytest.mark.parametrize("sent", [b"begin prove", b"begin prove end"], ids=repr)
    async def test_a_proven_one_stays_however_quiet_it_is(self, sent: bytes) -> None:
        async with door(connections(seconds=BRIEF)) as opened:
            reader, writer = await opened.connect()
            assert await is_answered(reader, writer, sent)
            silent, _ = await opened.connect()
            # Of two connections one ends, so that the deadline has passed; then another one, to be sure.
            assert await silent.read() == b""
            silent, _ = await opened.connect()
            assert await silent.read() == b""
            assert await is_answered(reader, writer)

    async def test_the_next_head_on_a_proven_one_has_a_deadline(self) -> None:
        async with door(connections(seconds=BRIEF)) as opened:
            reader, writer = await opened.connect()
            assert await is_answered(reader, writer, b"begin prove end")
            assert await is_answered(reader, writer, b"half of a head")
            assert await reader.read() == b""

    async def test_half_of_headers_on_a_proven_connection_have_one(self) -> None:
        async with door(connections(seconds=BRIEF), FrameWatch) as opened:
            reader, writer = await opened.connect()
            assert await is_answered(reader, writer, PREFACE + frame(6, 0, 0, b"prove..."))
            writer.write(frame(1, 0, 1, b"x"))
            assert _goaway(await reader.read()).error_code == ErrorCodes.NO_ERROR


class TestCap:
    async def test_the_oldest_unproven_one_of_the_largest_origin_makes_room(self) -> None:
        async with door(connections(most=8)) as opened:
            neighbour = await opened.connect("127.0.0.2")
            mine = [await opened.connect("127.0.0.3") for _ in range(4)]
            assert await mine[0][0].read() == b""
            assert await is_answered(*neighbour)
            assert [await is_answered(*each) for each in mine[1:]] == [True] * 3

    async def test_proven_ones_stay_and_idle_ones_do_not_shut_anybody_out(self) -> None:
        async with door(connections(most=8)) as opened:
            proven = await opened.connect()
            assert await is_answered(*proven, b"begin prove end")
            for _ in range(50):
                await opened.connect()
            assert await is_answered(*await opened.connect(), b"begin prove end")
            assert await is_answered(*proven)

    async def test_what_is_above_the_most_is_closed_where_all_are_proven(self) -> None:
        async with door(connections(most=2)) as opened:
            proven = []
            for _ in range(2):
                proven.append(await opened.connect())
                assert await is_answered(*proven[-1], b"begin prove end")
            assert not await is_answered(*await opened.connect())
            assert await is_answered(*proven[0])


async def test_a_protocol_that_raises_ends_its_own_connection_and_holds_up_no_other() -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: raised.append(told["exception"]))
    async with door(connections()) as opened:
        long, waiting, raising = [await opened.connect() for _ in range(3)]
        # More than what is handed on at a time: the others wait for their turns, the last one for the first.
        for (_, writer), data in ((long, bytes(65536)), (waiting, b"x\n\n"), (raising, b"raise\n\n")):
            writer.write(data)
        assert await waiting[0].readexactly(3) == b"x\n\n"
        assert len(await long[0].readexactly(65536)) == 65536
        assert await _until_closed(raising[0]) == b""
    assert list(map(type, raised)) == [NotImplementedError]


class TestUnread:
    async def test_nothing_more_is_read_of_a_caller_that_does_not_read(self) -> None:
        async with door(connections()) as opened:
            with socket.create_connection(("127.0.0.1", opened.port)) as connection:
                connection.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(connection, b"prove")
                sent = 0
                # Until the buffers of both ends of the kernel are full, and so is the orchestrator's own.
                for _ in range(1024):
                    try:
                        async with asyncio.timeout(1):
                            await loop.sock_sendall(connection, b"x" * 65536)
                    except TimeoutError:
                        break
                    sent += 65536
                else:
                    raise AssertionError(f"{sent} bytes were read of it")
                assert len(opened.protocols[0].received) < 32 * 2**20


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("proven", [False, True])
async def test_a_flood_of_frames_ends_its_connection(kind: str, proven: bool) -> None:
    if proven and kind in OF_CALLERS:
        return
    async with door(connections(), FrameWatch) as opened:
        reader, writer = await opened.connect()
        writer.write(PREFACE)
        if proven:
            writer.write(frame(6, 0, 0, b"prove..."))
        received = asyncio.create_task(_until_closed(reader))
        pieces = FLOODS[kind]()
        while not received.done():
            writer.write(next(pieces))
            try:
                await writer.drain()
            except ConnectionError:
                break
        writer.close()
        assert _goaway(await received).error_code == ErrorCodes.ENHANCE_YOUR_CALM


@dataclass(eq=False)
class Idle:
    """A connection on which nothing comes."""

    connections: Connections
    origin: int
    deadline: float = math.inf
    is_aborted: bool = False

    def abort(self) -> None:
        self.is_aborted = True
        self.connections.forget(cast(Connection, self))


def seconds_to_admit(addresses: int) -> float:
    """Return how long the door takes for 200 connections more where as many addresses have one each."""
    connections = Connections(lambda _: False, most=2 * addresses)
    for origin in range(addresses):
        connections.admit(cast(Connection, Idle(connections, origin)))
    began = time.thread_time()
    for origin in range(addresses, addresses + 200):
        connections.admit(cast(Connection, Idle(connections, origin)))
    return time.thread_time() - began


async def test_a_connection_costs_the_same_however_many_addresses_there_are() -> None:
    few, many = (min(seconds_to_admit(addresses) for _ in range(3)) for addresses in (64, 6400))
    assert many < 20 * few


async def test_the_address_that_has_most_makes_room_of_equal_ones_the_first() -> None:
    connections = Connections(lambda _: False, most=8)
    idle = [Idle(connections, origin) for origin in (1, 2, 2, 3, 3, 4, 5)]
    for connection in idle:
        connections.admit(cast(Connection, connection))
    assert [connection.is_aborted for connection in idle] == [True, True, False, True, False, False, False]
    # Of those that are gone, nothing is kept.
    for connection in idle:
        connection.abort()
    again = [Idle(connections, 6) for _ in range(5)]
    for connection in again:
        connections.admit(cast(Connection, connection))
    assert [connection.is_aborted for connection in again] == [True, False, False, False, False]


async def test_callers_that_read_much_may_ask_for_much() -> None:
    async with door(connections(), FrameWatch) as opened:
        reader, writer = await opened.connect()
        ping = frame(6, 0, 0, b"prove...")
        assert await is_answered(reader, writer, PREFACE + ping)
        for _ in range(300):
            message = frame(0, 0, 1, bytes(1024)) + ping * 10 + frame(8, 0, 0, b"\0\0\0\1") * 10
            assert await is_answered(reader, writer, message)


def test_a_client_of_grpcio_makes_as_many_small_calls_as_it_likes() -> None:
    watch, peer = FrameWatch(), SimpleNamespace(proven=True, sent=0)

    def admit(data: bytes) -> None:
        while data:
            data = data[watch.admit(data, cast(Connection, peer)) :]

    admit(PREFACE)
    for stream in range(1, 20_001, 2):
        call = frame(1, 0x4, stream, b"headers") + frame(0, 0x1, stream, b"message")
        admit(call + frame(6, 0, 0, b"bdp ping") + frame(8, 0, 0, b"\0\0\0\1") * 2)
        peer.sent += 60


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionError:
        pass
    return received


def _goaway(received: bytes) -> GoAwayFrame:
    """Return the last frame, before which everything was sent back."""
    at = received.rindex(b"\x07\x00\0\0\0\0") - 3
    parsed, size = Frame.parse_frame_header(memoryview(received[at : at + 9]))
    assert isinstance(parsed, GoAwayFrame)
    parsed.parse_body(memoryview(received[at + 9 : at + 9 + size]))
    return parsed

"""The gRPC front door, spoken to without the facade."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode
from collections.abc import AsyncIterator

import flash_sandbox_grpc as messages
import pytest
import pytest_asyncio
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.events import RecvInitialMetadata, RecvTrailingMetadata, listen
from grpclib.exceptions import GRPCError
from h2_peer import Outcome, Peer, framed, headers_of

from flash_sandbox.codecs import MAX_REQUEST_BYTES
from flash_sandbox.codecs.grpc import CLIENT_CODEC, ErrorDetailsCodec
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.orchestrator.doors.grpc_server import MAX_STREAMS

STATUS = "/sandbox.SandboxService/GetStatus"
EXEC = "/sandbox.SandboxService/ExecCommand"


class Raw(CodecBase):
    """Sends bytes as they are, as the message that they are not."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: object) -> bytes:
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:
        return data


@pytest_asyncio.fixture
async def channel(orchestrator: Orchestrator) -> AsyncIterator[Channel]:
    host, _, port = orchestrator.grpc_address.rpartition(":")
    async with Channel(
        host, int(port), codec=CLIENT_CODEC, status_details_codec=ErrorDetailsCodec()
    ) as opened:
        yield opened


@pytest_asyncio.fixture
async def raw(orchestrator: Orchestrator) -> AsyncIterator[Channel]:
    host, _, port = orchestrator.grpc_address.rpartition(":")
    async with Channel(host, int(port), codec=Raw(), status_details_codec=ErrorDetailsCodec()) as opened:
        yield opened


@pytest_asyncio.fixture
async def stub(channel: Channel) -> messages.SandboxServiceStub:
    return messages.SandboxServiceStub(channel)


@pytest_asyncio.fixture
async def sandbox(stub: messages.SandboxServiceStub) -> AsyncIterator[str]:
    started = await stub.start_sandbox(messages.StartRequest(type="bubblewrap"))
    yield started.id
    await stub.stop_sandbox(messages.StopRequest(id=started.id))


async def call_with(raw: Channel, sent: bytes) -> None:
    """Call a method with a stream of these bytes, length prefix and all."""
    async with raw.request(STATUS, Cardinality.UNARY_UNARY, bytes, bytes) as stream:
        await stream.send_request()
        await stream._stream.send_data(sent, end_stream=True)
        stream._end_done = True
        await stream.recv_message()


def details_of(error: GRPCError) -> messages.Error:
    assert isinstance(error.details, messages.Error)
    assert error.details.request_id
    return error.details


class TestRefused:
    async def test_an_unknown_method_is_unimplemented_with_details(self, raw: Channel) -> None:
        with pytest.raises(GRPCError) as caught:
            await UnaryUnaryMethod(raw, "/sandbox.SandboxService/Nothing", bytes, bytes)(b"")
        assert caught.value.status is Status.UNIMPLEMENTED
        assert details_of(caught.value).reason == "unsupported"

    @pytest.mark.parametrize(
        "data", [b"\xff", b"\x0a\x05ab", b"\x08\x01", b"\x0a\x02\xff\xfe", b"\x00", b"\x0b" * 9], ids=repr
    )
    async def test_bytes_that_are_no_message_are_an_invalid_argument(self, raw: Channel, data: bytes) -> None:
        with pytest.raises(GRPCError) as caught:
            await UnaryUnaryMethod(raw, STATUS, bytes, bytes)(data)
        assert caught.value.status is Status.INVALID_ARGUMENT
        assert details_of(caught.value).reason == "invalid_argument"

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"", Status.INVALID_ARGUMENT),
            (b"\x00\x00", Status.INVALID_ARGUMENT),
            (struct.pack(">?I", False, 100) + b"short", Status.INVALID_ARGUMENT),
            (struct.pack(">?I", True, 0), Status.UNIMPLEMENTED),
            (struct.pack(">?I", False, MAX_REQUEST_BYTES + 1), Status.RESOURCE_EXHAUSTED),
        ],
        ids=["nothing", "half a prefix", "cut short", "compressed", "too large, by its prefix"],
    )
    async def test_a_malformed_stream_has_a_status_of_its_own(
        self, raw: Channel, sent: bytes, status: Status
    ) -> None:
        with pytest.raises(GRPCError) as caught:
            await call_with(raw, sent)
        assert caught.value.status is status

    async def test_a_message_that_is_too_large_leaves_the_connection_usable(
        self, stub: messages.SandboxServiceStub, sandbox: str
    ) -> None:
        with pytest.raises(GRPCError) as caught:
            await stub.start_sandbox(messages.StartRequest(image="x" * MAX_REQUEST_BYTES))
        assert details_of(caught.value).reason == "too_large"
        assert (await stub.get_status(messages.StatusRequest(id=sandbox))).status == "running"


class TestRequestID:
    async def test_it_comes_with_an_answer(
        self, channel: Channel, stub: messages.SandboxServiceStub, sandbox: str
    ) -> None:
        found: list[object] = []

        async def note(event: RecvInitialMetadata) -> None:
            found.append(event.metadata.get("x-request-id"))

        listen(channel, RecvInitialMetadata, note)
        await stub.get_status(messages.StatusRequest(id=sandbox), metadata={"x-request-id": "mine"})
        assert found == ["mine"]

    async def test_it_comes_with_an_error(self, channel: Channel, stub: messages.SandboxServiceStub) -> None:
        found: list[object] = []

        async def note(event: RecvTrailingMetadata) -> None:
            found.append(event.metadata.get("x-request-id"))

        listen(channel, RecvTrailingMetadata, note)
        with pytest.raises(GRPCError) as caught:
            await stub.get_status(messages.StatusRequest(id="unknown"), metadata={"x-request-id": "mine"})
        assert (found, details_of(caught.value).request_id) == (["mine"], "mine")


class TestDeadline:
    """Spoken without a client of gRPC, whose own timer could come first."""

    async def test_the_server_stops_the_work_and_says_so(
        self, orchestrator: Orchestrator, sandbox: str
    ) -> None:
        request = bytes(messages.ExecRequest(id=sandbox, command=["sleep", "4760"]))
        outcome = call(orchestrator, EXEC, request, ("grpc-timeout", "100m"))
        assert outcome.status == Status.DEADLINE_EXCEEDED.value
        details = b64decode(outcome.headers["grpc-status-details-bin"] + "==")
        assert messages.Error().parse(details).reason == "deadline_exceeded"

    async def test_a_malformed_one_is_an_invalid_argument(self, orchestrator: Orchestrator) -> None:
        outcome = call(orchestrator, STATUS, b"", ("grpc-timeout", "soon"))
        assert outcome.status == Status.INVALID_ARGUMENT.value


def call(orchestrator: Orchestrator, path: str, message: bytes, *headers: tuple[str, str]) -> Outcome:
    with Peer(orchestrator.grpc_address) as peer:
        return peer.call(headers_of(path, *headers), [framed(message)])


class TestClientGone:
    async def test_a_command_ends_when_its_call_is_cancelled(
        self, stub: messages.SandboxServiceStub, sandbox: str
    ) -> None:
        async def runs() -> bool:
            script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
            listing = messages.ExecRequest(id=sandbox, command=["sh", "-c", script])
            return "sleep 4761" in (await stub.exec_command(listing)).stdout

        command = messages.ExecRequest(id=sandbox, command=["sleep", "4761"])
        call = asyncio.create_task(stub.exec_command(command))
        async with asyncio.timeout(10):
            while not await runs():
                pass
            call.cancel()
            while await runs():
                pass


class TestStreams:
    async def test_a_connection_takes_more_than_100_at_a_time(self, channel: Channel) -> None:
        connection = (await channel.__connect__()).processor.connection._connection
        async with asyncio.timeout(10):
            while connection.remote_settings.max_concurrent_streams != MAX_STREAMS:
                await asyncio.sleep(0)

"""A gRPC client over a channel of grpcio, against servers that leave and refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from http2_server import Server, answer_one, refuse_one, reset_one, serving

from flash_sandbox import AsyncSandboxClient, ClientClosedError, OutcomeUnknownError, SandboxClient


def lose_one(server: Server) -> None:
    server.begin()
    server.leave()


def test_call_is_answered() -> None:
    with serving(answer_one) as address, grpc.insecure_channel(address) as channel:
        assert SandboxClient(channel=channel).get_status("a") == "running"


@pytest.mark.parametrize("fail", [reset_one, lose_one])
def test_call_that_is_lost_is_not_made_again(fail: Callable[[Server], None]) -> None:
    with (
        serving(fail) as address,
        grpc.insecure_channel(address) as channel,
        pytest.raises(OutcomeUnknownError),
    ):
        SandboxClient(channel=channel).resume_sandbox("a")


@pytest.mark.parametrize("fail", [reset_one, lose_one])
async def test_awaited_call_that_is_lost_is_not_made_again(fail: Callable[[Server], None]) -> None:
    with serving(fail) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(OutcomeUnknownError):
                await AsyncSandboxClient(channel=channel).resume_sandbox("a")


def test_call_that_was_refused_is_made_again() -> None:
    with serving(refuse_one, answer_one) as address, grpc.insecure_channel(address) as channel:
        SandboxClient(channel=channel).resume_sandbox("a")


def upload(client: Any) -> Any:
    return client.upload_archive("a", "/tmp", iter([b"x"]))


CALLS = [lambda client: client.get_status("a"), lambda client: list(client.follow_process("a", "b")), upload]


@pytest.mark.parametrize("call", CALLS, ids=["unary", "stream", "upload"])
def test_call_whose_channel_is_closed_meanwhile_says_so(call: Callable[[Any], Any]) -> None:
    begun = threading.Event()

    def hold(server: Server) -> None:
        server.begin()
        begun.set()
        server.hold()

    with serving(hold) as address, grpc.insecure_channel(address) as channel:
        closing = threading.Thread(target=lambda: begun.wait(30) and channel.close())
        closing.start()
        with pytest.raises(ClientClosedError):
            call(SandboxClient(channel=channel))
        closing.join()


async def test_awaited_call_whose_channel_is_closed_meanwhile_says_so() -> None:
    begun, closed = threading.Event(), threading.Event()

    def hold(server: Server) -> None:
        server.begin()
        begun.set()
        # The socket of a closed channel stays open until Python has no use for it.
        assert closed.wait(30)

    with serving(hold) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            held = asyncio.create_task(AsyncSandboxClient(channel=channel).get_status("a"))
            assert await asyncio.to_thread(begun.wait, 30)
            await channel.close()
            closed.set()
            with pytest.raises(ClientClosedError):
                await held

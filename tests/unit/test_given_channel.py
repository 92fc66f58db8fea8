"""A gRPC client over a channel of grpcio, against servers that leave and refuse."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from http2_server import Server, answer_one, refuse_one, reset_one, serving

from flash_sandbox import AsyncSandboxClient, OutcomeUnknownError, SandboxClient


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

"""The gRPC channel of the asynchronous client, where its connection ends while calls are made."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from http2_server import Server, answer_one, leave_after_one, leave_before_one, refuse_one, serving

from flash_sandbox import AsyncSandboxClient, ClientClosedError, OutcomeUnknownError, SandboxConnectionError
from flash_sandbox.transports import grpclib_channel, grpclib_connection


async def test_connection_that_is_lost_while_it_is_made_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class LostAtOnce(grpclib_connection.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.processor.close("Connection lost")

    monkeypatch.setattr(grpclib_channel, "Protocol", LostAtOnce)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncSandboxClient(address=f"127.0.0.1:{port}", max_retries=0) as client:
            with pytest.raises(SandboxConnectionError) as caught:
                await client.exec_command("a", ["true"])
    assert type(caught.value) is SandboxConnectionError


async def test_call_on_a_connection_that_the_server_leaves_is_answered() -> None:
    with serving(leave_after_one, answer_one) as address:
        async with AsyncSandboxClient(address=address, max_retries=0) as client:
            assert await client.get_status("a") == "running"
            assert await client.get_status("a") == "running"


async def test_calls_go_on_beside_those_on_a_new_connection() -> None:
    def leave_and_answer_late(server: Server) -> None:
        """Take two calls, take none after the first, and answer that once the other was made elsewhere."""
        first, _ = server.begin(), server.begin()
        server.go_away(first)
        assert answered.wait(30)
        server.answer(first, "paused")

    def answer_elsewhere(server: Server) -> None:
        answer_one(server)
        answered.set()

    answered = threading.Event()
    with serving(leave_and_answer_late, answer_elsewhere, at_once=True) as address:
        async with AsyncSandboxClient(address=address) as client:
            goes_on = asyncio.create_task(client.get_status("a"))
            # Its outcome would be unknown, had it been begun.
            moved = asyncio.create_task(client.resume_sandbox("a"))
            assert await goes_on == "paused"
            await moved


async def test_server_that_leaves_for_an_error_ends_its_calls() -> None:
    def fail(server: Server) -> None:
        server.go_away(server.begin(), ErrorCodes.INTERNAL_ERROR)

    with serving(fail) as address:
        async with AsyncSandboxClient(address=address) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.resume_sandbox("a")


async def test_call_that_a_failing_server_has_not_begun_is_made_again() -> None:
    def fail(server: Server) -> None:
        server.begin()
        server.go_away(0, ErrorCodes.ENHANCE_YOUR_CALM)

    with serving(fail, answer_one) as address:
        async with AsyncSandboxClient(address=address) as client:
            await client.resume_sandbox("a")


@pytest.mark.parametrize("refuse", [refuse_one, leave_before_one])
async def test_call_that_was_not_begun_is_made_again(refuse: Callable[[Server], None]) -> None:
    with serving(refuse, answer_one) as address:
        async with AsyncSandboxClient(address=address) as client:
            await client.resume_sandbox("a")


async def test_closing_ends_the_calls_on_a_connection_that_was_left() -> None:
    def leave_and_hold(server: Server) -> None:
        server.go_away(server.begin())
        left.set()
        server.hold()

    left = threading.Event()
    with serving(leave_and_hold, answer_one, at_once=True) as address:
        client = AsyncSandboxClient(address=address)
        held = asyncio.create_task(client.get_status("a"))
        assert await asyncio.to_thread(left.wait, 30)
        assert await client.get_status("a") == "running"
        await client.close()
        with pytest.raises(ClientClosedError):
            await held

"""The gRPC channel, where the connection ends at a moment that only a race would find."""

from __future__ import annotations

import asyncio

import pytest

from flash_sandbox import AsyncSandboxClient, SandboxConnectionError
from flash_sandbox.transports import channel


async def test_connection_that_is_lost_while_it_is_made_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class LostAtOnce(channel._Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.processor.close("Connection lost")

    monkeypatch.setattr(channel, "_Protocol", LostAtOnce)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncSandboxClient(address=f"127.0.0.1:{port}", max_retries=0) as client:
            with pytest.raises(SandboxConnectionError) as caught:
                await client.exec_command("a", ["true"])
    assert type(caught.value) is SandboxConnectionError

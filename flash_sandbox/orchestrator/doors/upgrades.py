"""Requests for WebSockets: those for a port of a sandbox leave HTTP, others are answered as usual."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import uvicorn
from uvicorn.server import ServerState

from ..cancellation import this_task
from .connection import Connection

__all__ = ["Upgrade", "UpgradeHandler"]

_Pairs = list[tuple[bytes, bytes]]

UpgradeHandler = Callable[
    [str, bytes, _Pairs, Connection],
    Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None,
]
"""Returns what carries on, given method, target and headers of a request; None where HTTP does."""

_LIMIT: Final = 64 * 1024


class Upgrade(asyncio.Protocol):
    """What uvicorn gives a connection to on which such a request came, with the head of that.

    Args:
        config: Of the server.
        server_state: Of the server.
        app_state: What the server has given the connection.
    """

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Choose by the head who goes on, and hand on what comes then."""
        if self._inner is None:
            self._choose(data)
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on that the caller sends no more."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Make answers wait."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Let answers go on."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connection_lost(error)

    def _choose(self, head: bytes) -> None:
        assert self._transport is not None
        first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        handler: UpgradeHandler = self._app_state["upgrades"]
        carry = handler(method.decode("latin-1"), target, headers, self._app_state["connection"])
        if carry is not None:
            reader = asyncio.StreamReader(_LIMIT)
            self._inner = asyncio.StreamReaderProtocol(reader, partial(self._run, carry))
            self._inner.connection_made(self._transport)
            return
        http: Any = self._config.http_protocol_class
        inner = http(config=self._config, server_state=self._server_state, app_state=self._app_state)
        self._inner = inner
        inner.connection_made(self._transport)
        kept = [line for line in lines if not line.startswith(b"upgrade:")]
        inner.data_received(b"\r\n".join([first, *kept, b"", b""]))

    async def _run(
        self,
        carry: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        task = this_task()
        self._server_state.tasks.add(task)
        try:
            await carry(reader, writer)
        finally:
            self._server_state.tasks.discard(task)
            writer.close()

"""Streamed answers, whichever front door they leave by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from ...operations import KEEPALIVE, Operation
from ..cancellation import alongside

__all__ = ["send_all"]

_Piece = TypeVar("_Piece")

_QUIET_SECONDS: Final = 15.0
"""After so long a quiet stream says that nothing has happened: proxies cut what is quiet for a minute."""


async def send_all(
    operation: Operation[Any, _Piece],
    pieces: AsyncGenerator[_Piece],
    send: Callable[[_Piece], Awaitable[None]],
) -> None:
    """Send what `pieces` yields, one after the other, and now and then that it yields nothing; close it."""
    async with aclosing(pieces):
        if operation.streams == "bytes":
            async for piece in pieces:
                await send(piece)
            return
        sender = _Sender(send)
        async with alongside(sender.reassure(operation.result(type=KEEPALIVE))):  # type: ignore[call-arg]
            async for piece in pieces:
                await sender.send(piece)


class _Sender:
    """Sends one piece at a time, and knows when it last did."""

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._send = send
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    async def send(self, piece: Any) -> None:
        """Send a piece."""
        async with self._turn:
            await self._send(piece)
            self._last = self._loop.time()

    async def reassure(self, nothing: Any) -> None:
        """Send, for as long as nothing else is sent, that nothing has happened."""
        while True:
            quiet = self._loop.time() - self._last
            if quiet >= _QUIET_SECONDS:
                await self.send(nothing)
            else:
                await asyncio.sleep(_QUIET_SECONDS - quiet)

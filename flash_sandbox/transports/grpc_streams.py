"""Pieces of a stream over gRPC, handed over no faster than they are taken."""

from __future__ import annotations

import asyncio
from typing import Final, Generic, TypeVar

__all__ = ["Received"]

# What is taken from the connection ahead of the reader.
_ROOM: Final = 8

T = TypeVar("T")


class Received(Generic[T]):
    """Pieces of an answer, from the task that receives them to the one that reads them."""

    def __init__(self) -> None:
        self._pieces: list[T] = []
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._finished = False
        self._error: Exception | None = None

    async def put(self, piece: T) -> None:
        """Hand a piece over, once there is room."""
        while len(self._pieces) >= _ROOM:
            self._taken.clear()
            await self._taken.wait()
        self._pieces.append(piece)
        self._changed.set()

    def finish(self, error: Exception | None) -> None:
        """Say that no more will come, and why, where that is an error."""
        self._finished = True
        self._error = error
        self._changed.set()

    async def take(self) -> list[T]:
        """Return what has come, waiting until there is something; nothing at the end.

        Raises:
            Exception: The stream failed; what came before has been returned.
        """
        while not self._pieces and not self._finished:
            self._changed.clear()
            await self._changed.wait()
        pieces, self._pieces = self._pieces, []
        self._taken.set()
        if not pieces and self._error is not None:
            raise self._error
        return pieces

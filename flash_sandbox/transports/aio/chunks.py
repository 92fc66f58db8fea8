"""The body of an upload."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from ...models.checks import content

__all__ = ["AsyncChunks"]


class AsyncChunks:
    """An iterable of bytes that can be sent once.

    Attributes:
        begun: Whether any of it has been taken.
        failure: What it raised.
    """

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self.begun = False
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                self.begun = True
                yield content("a chunk", chunk, limit=None)
        except Exception as error:
            self.failure = error
            raise

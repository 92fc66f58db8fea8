"""What a request carries after its first message: sent once. Both transports tell by it what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator

__all__ = ["AsyncChunks", "Chunks"]


class Chunks:
    """A stream that can be sent once.

    Attributes:
        begun: Whether any of it has been taken.
        failure: What it raised.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.begun = False
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self.begun = True
                yield chunk
        except Exception as error:
            self.failure = error
            raise


class AsyncChunks:
    """The same, awaited."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self.begun = False
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                self.begun = True
                yield chunk
        except Exception as error:
            self.failure = error
            raise

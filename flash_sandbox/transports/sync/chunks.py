# Derived from flash_sandbox/transports/aio/chunks.py by `python -m codegen`; do not edit.
"""The body of an upload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...models.checks import content

__all__ = ["Chunks"]


class Chunks:
    """An iterable of bytes that can be sent once.

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
                yield content("a chunk", chunk, limit=None)
        except Exception as error:
            self.failure = error
            raise

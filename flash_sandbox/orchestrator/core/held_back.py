"""The beginning of a stream of bytes, which is not sent before it is known that more can be had."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

__all__ = ["held_back"]

# A stream that fails sooner is an error of its own on either transport.
_HELD_CHUNKS: Final = 4


async def held_back(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield what `chunks` yields, but the first ones only once there are more, or no more come."""
    held: list[bytes] | None = []
    async for chunk in chunks:
        if held is None:
            yield chunk
            continue
        held.append(chunk)
        if len(held) > _HELD_CHUNKS:
            for each in held:
                yield each
            held = None
    for each in held or ():
        yield each

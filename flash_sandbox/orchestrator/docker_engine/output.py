"""What the main process of a container has printed, as the engine keeps it."""

from __future__ import annotations

from ...models import GetLogsResult
from ..runtimes.base import LOG_BYTES
from ..sandboxing.output import BoundedBytes
from .api import Engine
from .streams import Demultiplexer

__all__ = ["printed"]


async def printed(engine: Engine, container_id: str, *, stdout: bool = True) -> GetLogsResult:
    """Return the last of what a container's main process has printed; what the engine dropped is not counted.

    Args:
        engine: Where it is.
        container_id: Its ID.
        stdout: Whether standard output is wanted, besides standard error.

    Raises:
        EngineError: If there is no such container.
        EngineMissing: If the engine cannot be reached.
    """
    parts, kept = Demultiplexer(), BoundedBytes(LOG_BYTES, keep_last=True)
    query = {"stderr": "true", "stdout": str(stdout).lower()}
    # The engine counts lines, which may have any length; it keeps little more than is wanted here.
    async with engine.stream(
        "GET", f"/containers/{container_id}/logs", query=query, endless=False
    ) as response:
        async for chunk in response.aiter_raw():
            for piece in parts.feed(chunk):
                kept.add(piece.data)
    return GetLogsResult(kept.kept, kept.dropped)

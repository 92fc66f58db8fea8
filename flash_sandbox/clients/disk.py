"""Work on the client's own disk, in either colour: the asynchronous clients leave it to a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import ParamSpec, TypeVar

__all__ = ["AsyncDisk", "Disk"]

P = ParamSpec("P")
T = TypeVar("T")


class Disk:
    """Works in the caller's thread."""

    @staticmethod
    def run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns."""
        return work(*args, **kwargs)

    @staticmethod
    def each(items: Iterator[T]) -> Iterator[T]:
        """Yield what `items` yields."""
        return items


class AsyncDisk:
    """Works in threads of the event loop's pool."""

    @staticmethod
    async def run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns. It is completed also where the caller is cancelled meanwhile."""
        # Loaded already where there is an event loop; synchronous clients of HTTP do without.
        import asyncio

        from ..transports.waiting import running_loop

        running_loop()
        task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What comes next may be its undoing, which must not happen at the same time.
            await asyncio.wait({task})
            raise

    @staticmethod
    async def each(items: Iterator[T]) -> AsyncIterator[T]:
        """Yield what `items` yields."""
        while (item := await AsyncDisk.run(next, items, None)) is not None:
            yield item

"""Work that is not left half-done, however often the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

__all__ = ["alongside", "completed", "done_before", "in_threads", "is_being_cancelled", "this_task"]

_Result = TypeVar("_Result")


async def completed(work: Awaitable[_Result]) -> _Result:
    """Do `work` to its end, also where the caller is cancelled meanwhile, once or more; then raise that."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        # Taken note of: asyncio complains of an error that nobody has looked at.
        task.exception()
    raise cancelled


async def done_before(work: Coroutine[Any, Any, None], end: asyncio.Future[Any]) -> bool:
    """Do `work` to its end, or give it up once `end` is done; tell whether it came to its end."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()
        await completed(asyncio.wait({task}))


@asynccontextmanager
async def alongside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do `work` while the block runs; what is not done by then is given up."""
    tasks = {asyncio.create_task(each) for each in work}
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await completed(asyncio.gather(*tasks, return_exceptions=True))


async def in_threads(chunks: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield what a blocking iterator yields, each chunk read in a thread and to its end."""
    # No chunk is None.
    while (chunk := await completed(asyncio.to_thread(next, chunks, None))) is not None:
        yield chunk


def is_being_cancelled() -> bool:
    """Tell whether the current task was cancelled, rather than what it waits for."""
    return this_task().cancelling() > 0


def this_task() -> asyncio.Task[Any]:
    """Return the task that runs this."""
    task = asyncio.current_task()
    assert task is not None
    return task

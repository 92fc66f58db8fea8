"""Waiting in an event loop, no longer than a call may take. Both transports use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import UnsupportedError
from .retry import Limit

__all__ = ["running_loop", "within"]

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs here.

    Raises:
        UnsupportedError: None of asyncio does.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise UnsupportedError(
            "no event loop of asyncio runs here, which the asynchronous clients need; with trio, call a "
            "synchronous client by trio.to_thread.run_sync"
        ) from error


async def within(limit: Limit, work: Callable[[], Awaitable[T]]) -> T:
    """Return what comes of `work`, which is begun here; raise the limit's error where it takes too long.

    Raises:
        UnsupportedError: No event loop of asyncio runs here.
    """
    running_loop()
    bound = asyncio.timeout(limit.remaining())
    try:
        async with bound:
            return await work()
    except TimeoutError as error:
        if bound.expired():
            raise limit.passed() from error
        raise

"""Waiting in an event loop, no longer than a call may take. Both transports use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .retry import Limit

__all__ = ["within"]

T = TypeVar("T")


async def within(limit: Limit, work: Callable[[], Awaitable[T]]) -> T:
    """Return what comes of `work`, which is begun here; raise the limit's error where it takes too long."""
    bound = asyncio.timeout(limit.remaining())
    try:
        async with bound:
            return await work()
    except TimeoutError as error:
        if bound.expired():
            raise limit.passed() from error
        raise

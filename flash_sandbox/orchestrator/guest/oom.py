"""Which program the kernel has ended a process of for want of memory: it counts them by the sandbox."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from ...errors import SandboxError

__all__ = ["OomKills"]

_KILLED: Final = 128 + signal.SIGKILL


class OomKills:
    """The programs of one sandbox beside the kernel's count of the processes that it has ended there.

    Args:
        count: Reads how many processes the kernel has ended for want of memory.
    """

    def __init__(self, count: Callable[[], Awaitable[int]]) -> None:
        self._count = count
        self._running = self._begun = 0

    async def count(self) -> int:
        """Read how many processes the kernel has ended; 0 if that cannot be read."""
        try:
            return await self._count()
        except (OSError, SandboxError):
            return 0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Callable[[int], Awaitable[bool]]]:
        """Watch a program for the length of a block, which is given what tells of its end.

        That takes the exit status, and tells whether the kernel has ended a process of the program. If
        several programs ran, it must have been the first process, or one whose end a shell passes on.
        """
        before = await self.count()
        alone = not self._running
        self._begun += 1
        self._running += 1
        number = self._begun

        async def killed(status: int) -> bool:
            if status != _KILLED and not (alone and self._begun == number):
                return False
            return await self.count() > before

        try:
            yield killed
        finally:
            self._running -= 1

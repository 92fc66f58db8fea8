"""Which command the kernel has ended a process of, for want of memory: it counts them by the sandbox."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["OomKills"]

_KILLED: Final = 128 + signal.SIGKILL


class OomKills:
    """The commands of one sandbox beside the kernel's count of what it has ended there.

    Args:
        count: Reads how many processes the kernel has ended for want of memory; OSError where nobody knows.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._running = self._begun = 0

    @contextmanager
    def watched(self) -> Iterator[Callable[[int], bool]]:
        """Watch a command for the length of a block, which is given what tells of its end.

        That takes the exit status, and tells whether the kernel has ended a process of the command. Where
        several commands ran, it must have been the first one, or one whose end a shell passes on.
        """
        before = self._read()
        alone = not self._running
        self._begun += 1
        self._running += 1
        number = self._begun

        def killed(status: int) -> bool:
            return self._read() > before and (status == _KILLED or (alone and self._begun == number))

        try:
            yield killed
        finally:
            self._running -= 1

    def _read(self) -> int:
        try:
            return self._count()
        except OSError:
            return 0

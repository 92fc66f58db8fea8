"""The streams of a program: pipes or a terminal, read no faster than what comes is taken."""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

from ..runtimes.base import Printed

__all__ = ["END_OF_INPUT", "GRACE_SECONDS", "Outputs", "feed", "resize", "wake"]

GRACE_SECONDS: Final = 0.25
"""A process that a program left behind may keep its pipes; longer than this they are not waited for."""

END_OF_INPUT: Final = b"\x04"
"""What a terminal takes for the end of its input (VEOF, termios(3))."""

# What a pipe holds and one read takes: four times the kernel's own size, for fewer turns of the event loop.
_CHUNK: Final = 256 * 1024

Stream = Literal["stdout", "stderr"]


class Outputs:
    """What a program prints. Bound to the running event loop.

    Args:
        descriptors: Where each stream is read from; closed by `close`.
    """

    def __init__(self, descriptors: Mapping[Stream, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = dict(descriptors)
        for descriptor in self._open.values():
            os.set_blocking(descriptor, False)
            # Not of a terminal, nor where an ordinary user has much in pipes already (pipe(7)).
            with suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _CHUNK)

    async def printed(self, ended: asyncio.Future[Any]) -> AsyncIterator[Printed]:
        """Yield what comes until every stream has ended, or `ended` is done and what was printed is read.

        A process that was left behind and holds a stream open is waited for no longer than `GRACE_SECONDS`.
        """
        deadline: float | None = None
        owed = 0
        while self._open:
            piece = self._read()
            if piece is not None:
                owed -= len(piece.data)
                if piece.data:
                    yield piece
                if deadline is None or owed > 0 or self._loop.time() < deadline:
                    continue
                return
            if deadline is None and ended.done():
                # All that the program itself has printed is in the pipes by now.
                owed = sum(_waiting(descriptor) for descriptor in self._open.values())
                deadline = self._loop.time() + GRACE_SECONDS
            elif deadline is not None and self._loop.time() >= deadline:
                return
            else:
                await self._until_readable(ended, deadline)

    def close(self) -> None:
        """Stop reading; a process that still prints gets SIGPIPE."""
        for stream in tuple(self._open):
            os.close(self._open.pop(stream))

    def _read(self) -> Printed | None:
        """Return a piece of the first stream that has one, an empty one where it has ended; None for none."""
        for stream, descriptor in tuple(self._open.items()):
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                # A terminal that nobody has open any more (tty_ioctl(4)).
                if error.errno != errno.EIO:
                    raise
                data = b""
            del self._open[stream]
            if data:
                # Behind the others, so that each of them has its turn.
                self._open[stream] = descriptor
            else:
                os.close(descriptor)
            return Printed(stream, data)
        return None

    async def _until_readable(self, ended: asyncio.Future[Any], deadline: float | None) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()

        def on_end(_: object) -> None:
            wake(waiter)

        descriptors = tuple(self._open.values())
        for descriptor in descriptors:
            self._loop.add_reader(descriptor, wake, waiter)
        timer = None
        if deadline is None:
            ended.add_done_callback(on_end)
        else:
            timer = self._loop.call_at(deadline, wake, waiter)
        try:
            await waiter
        finally:
            for descriptor in descriptors:
                self._loop.remove_reader(descriptor)
            ended.remove_done_callback(on_end)
            if timer is not None:
                timer.cancel()


async def feed(descriptor: int, chunks: AsyncIterator[bytes], end: Callable[[], None]) -> None:
    """Write what comes to a non-blocking descriptor, as fast as it is read there, then call `end`.

    A reader that has gone is no error: what comes later is dropped.
    """
    loop = asyncio.get_running_loop()
    gone = False
    async for chunk in chunks:
        view = memoryview(chunk)
        while view and not gone:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                await _until_writable(loop, descriptor)
            except OSError:
                gone = True
    end()


def wake(waiter: asyncio.Future[None]) -> None:
    """Let whoever waits go on."""
    if not waiter.done():
        waiter.set_result(None)


async def _until_writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    waiter: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, wake, waiter)
    try:
        await waiter
    finally:
        loop.remove_writer(descriptor)


def resize(terminal: int, rows: int, columns: int) -> None:
    """Set the size of a terminal; the kernel tells the processes in its foreground (SIGWINCH)."""
    with suppress(OSError):
        termios.tcsetwinsize(terminal, (rows, columns))


def _waiting(descriptor: int) -> int:
    """Return how many bytes can be read at once."""
    count = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]

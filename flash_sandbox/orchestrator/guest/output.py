"""Collecting what a process prints, bounded."""

from __future__ import annotations

import asyncio
import os
from typing import Final

__all__ = ["MAX_OUTPUT_BYTES", "BoundedBytes", "Output"]

MAX_OUTPUT_BYTES: Final = 8 * 1024 * 1024
"""What is kept of each stream of a command; the rest is counted and dropped."""

_CHUNK: Final = 65536


class BoundedBytes:
    """Keeps the first (or the last) bytes of what it is given, and counts those it drops.

    Attributes:
        dropped: Bytes that were not kept.
    """

    def __init__(self, limit: int = MAX_OUTPUT_BYTES, *, keep_last: bool = False) -> None:
        self._limit = limit
        self._keep_last = keep_last
        self._kept = bytearray()
        self.dropped = 0

    @property
    def kept(self) -> bytes:
        """The bytes that were kept."""
        return bytes(self._kept)

    @property
    def text(self) -> str:
        """The bytes that were kept, as text; what is not UTF-8 is replaced by U+FFFD."""
        return self._kept.decode("utf-8", "replace")

    def add(self, chunk: bytes | memoryview) -> None:
        """Keep as much of `chunk` as there is room for."""
        self._kept += chunk
        excess = len(self._kept) - self._limit
        if excess > 0:
            self.dropped += excess
            if self._keep_last:
                del self._kept[:excess]
            else:
                del self._kept[self._limit :]


class Output(BoundedBytes):
    """The read end of a pipe.

    Attributes:
        write_end: Descriptor for the process that prints; `handed_over` closes it here.
    """

    def __init__(self, limit: int = MAX_OUTPUT_BYTES, *, keep_last: bool = False) -> None:
        super().__init__(limit, keep_last=keep_last)
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._ended: asyncio.Future[None] = self._loop.create_future()

    def handed_over(self) -> None:
        """Close the write end here, so that the pipe ends with the last process that has it, and read."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
            self._loop.add_reader(self._read_end, self._on_readable)

    async def ended(self) -> None:
        """Wait until every process that had the write end is gone."""
        await asyncio.shield(self._ended)

    def close(self) -> None:
        """Stop reading; a process that still prints gets SIGPIPE."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
        if self._read_end >= 0:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1
        if not self._ended.done():
            self._ended.set_result(None)

    def _on_readable(self) -> None:
        try:
            chunk = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self.add(chunk)
        else:
            self.close()

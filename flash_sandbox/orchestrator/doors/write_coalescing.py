"""A transport that sends together what is written together.

An answer is written in pieces: its head, its body, over gRPC what follows it. Each piece sent by itself costs
a call of the kernel, and wakes a client that has to wait for the next one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

__all__ = ["Corked"]

# More than this is sent at once: it fills packets by itself, and what a peer does not take is to be noticed.
_MOST_BYTES: Final = 64 * 1024


class Corked:
    """Stands for a transport, and sends what is written in one turn of the event loop at its end.

    Args:
        transport: The transport; all but what is written goes to it as it is.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()
        self._kept: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data` after what was written before."""
        if not self._kept:
            self._loop.call_soon(self._send)
        self._kept.append(data)
        self._size += len(data)
        if self._size >= _MOST_BYTES:
            self._send()

    def write_eof(self) -> None:
        """Send what is left, and that nothing more comes."""
        self._send()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what is left, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._kept:
            data, self._kept, self._size = b"".join(self._kept), [], 0
            # The other end may be gone meanwhile.
            if not self._transport.is_closing():
                self._transport.write(data)

"""TLS on a program's end of a connection, of which the orchestrator is the server."""

from __future__ import annotations

import ssl
from contextlib import suppress

from .streams import Lost, Stream

__all__ = ["TlsStream"]


class TlsStream:
    """What a program says over TLS.

    Args:
        stream: The program's end.
        context: What it is shown.
        first: What the program has sent already.
    """

    def __init__(self, stream: Stream, context: ssl.SSLContext, first: bytes) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(first)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def begin(self) -> None:
        """Agree on keys.

        Raises:
            Lost: The program does not.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError as error:
                await self._flush()
                raise Lost from error
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end. May be cancelled."""
        while True:
            try:
                return self._tls.read(64 * 1024)
            except ssl.SSLWantReadError:
                # An answer to what was read, such as a new key.
                await self._flush()
                await self._receive()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise Lost from error

    async def write(self, data: bytes) -> None:
        """Send, as fast as the program reads."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
            await self._flush()

    async def end(self) -> None:
        """Send nothing more."""
        # The other side has not ended yet, or not as it should.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()
        await self._stream.end()

    async def _receive(self) -> None:
        data = await self._stream.read()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._stream.write(data)

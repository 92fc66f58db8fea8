"""HTTP over TLS between a program and a host that gets secrets: the gate speaks with each of them.

The program is shown a certificate of the sandbox's own authority, and the host has to show its own.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from typing import Final

from .authority import Authority
from .http_connection import HttpConnection
from .judge import Refused, Target
from .streams import Headers, Inner, Outer, RequestWay
from .tls import TlsStream

__all__ = ["intercept"]

_BEGIN_SECONDS: Final = 30.0
_HTTPS_PORT: Final = 443


async def intercept(
    inner: Inner, first: bytes, outer: Outer, target: Target, way: RequestWay, authority: Authority
) -> None:
    """Carry a connection that has been made, until it ends.

    Args:
        inner: The program's end.
        first: What the program has sent already.
        outer: The host's end.
        target: The host that was judged, and whose name the program has named.
        way: Where requests to that host go out.
        authority: Who signs for the host.
    """
    program = TlsStream(inner, await asyncio.to_thread(authority.context_for, target.host), first)
    async with asyncio.timeout(_BEGIN_SECONDS):
        await program.begin()
    await HttpConnection(program, _SecureWay(way, outer), b"", target, default_port=_HTTPS_PORT).serve()


class _SecureWay:
    """Connects to hosts by TLS; the first connection has been made."""

    def __init__(self, way: RequestWay, outer: Outer) -> None:
        self._way = way
        self._outer: Outer | None = outer

    async def connect(self, target: Target) -> Outer:
        outer, self._outer = self._outer, None
        outer = outer or await self._way.connect(target)
        try:
            await outer.secure(_trusting(), str(target.host))
        except BaseException:
            outer.close()
            raise
        return outer

    def refuse(self, refused: Refused) -> None:
        self._way.refuse(refused)

    def filled_in(self, target: Target, path: bytes, headers: Headers) -> tuple[bytes, Headers]:
        return self._way.filled_in(target, path, headers)


@lru_cache(1)
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

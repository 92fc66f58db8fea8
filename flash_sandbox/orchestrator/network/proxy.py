"""The proxy that programs of a sandbox find in their environment: HTTP, and SOCKS5 on the same port."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Final

from .http_connection import HttpConnection
from .judge import Refused, Target
from .streams import Inner, Pieces, Way
from .tunnel import tunnel

__all__ = ["serve_proxy"]

_HEAD_SECONDS: Final = 30.0
_SOCKS4: Final = 4
# RFC 1928.
_SOCKS5: Final = 5
_NO_AUTHENTICATION: Final = b"\x05\x00"
_NO_METHOD: Final = b"\x05\xff"
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DONE, _NOT_ALLOWED, _UNREACHABLE, _NO_COMMAND, _NO_KIND = 0, 2, 4, 7, 8


async def serve_proxy(inner: Inner, way: Way) -> None:
    """Serve a connection to the proxy."""
    first = await asyncio.wait_for(inner.read(), _HEAD_SECONDS)
    if not first:
        return
    if first[0] == _SOCKS5:
        await _serve_socks(inner, first, way)
    elif first[0] != _SOCKS4:
        connected = await HttpConnection(inner, way, first).serve()
        if connected is not None:
            await tunnel(inner, connected.rest, connected.outer, connected.target, way)


async def _serve_socks(inner: Inner, first: bytes, way: Way) -> None:
    head = Pieces(inner, first)
    async with asyncio.timeout(_HEAD_SECONDS):
        _, count = await head.take(2)
        methods = await head.take(count)
        if 0 not in methods:
            await inner.write(_NO_METHOD)
            return
        await inner.write(_NO_AUTHENTICATION)
        version, command, _, kind = await head.take(4)
        if version != _SOCKS5 or command != _CONNECT or kind not in (_IPV4, _NAME, _IPV6):
            await inner.write(_reply(_NO_COMMAND if kind in (_IPV4, _NAME, _IPV6) else _NO_KIND))
            return
        host = await _socks_host(head, kind)
        port = int.from_bytes(await head.take(2), "big")
    try:
        target = Target.parse(host, port)
        outer = await way.connect(target)
    except Refused as refused:
        way.refuse(refused)
        await inner.write(_reply(_NOT_ALLOWED))
        return
    except OSError:
        await inner.write(_reply(_UNREACHABLE))
        return
    await inner.write(_reply(_DONE))
    await tunnel(inner, head.rest, outer, target, way)


async def _socks_host(head: Pieces, kind: int) -> str:
    if kind == _NAME:
        (size,) = await head.take(1)
        return (await head.take(size)).decode("latin-1")
    return str(ipaddress.ip_address(await head.take(4 if kind == _IPV4 else 16)))


def _reply(code: int) -> bytes:
    return bytes((_SOCKS5, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))

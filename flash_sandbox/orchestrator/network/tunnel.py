"""Connections that were made for a program: what it says there is held to the host that was judged."""

from __future__ import annotations

import asyncio
import re
from typing import Final, Literal

from ...models.rules import host_name
from .client_hello import HANDSHAKE, Incomplete, server_name
from .http_connection import HttpConnection
from .judge import Refused, Target
from .streams import Inner, Lost, Outer, Way, first_to_speak, relay

__all__ = ["tunnel"]

_HEAD_SECONDS: Final = 30.0
_HEAD_BYTES: Final = 64 * 1024
# A request's first line, as far as it goes; servers skip empty lines in front of it.
_METHOD: Final = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}(?: [^\n]*)?\Z")
_REQUEST: Final = re.compile(
    rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [^\n]*HTTP/([0-9.]+)[ \t]*\r?\n", re.IGNORECASE
)


async def tunnel(inner: Inner, first: bytes, outer: Outer, target: Target, way: Way) -> None:
    """Carry a connection that has been made, until it ends.

    Args:
        inner: The program's end.
        first: What the program has sent already.
        outer: The host's end, which is closed.
        target: The host that was judged.
        way: Where requests to that host go out.
    """
    try:
        await _carry(inner, first, outer, target, way)
    except Refused as refused:
        way.refuse(refused)
    finally:
        outer.close()


async def _carry(inner: Inner, first: bytes, outer: Outer, target: Target, way: Way) -> None:
    if not first:
        spoken, said = await first_to_speak(inner, outer)
        if not spoken:
            # A server that speaks first speaks neither TLS nor HTTP.
            await inner.write(said or b"")
            if said or spoken is not None:
                await relay(inner, outer)
            return
        first = spoken
        await inner.write(said or b"")
    async with asyncio.timeout(_HEAD_SECONDS):
        while (kind := _kind(first)) == "more":
            more = await inner.read()
            if not more:
                raise Lost
            first += more
            if len(first) > _HEAD_BYTES:
                raise Refused(target, "what is sent to it begins with neither TLS nor a request")
    if kind == "tls":
        _require_name(first, target, way)
        if (authority := way.authority_for(target)) is not None:
            # Only now: it needs a library of its own.
            from .interception import intercept

            await intercept(inner, first, outer, target, way, authority)
            return
    elif kind == "http":
        await HttpConnection(inner, way, first, target, outer).serve()
        return
    elif kind == "http2":
        raise Refused(target, "HTTP/2 without TLS may be for any host")
    await outer.write(first)
    await relay(inner, outer)


def _kind(first: bytes) -> Literal["tls", "http", "http2", "other", "more"]:
    """Return what a program speaks, by what it has sent."""
    if first[:1] == bytes([HANDSHAKE]):
        try:
            server_name(first)
        except Incomplete:
            return "more"
        except ValueError:
            pass
        return "tls"
    request = _REQUEST.match(first)
    if request is not None:
        return "http2" if request[1].startswith(b"2") else "http"
    return "more" if _METHOD.match(first) else "other"


def _require_name(first: bytes, target: Target, way: Way) -> None:
    """Raise Refused unless the name that TLS names is the host that was judged."""
    try:
        name = server_name(first)
        named = "" if name is None else host_name(name)
    except ValueError as error:
        raise Refused(target, f"TLS names no server: {error}") from error
    if not named:
        if isinstance(target.host, str):
            raise Refused(target, "TLS names no server")
        return
    if named != target.host if isinstance(target.host, str) else way.denies(named, target.port):
        raise Refused(f"{named}:{target.port}", f"TLS names another server than {target}")

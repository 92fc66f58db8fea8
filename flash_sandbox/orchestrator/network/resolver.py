"""The resolver of one sandbox: each name that its policy allows has a loopback address of its own.

A program that knows no proxy looks a name up, connects to that address, and so to the gate, which knows the
name. Nothing is asked outside for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Final

from ...models.rules import host_name
from . import dns
from .streams import Inner, Pieces

__all__ = ["Resolver"]

_FIRST: Final = IPv4Address("127.64.0.1")
_NAMES: Final = 64
_ADDRESSES: Final = 2**22
_SECONDS: Final = 10.0


class Resolver:
    """Gives names addresses.

    Args:
        serve: Has a name served at an address; tells whether the policy allows any port of it.
        leave: Has an address served no more.
    """

    def __init__(
        self, serve: Callable[[str, IPv4Address], Awaitable[bool]], leave: Callable[[IPv4Address], None]
    ) -> None:
        self._serve = serve
        self._leave = leave
        self._addresses: OrderedDict[str, IPv4Address] = OrderedDict()
        self._given = 0
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Forget all names, whose addresses are served no more."""
        for address in self._addresses.values():
            self._leave(address)
        self._addresses.clear()

    async def serve_datagram(self, inner: Inner) -> None:
        """Answer a question that came as a datagram."""
        async with asyncio.timeout(_SECONDS):
            await inner.write(await self._answer(await inner.read()))

    async def serve_stream(self, inner: Inner) -> None:
        """Answer the questions of a connection, each behind its length.

        Raises:
            Lost: The program has ended it.
        """
        pieces = Pieces(inner)
        while True:
            async with asyncio.timeout(_SECONDS):
                size = int.from_bytes(await pieces.take(2), "big")
                answered = await self._answer(await pieces.take(size))
                await inner.write(len(answered).to_bytes(2, "big") + answered)

    async def _answer(self, message: bytes) -> bytes:
        try:
            question = dns.read_question(message)
        except ValueError:
            return b""
        try:
            address = await self._address(host_name(question.name))
        except ValueError:
            address = None
        if address is None:
            return dns.answer(question, dns.NO_SUCH_NAME)
        return dns.answer(question, dns.OK, address if question.kind == dns.A else None)

    async def _address(self, name: str) -> IPv4Address | None:
        """Return the address of a name, which is served there; None if the policy does not allow it."""
        async with self._lock:
            if name in self._addresses:
                self._addresses.move_to_end(name)
                return self._addresses[name]
            address = _FIRST + self._given % _ADDRESSES
            if not await self._serve(name, address):
                return None
            self._given += 1
            self._addresses[name] = address
            if len(self._addresses) > _NAMES:
                self._leave(self._addresses.popitem(last=False)[1])
            return address

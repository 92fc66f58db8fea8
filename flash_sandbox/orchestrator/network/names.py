"""Names of hosts, as the gate resolves them: by the operator's table, else by this host's resolver."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ...models.rules import IPAddress, address_of, host_name

__all__ = ["Names", "parse_table"]

_THREADS: Final = 8
_SECONDS: Final = 10.0


class Names:
    """What names stand for.

    Args:
        table: Addresses by name: the operator's word, which goes before the resolver's.

    Attributes:
        table: The same.
    """

    def __init__(self, table: Mapping[str, Sequence[IPAddress]]) -> None:
        self.table = table
        # The event loop's own threads are for others: a name server may take its time.
        self._threads = ThreadPoolExecutor(_THREADS, "resolver")

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name by this host's resolver; none where it has none."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SECONDS):
                found = await loop.run_in_executor(self._threads, _look_up, name)
        except (OSError, UnicodeError, TimeoutError):
            return []
        return [ipaddress.ip_address(text) for text in dict.fromkeys(found)]

    def close(self) -> None:
        """Leave the resolver alone; what it still does, it does for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def parse_table(entries: Sequence[str]) -> dict[str, tuple[IPAddress, ...]]:
    """Read what an operator names: NAME=ADDRESS, as often as a name has addresses.

    Raises:
        ValueError: An entry is malformed.
    """
    table: dict[str, tuple[IPAddress, ...]] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        address = address_of(text)
        if address is None:
            raise ValueError(f"--resolve {entry!r} is not NAME=ADDRESS")
        name = host_name(name)
        table[name] = (*table.get(name, ()), address)
    return table


def _look_up(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]

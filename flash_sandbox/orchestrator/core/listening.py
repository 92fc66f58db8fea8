"""Which TCP ports are listened on, as the kernel's tables in /proc/net tell (proc_pid_net(5)). Pure."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from typing import Final

from ...models import PortInfo

__all__ = ["TABLES", "listening"]

TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")

# Number, local address and port, remote ones, and the state, of which 0A is TCP_LISTEN.
_LISTENS: Final = re.compile(
    rb"^ *[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A ", re.MULTILINE
)
_MOST: Final = 10_000


def listening(*tables: bytes) -> tuple[PortInfo, ...]:
    """Return the ports that tables of the kernel name, the lowest first; no more than 10,000 of them."""
    found = sorted(
        {each for table in tables for each in _read(table)}, key=lambda each: (each[0], str(each[1]))
    )
    return tuple(PortInfo(port, str(address)) for port, address in found[:_MOST])


def _read(table: bytes) -> Iterator[tuple[int, ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    for match in _LISTENS.finditer(table):
        words = bytes.fromhex(match[1].decode())
        count = len(words) // 4
        # Each word of the address is a number of the machine, whose first byte is the lowest.
        packed = struct.pack(f">{count}I", *struct.unpack(f"<{count}I", words))
        address = ipaddress.ip_address(packed)
        yield int(match[2], 16), getattr(address, "ipv4_mapped", None) or address

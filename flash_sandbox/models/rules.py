"""The entries of a network policy: names, addresses and ports."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

__all__ = ["WEB_PORTS", "IPAddress", "Rule", "address_of", "host_name"]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Range: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

WEB_PORTS: Final = (80, 443)
"""What an entry allows that names no port."""

_MOST_NAME: Final = 253
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
# What some resolvers read as an address, in decimal, octal or hexadecimal (https://url.spec.whatwg.org).
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_RULE: Final = re.compile(r"(?:\[([^]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}|\*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a policy.

    Attributes:
        host: A name, ``*.NAME``, ``*``, or the addresses that it is for.
        port: The port; 0 for every one; None where the entry names none.
    """

    host: str | _Range
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Read an entry.

        Raises:
            ValueError: It is malformed.
        """
        try:
            return cls(ipaddress.ip_network(entry), None)
        except ValueError:
            found = _RULE.fullmatch(entry)
        if found is None:
            raise ValueError(f"{entry[:300]!r} is not HOST or HOST:PORT")
        bracketed, plain, port = found.groups()
        number = None if port is None else 0 if port == "*" else int(port)
        if number is not None and (number > 65535 or port == "0"):
            raise ValueError(f"{entry[:300]!r}: a port is 1 to 65535, or *")
        return cls(ipaddress.ip_network(bracketed) if bracketed is not None else _host(plain), number)

    def names(self, host: str | IPAddress, port: int) -> bool:
        """Tell whether it names a host, and port where it says one."""
        return self.port in (None, 0, port) and self._is_for(host)

    def allows(self, host: str | IPAddress, port: int) -> bool:
        """Tell whether it names a host and a port, those of the web where it says none."""
        return self.names(host, port) and (self.port is not None or port in WEB_PORTS)

    def _is_for(self, host: str | IPAddress) -> bool:
        if not isinstance(self.host, str):
            return not isinstance(host, str) and host in self.host
        if not isinstance(host, str):
            return False
        return self.host in ("*", host) or (self.host.startswith("*.") and host.endswith(self.host[1:]))


def host_name(text: str) -> str:
    """Return a name as policies have it: in small letters, without a dot at its end.

    Raises:
        ValueError: It is no name, or one that some resolver would take for an address.
    """
    name = text.lower().removesuffix(".")
    if not name.isascii():
        name = name.encode("idna").decode()
    labels = name.split(".")
    if len(name) > _MOST_NAME or not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{text[:300]!r} is no name of a host")
    return name


def address_of(text: str) -> IPAddress | None:
    """Return the address that a text is; None for a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _host(text: str) -> str | _Range:
    if text == "*":
        return text
    if text.startswith("*."):
        return f"*.{host_name(text[2:])}"
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return host_name(text)

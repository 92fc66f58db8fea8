"""What sandboxes with a network may reach: the operator's words, and the ranges that they stand for."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from ...models.rules import IPAddress

__all__ = ["INTERNET", "METADATA", "SPECIAL", "Egress", "Network"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA: Final = ("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32", "fe80::/10")
"""Where clouds tell a machine its secrets: link-local, and addresses of Alibaba, Azure and Amazon (IPv6)."""

_PRIVATE: Final = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")

SPECIAL: Final = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
"""What is not of the public Internet (https://www.iana.org/assignments/iana-ipv4-special-registry)."""

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# What carries an IPv4 address to which translators send on (RFC 6052).
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")

_ANY: Final = "any"
_HOST: Final = "host"
_WORDS: Final = {"private": _PRIVATE, "metadata": METADATA}


@dataclass(frozen=True, slots=True)
class Egress:
    """What sandboxes with a network may reach besides the public Internet, and what of that they may not.

    Attributes:
        everything: Whether nothing is kept from them but each other.
        host: Whether they may reach this host itself.
        allowed: Networks that they may reach though they are private.
        denied: Networks that they may not reach, whatever else is allowed.
    """

    everything: bool = False
    host: bool = False
    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allow: Sequence[str], deny: Sequence[str]) -> Self:
        """Read what an operator names.

        Args:
            allow: Networks such as ``10.1.0.0/16``, ``private``, ``metadata``, ``host`` or ``any``.
            deny: Networks, ``private`` or ``metadata``.

        Raises:
            ValueError: One of them is neither.
        """
        words = {_ANY, _HOST}
        return cls(
            _ANY in allow,
            _HOST in allow,
            _networks("--allow-network", [name for name in allow if name not in words]),
            _networks("--deny-network", deny),
        )

    @property
    def is_filtered(self) -> bool:
        """Whether anything must be kept from sandboxes but each other."""
        return not self.everything or bool(self.denied)

    def is_public(self, address: IPAddress) -> bool:
        """Tell whether an address is of the public Internet, and neither denied nor this host's own."""
        meant = _meant(address)
        if self._denies(meant) or any(meant in network for network in _SPECIAL_NETWORKS):
            return False
        is_unicast = meant.version == 4 or meant in _GLOBAL_UNICAST
        return is_unicast and meant.is_global and not meant.is_multicast and not _is_own(meant)

    def allows(self, address: IPAddress) -> bool:
        """Tell whether the operator allows an address that is not public."""
        meant = _meant(address)
        if self._denies(meant):
            return False
        allowed = self.everything or any(meant in network for network in self.allowed)
        return allowed or (self.host and _is_own(meant))

    def _denies(self, address: IPAddress) -> bool:
        return any(address in network for network in self.denied)


INTERNET: Final = Egress()
"""The public Internet and nothing else."""


_SPECIAL_NETWORKS: Final = tuple(map(ipaddress.ip_network, (*SPECIAL, *METADATA)))


def _meant(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address stands for, if it does; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo is not None else address)


def _is_own(address: IPAddress) -> bool:
    """Tell whether an address is one of this host: only such can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _networks(option: str, names: Sequence[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for name in names:
        try:
            found += map(ipaddress.ip_network, _WORDS.get(name, (name,)))
        except ValueError:
            words = ", ".join(_WORDS) if option == "--deny-network" else "private, metadata, host or any"
            raise ValueError(
                f"{option} {name!r} is no network such as 10.1.0.0/16, no address, and none of {words}"
            ) from None
    return tuple(found)

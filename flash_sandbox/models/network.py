"""What a sandbox may reach by a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .checks import network_rules
from .words import NetworkMode

__all__ = ["Network", "network_fields"]


@dataclass(frozen=True, slots=True)
class Network:
    """A network policy: what a sandbox may reach, whatever runs it.

    Each entry is ``HOST`` or ``HOST:PORT``. The host is a name, ``*.NAME`` for every name below it, ``*`` for
    every name, an address, or a network such as ``10.1.0.0/16``; IPv6 stands in brackets in front of a port.
    Port ``*`` is every port.

    Attributes:
        allow: What it may reach. Without a port: ports 80 and 443.
        deny: What of that it may not reach. Without a port: every port.

    Raises:
        InvalidArgumentError: An entry is malformed.
    """

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow", network_rules(self.allow, "allow"))
        object.__setattr__(self, "deny", network_rules(self.deny, "deny"))


def network_fields(network: Network | NetworkMode | None) -> dict[str, Any]:
    """Return the arguments of a call that say what a caller means by a network."""
    if isinstance(network, Network):
        return {"network": "policy", "network_allow": network.allow, "network_deny": network.deny}
    return {"network": network}

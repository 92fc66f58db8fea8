"""Whether a sandbox may connect to a host and a port, and by which addresses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from secrets import token_bytes
from typing import Final

from ...models.network import Network
from ...models.rules import WEB_PORTS, IPAddress, Rule, address_of, host_name
from .egress import Egress
from .names import Names
from .room import Room

__all__ = ["Judge", "Operator", "Refused", "Target"]

_LOOK_UPS: Final = 4


class Refused(Exception):
    """A connection that a sandbox may not make.

    Args:
        target: To what, in words.
        why: The reason.
    """

    def __init__(self, target: object, why: str) -> None:
        super().__init__(f"{target}: {why}")


@dataclass(frozen=True, slots=True)
class Target:
    """What a program asks to be connected to.

    Attributes:
        host: A name, or an address.
        port: The port.
    """

    host: str | IPAddress
    port: int

    @classmethod
    def parse(cls, host: str, port: int | str) -> Target:
        """Read a host, as a program writes it, and a port.

        Raises:
            Refused: One of them is malformed.
        """
        shown = f"{host[:300]}:{str(port)[:10]}"
        text = str(port)
        if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
            raise Refused(shown, "that is no port")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            return cls(address_of(bare) or host_name(host), int(text))
        except ValueError:
            raise Refused(shown, "that is no name of a host, and no address in its usual form") from None

    @classmethod
    def split(cls, authority: str, default_port: int | None = None) -> Target:
        """Read HOST:PORT, as HTTP has it.

        Raises:
            Refused: It is malformed.
        """
        host, colon, port = authority.rpartition(":")
        if not colon or authority.endswith("]"):
            host, port = authority, "" if default_port is None else str(default_port)
        if "@" in host:
            raise Refused(authority[:300], "that is no HOST:PORT")
        return cls.parse(host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if not isinstance(self.host, str) and self.host.version == 6 else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator says of the networks of all sandboxes.

    Attributes:
        egress: Which addresses they may reach.
        names: What names stand for.
        authority_key: What the authorities of sandboxes with secrets are made of.
        room: For their connections.
    """

    egress: Egress
    names: Names
    authority_key: bytes = field(default_factory=partial(token_bytes, 32), repr=False)
    room: Room = field(default_factory=Room)


class Judge:
    """Judges by one policy.

    Args:
        policy: The policy.
        operator: What holds for every one.
    """

    def __init__(self, policy: Network, operator: Operator) -> None:
        self._allow = [Rule.parse(entry) for entry in policy.allow]
        self._deny = [Rule.parse(entry) for entry in policy.deny]
        self._operator = operator
        self._looking_up = asyncio.Semaphore(_LOOK_UPS)

    def allows(self, target: Target) -> bool:
        """Tell whether the policy allows a host, as it was named, and a port."""
        return self._names(target.host, target.port) and not self.denies(target.host, target.port)

    def denies(self, host: str | IPAddress, port: int) -> bool:
        """Tell whether the policy denies a host, whatever else it allows."""
        return any(rule.names(host, port) for rule in self._deny)

    def ports(self, name: str) -> list[int]:
        """Return the ports that the policy names for a name that it allows."""
        named = {rule.port for rule in self._allow if rule.port and rule.names(name, rule.port)}
        return sorted(port for port in {*named, *WEB_PORTS} if self.allows(Target(name, port)))

    async def addresses(self, target: Target) -> tuple[IPAddress, ...]:
        """Return the addresses that a connection may be made to; a name is resolved here, and only here.

        Raises:
            Refused: It may not be made.
        """
        if not self.allows(target):
            raise Refused(target, "the sandbox's network policy does not allow it")
        if not isinstance(target.host, str):
            found: tuple[IPAddress, ...] = (target.host,)
        elif target.host in self._operator.names.table:
            return tuple(self._operator.names.table[target.host])
        else:
            async with self._looking_up:
                found = tuple(await self._operator.names.resolve(target.host))
            if not found:
                raise Refused(target, "there is no such host")
        permitted = tuple(address for address in found if self._permits(address, target.port))
        if not permitted:
            raise Refused(target, self._refusal(found, target.port))
        return permitted

    def _refusal(self, found: tuple[IPAddress, ...], port: int) -> str:
        if any(self.denies(address, port) for address in found):
            return "the sandbox's network policy denies its address"
        if any(map(self._operator.egress.allows, found)):
            return "its address is not public, and the sandbox's network policy does not name it"
        return "its address is not public, and not allowed by the operator"

    def _permits(self, address: IPAddress, port: int) -> bool:
        if self.denies(address, port):
            return False
        egress = self._operator.egress
        return egress.is_public(address) or (egress.allows(address) and self._names(address, port))

    def _names(self, host: str | IPAddress, port: int) -> bool:
        return any(rule.allows(host, port) for rule in self._allow)

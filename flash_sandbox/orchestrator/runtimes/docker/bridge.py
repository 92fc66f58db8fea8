"""The network of an orchestrator's sandboxes: a bridge of its own, whose ports do not see each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from ....errors import NetworkRefusedError
from ...cancellation import completed
from ...network.egress import Egress
from .api import Engine, EngineError, EngineMissing
from .containers import Labels
from .packet_filter import FilterMissing, PacketFilter
from .pull import Event

__all__ = ["LOOK_SECONDS", "Bridge"]

LOOK_SECONDS = 10.0
"""How often it is looked whether the rules still hold, as long as a sandbox needs them."""

_NAME: Final = "com.docker.network.bridge.name"
_SEEN: Final = "com.docker.network.bridge.enable_icc"


class Bridge:
    """One network of an engine, made when the first sandbox needs it.

    Args:
        engine: The engine.
        egress: What sandboxes may reach.
        owner: Name of whose sandboxes are on it.
        in_use: Tells whether a sandbox is on it, or about to be.
        event: Writes a line of the log.
    """

    def __init__(
        self, engine: Engine, egress: Egress, owner: str, in_use: Callable[[], bool], event: Event
    ) -> None:
        self._engine = engine
        self._in_use = in_use
        self._event = event
        self._looking: asyncio.Task[None] | None = None
        self._egress = egress
        self._owner = owner
        self._name = f"flash-sandbox-{owner}"
        # An interface's name has at most 15 characters.
        bridge, chain = f"fsb-{owner[:10]}", f"FLASH-SANDBOX-{owner[:10]}"
        self._interface = bridge
        self._filter = PacketFilter(engine.host, bridge, chain, f"flash-sandbox {owner}")
        self._changing = asyncio.Lock()

    async def obstacle(self) -> str | None:
        """Return why this network cannot be given; None where nothing is known to be in the way."""
        return await asyncio.to_thread(self._filter.missing) if self._egress.is_filtered else None

    async def ready(self) -> str:
        """Return the name of the network, once what sandboxes on it may not reach is out of their reach.

        Raises:
            NetworkRefusedError: If that is not possible here.
            EngineError: If the engine refuses.
            EngineMissing: If the engine cannot be reached.
        """
        async with self._changing:
            subnet, gateway = await completed(self._network())
            if not self._egress.is_filtered:
                await completed(asyncio.to_thread(self._filter.remove))
                return self._name
            try:
                await completed(asyncio.to_thread(self._filter.ensure, self._egress, subnet, gateway))
            except FilterMissing as missing:
                raise _refused(str(missing)) from missing
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again())
        return self._name

    async def _look_again(self) -> None:
        """Put rules back that somebody removes, such as a firewall that is loaded anew."""
        told = False
        while self._in_use():
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.ready()
            except (NetworkRefusedError, EngineError, EngineMissing) as error:
                if not told:
                    self._event("network unguarded", detail=str(error))
                told = True
            else:
                told = False

    async def close(self) -> None:
        """Remove the network and its rules, unless a sandbox is on it."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        async with self._changing:
            with suppress(EngineError, EngineMissing):
                if await self._inspected() is not None:
                    await self._engine.call("DELETE", f"/networks/{self._name}")
                elif self._looking is None:
                    return
                await asyncio.to_thread(self._filter.remove)

    async def _network(self) -> tuple[IPv4Network, IPv4Address]:
        """Make the network where it is not there; return its subnet and the bridge's address in it."""
        inspected = await self._inspected()
        if inspected is None:
            body = {
                "Name": self._name,
                "CheckDuplicate": True,
                "Driver": "bridge",
                "EnableIPv6": False,
                "Options": {_NAME: self._interface, _SEEN: "false"},
                "Labels": {Labels.OWNER: self._owner},
            }
            await self._engine.call("POST", "/networks/create", body)
            inspected = await self._inspected() or {}
        options = inspected.get("Options") or {}
        if inspected.get("EnableIPv6") or (options.get(_NAME), options.get(_SEEN)) != (
            self._interface,
            "false",
        ):
            raise _refused(f"the engine's network {self._name} is not the one that was asked for")
        for config in (inspected.get("IPAM") or {}).get("Config") or ():
            subnet = IPv4Network(config["Subnet"])
            return subnet, IPv4Address(config.get("Gateway") or subnet[1])
        raise _refused(f"the engine does not tell the addresses of its network {self._name}")

    async def _inspected(self) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = await self._engine.call("GET", f"/networks/{self._name}")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return found


def _refused(why: str) -> NetworkRefusedError:
    return NetworkRefusedError(
        "a bridge network would reach this host, its neighbours and its cloud's metadata, and nothing can "
        f"keep it from that: {why}; the operator may allow all of that with --allow-network any",
    )

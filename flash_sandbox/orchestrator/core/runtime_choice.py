"""Which runtime a start is for, and what holds for it where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...errors import InvalidArgumentError, Reason, RuntimeUnavailableError, UnsupportedError
from ...models import StartRequest
from ..runtimes.base import Runtime
from ..runtimes.catalogue import AUTO_ORDER, OPTIONS
from ..snapshots.manifest import Manifest
from .base import ServiceCore
from .defaults import filled_in
from .programs import require_user

__all__ = ["RuntimeChoice"]


class RuntimeChoice(ServiceCore):
    """Choose the runtime of a start; a part of `SandboxService`."""

    _runtimes: Mapping[str, Runtime]
    _auto: Runtime | None = None

    async def _runtime_for(self, request: StartRequest, snapshot: Manifest | None = None) -> Runtime:
        """Return the runtime that a start asks for; the best one, or that of the snapshot, if it names none.

        Raises:
            InvalidArgumentError: There is no such runtime, or the snapshot was made by another one.
            UnsupportedError: The runtime cannot give what the start asks for.
            RuntimeUnavailableError: This host has no runtime.
        """
        wanted = {option for option in OPTIONS if getattr(request, option)}
        asked = request.type if request.type != "auto" else ""
        name = asked or (snapshot.runtime if snapshot else "")
        if not name:
            runtime = await self._best_runtime()
        elif name in self._runtimes:
            runtime = self._runtimes[name]
        else:
            known = ", ".join(["auto", *sorted(self._runtimes)])
            raise InvalidArgumentError(
                f"unknown runtime {name[:100]!r}; known are {known}", reason=Reason.UNKNOWN_RUNTIME
            )
        if snapshot:
            snapshot.require_runtime(runtime.name)
        refused = sorted(wanted - runtime.capabilities.options)
        if refused:
            reasons = runtime.capabilities.reasons
            why = "".join(f"; {reasons[option]}" for option in refused if option in reasons)
            raise UnsupportedError(f"the {runtime.name} runtime has no use for {', '.join(refused)}{why}")
        if request.on_idle == "suspend" and not runtime.capabilities.suspends:
            raise UnsupportedError(f"the {runtime.name} runtime suspends nothing; gvisor does")
        return runtime

    def _admitted(self, request: StartRequest, runtime: Runtime, origin: StartRequest | None) -> StartRequest:
        """Return a start with what holds where it says nothing; raise where that cannot be had."""
        request = self._filled_in(request, runtime, origin)
        self._admission.require_network(request.network)
        self._admission.require_use(request)
        if request.network not in runtime.capabilities.networks:
            raise UnsupportedError(f"the {runtime.name} runtime cannot give a {request.network} network")
        return request

    def _filled_in(
        self, request: StartRequest, runtime: Runtime, origin: StartRequest | None
    ) -> StartRequest:
        options = runtime.capabilities.options
        network = self._admission.default_network
        filled = filled_in(request, options, network, origin if request.snapshot_path else None)
        return replace(filled, user=require_user(runtime, filled.user))

    async def _best_runtime(self) -> Runtime:
        if self._auto is not None:
            return self._auto
        missing = []
        for name in AUTO_ORDER:
            if name not in self._runtimes:
                continue
            availability = await self._runtimes[name].check()
            if availability.available:
                self._auto = self._runtimes[name]
                return self._auto
            missing.append(f"{name}: {availability.detail}")
        raise RuntimeUnavailableError("this host has no runtime; " + "; ".join(missing))

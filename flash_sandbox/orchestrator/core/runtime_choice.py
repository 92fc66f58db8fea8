"""Which runtime a start is for, and what holds for it where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...errors import InvalidArgumentError, Reason, RuntimeUnavailableError, UnsupportedError
from ...models import StartRequest
from ..runtimes.base import Runtime
from ..runtimes.catalogue import AUTO_ORDER, OPTIONS
from .base import ServiceCore
from .defaults import filled_in
from .programs import require_user

__all__ = ["RuntimeChoice"]


class RuntimeChoice(ServiceCore):
    """Choose the runtime of a start; a part of `SandboxService`."""

    _runtimes: Mapping[str, Runtime]
    _auto: Runtime | None = None

    async def _runtime_for(self, request: StartRequest) -> Runtime:
        wanted = {option for option in OPTIONS if getattr(request, option)}
        if request.type in ("", "auto"):
            runtime = await self._best_runtime()
        elif request.type in self._runtimes:
            runtime = self._runtimes[request.type]
        else:
            known = ", ".join(["auto", *sorted(self._runtimes)])
            raise InvalidArgumentError(
                f"unknown runtime {request.type[:100]!r}; known are {known}", reason=Reason.UNKNOWN_RUNTIME
            )
        refused = sorted(wanted - runtime.capabilities.options)
        if refused:
            raise UnsupportedError(f"the {runtime.name} runtime has no use for {', '.join(refused)}")
        if request.on_idle == "suspend" and not runtime.capabilities.suspends:
            raise UnsupportedError(f"the {runtime.name} runtime suspends nothing; gvisor does")
        return runtime

    def _admitted(self, request: StartRequest, runtime: Runtime, origin: StartRequest | None) -> StartRequest:
        """Return a start with what holds where it says nothing; raise where that cannot be had."""
        request = self._filled_in(request, runtime, origin)
        self._admission.require_network(request.network)
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

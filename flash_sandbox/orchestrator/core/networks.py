"""The service core's operation on what a sandbox may reach."""

from __future__ import annotations

from dataclasses import replace

from ...errors import UnsupportedError
from ...models import SetNetworkRequest, SetNetworkResult
from . import rows
from .base import ServiceCore, open_gate
from .sandboxes import State

__all__ = ["NetworkOperations"]


class NetworkOperations(ServiceCore):
    """Change what sandboxes may reach; a part of `SandboxService`."""

    async def set_network(self, request: SetNetworkRequest) -> SetNetworkResult:
        """Change what a running sandbox may reach."""
        self._admission.require_network(request.network)
        await self._awake(request.id)
        await self._complete(self._set_network(request))
        return SetNetworkResult()

    async def _set_network(self, request: SetNetworkRequest) -> None:
        async with self._locked(request.id) as sandbox:
            sandbox.require(State.RUNNING)
            before = sandbox.request
            if not {before.network, request.network} <= {"none", "policy"}:
                raise UnsupportedError("only between the networks none and policy can a sandbox be changed")
            sandbox.request = replace(
                before,
                network=request.network,
                network_allow=request.network_allow,
                network_deny=request.network_deny,
            )
            try:
                await open_gate(sandbox)
            except BaseException:
                sandbox.request = before
                raise
            await self._note(sandbox, rows.asked(sandbox))

"""Creating sandboxes, for a start or beforehand."""

from __future__ import annotations

from contextlib import nullcontext, suppress

from ...errors import SandboxError
from ...models import StartRequest
from ..cancellation import completed
from ..guest.tasks import agent_errors
from .adoption import AdoptionOperations, unless_ended
from .base import disk_errors, end_guest, open_gate, open_guest
from .runtime_choice import RuntimeChoice
from .sandboxes import Sandbox
from .warm import WarmPool, WarmPools, plain

__all__ = ["CreationOperations"]


class CreationOperations(RuntimeChoice, AdoptionOperations):
    """Create sandboxes; a part of `SandboxService`."""

    warm: WarmPools

    async def _create(self, sandbox: Sandbox) -> None:
        """Create a sandbox and connect to its agent; leave nothing behind if that fails."""
        with disk_errors():
            async with self.snapshots.using(sandbox.snapshot) if sandbox.snapshot else nullcontext():
                sandbox.created = await sandbox.runtime.create(sandbox.id, sandbox.request, sandbox.snapshot)
        try:
            self._attach_guest(sandbox)
            await unless_ended(sandbox, open_guest(sandbox))
        except BaseException:
            await completed(self._end_created(sandbox))
            raise

    async def _end_created(self, sandbox: Sandbox) -> None:
        """End a sandbox that no caller knows."""
        await end_guest(sandbox)
        await sandbox.runtime.stop(sandbox.id)

    async def _make_warm(self, pool: WarmPool) -> Sandbox:
        """Create a sandbox for a pool."""
        request = StartRequest(pool.type, pool.image)
        runtime = pool.runtime = await self._runtime_for(request)
        pool.request = plain(runtime, self._admitted(request, runtime, None))
        image = await runtime.image_identity(pool.request.image)
        sandbox = Sandbox(runtime, pool.request, self.events, warm_image=image)
        await self._create(sandbox)
        return sandbox

    async def _end_warm(self, sandbox: Sandbox) -> None:
        async with self._room_for_ends:
            await self._end_created(sandbox)

    async def _is_warm(self, sandbox: Sandbox) -> bool:
        """Tell whether a sandbox was made beforehand, runs, and is of the image that its start means.

        One that is not what its start means is ended.
        """
        if sandbox.created is None:
            return False
        is_warm = False
        try:
            with suppress(SandboxError), agent_errors():
                image = await sandbox.runtime.image_identity(plain(sandbox.runtime, sandbox.request).image)
                if image == sandbox.warm_image:
                    await unless_ended(sandbox, sandbox.guest.channel.ping())
                    await open_gate(sandbox)
                    is_warm = True
                else:
                    self.warm.drop_like(sandbox)
        finally:
            if not is_warm:
                await completed(self._end_created(sandbox))
        return is_warm

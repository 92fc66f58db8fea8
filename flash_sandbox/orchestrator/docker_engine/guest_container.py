"""A container whose first process is the guest agent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ...errors import InternalServerError, SandboxError
from ..completion import completed
from ..guest.guest import Defaults, Guest
from ..guest.streams import AgentStream
from ..guest.tasks import ChannelFailed
from .agent_links import AgentLink
from .api import Engine
from .containers import oom_kills_of_host
from .lifecycle import Running, exit_code

__all__ = ["GuestContainer"]

_Result = TypeVar("_Result")


class GuestContainer:
    """A container that has been started, and its agent.

    Args:
        engine: Where it is.
        container_id: Its full ID.
        running: What is known of it.
        link: The way to its agent.
        defaults: What programs have.

    Attributes:
        guest: Its agent.
        ended: Its exit status, once it has ended.
    """

    def __init__(
        self, engine: Engine, container_id: str, running: Running, link: AgentLink, defaults: Defaults
    ) -> None:
        self.id = container_id
        self.running = running
        self.ended = asyncio.create_task(exit_code(engine, container_id))
        self.guest = Guest(self._connect, defaults, reconnects=True, oom_kills=self.oom_kills)
        self._oom_kills = 0
        self._link = link
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._opening: asyncio.Task[None] | None = None

    def oom_kills(self) -> int:
        """Return how many processes the kernel has ended for want of memory, also once the last has ended.

        It is 0 if the processes are not this host's.
        """
        with suppress(OSError):
            self._oom_kills = oom_kills_of_host(self.id, self.running.init) or self._oom_kills
        return self._oom_kills

    @property
    def is_frozen(self) -> bool:
        """Whether it is paused, so that its agent need not answer."""
        return not self._thawed.is_set()

    @is_frozen.setter
    def is_frozen(self, frozen: bool) -> None:
        self.guest.channel.is_frozen = frozen
        if frozen:
            self._thawed.clear()
        else:
            self._thawed.set()

    async def unless_ended(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do what needs the agent; give it up once the container has ended.

        Raises:
            InternalServerError: The container has ended.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise InternalServerError(f"the sandbox's agent has ended with status {self.ended.result()}")
            return task.result()
        finally:
            task.cancel()
            await completed(asyncio.wait({task}))

    async def begin(self) -> None:
        """Greet the agent of a container that was just started."""
        await self._link.begin(self.id, self.running.init)
        await self.guest.open()
        await self._link.settle(self.guest)

    def open_later(self) -> None:
        """Greet the agent of a container that an orchestrator before has started, in the background."""
        self._opening = asyncio.create_task(self._open())

    async def opened(self) -> None:
        """Wait until the agent has been greeted, or cannot be."""
        if self._opening is not None:
            await asyncio.wait({self._opening})

    async def close(self) -> None:
        """Give the agent up; the container stays. Idempotent."""
        self.ended.cancel()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        await self.guest.close()
        await self._link.close()

    async def _open(self) -> None:
        try:
            self._link.resume(self.id, self.running.init)
            await self.guest.open()
        except (SandboxError, OSError) as error:
            self.guest.channel.fail(ChannelFailed(str(error)))

    async def _connect(self) -> AgentStream:
        while True:
            await self._thawed.wait()
            try:
                return await self._link.connect()
            except SandboxError:
                if self._thawed.is_set():
                    raise

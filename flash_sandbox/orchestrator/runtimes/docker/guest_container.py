"""A container whose first process is the guest agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ....errors import InternalServerError
from ...cancellation import done_before
from .agent_links import AgentLink
from .api import Engine
from .containers import oom_kills_of_host
from .lifecycle import Running, exit_code

__all__ = ["GuestContainer"]


class GuestContainer:
    """A container that has been started, and the way to its agent.

    Args:
        engine: Where it is.
        container_id: Its full ID.
        running: What is known of it.
        link: The way to its agent.

    Attributes:
        ended: Its exit status, once it has ended.
    """

    def __init__(self, engine: Engine, container_id: str, running: Running, link: AgentLink) -> None:
        self.id = container_id
        self.running = running
        self.link = link
        self.ended = asyncio.create_task(exit_code(engine, container_id))
        self._oom_kills = 0

    def oom_kills(self) -> int | None:
        """Return how many processes the kernel has ended for want of memory.

        It is None if only the engine knows: the processes have ended, or are not this host's.
        """
        with suppress(OSError):
            kills = oom_kills_of_host(self.id, self.running.init)
            if kills is not None:
                self._oom_kills = kills
                return kills
        return self._oom_kills or None

    async def begin(self) -> None:
        """Wait until the agent of a container that was just started can be reached.

        Raises:
            InternalServerError: It cannot be reached, or the container has ended.
        """
        if not await done_before(self.link.begin(self.id, self.running.init), self.ended):
            raise InternalServerError(f"the sandbox's agent has ended with status {self.ended.result()}")

    async def close(self) -> None:
        """Give the agent up; the container stays. Idempotent."""
        self.ended.cancel()
        await self.link.close()

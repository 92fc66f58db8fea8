"""Containers whose first process is the guest agent: started, reached, and reached again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from ...errors import InternalServerError, SandboxError
from ...models import StartRequest
from ..completion import completed
from ..guest.guest import Defaults, Guest
from ..guest.streams import AgentStream
from ..guest.tasks import ChannelFailed
from ..images.manifests import ImageConfig
from ..sandboxing import privileges
from ..sandboxing.cgroups import limit_tcp_buffers
from .agent_links import AgentLink
from .api import Engine
from .containers import Container, hostname, on_this_host, oom_kills_of_host
from .lifecycle import Running, create, exit_code, start

__all__ = ["GuestContainer", "defaults_of", "launch"]

_Result = TypeVar("_Result")

# What Docker Engine gives processes whose image says nothing of it.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def defaults_of(sandbox_id: str, request: StartRequest, config: ImageConfig) -> Defaults:
    """Return what programs of a sandbox have, as processes of a container have it; the agent adds a HOME.

    Args:
        sandbox_id: ID of the sandbox.
        request: What its start asked for.
        config: What its image says.
    """
    own = (variable.partition("=") for variable in request.env)
    environment = {"PATH": _PATH, "HOSTNAME": hostname(sandbox_id), **config.environment}
    environment |= {name: value for name, _, value in own}
    return Defaults(environment, config.working_dir or "/", request.user or config.user)


async def launch(
    engine: Engine, container: Container, link: AgentLink, program: Path, defaults: Defaults
) -> GuestContainer:
    """Make and start a container, and greet its agent. If that fails, the container may be left.

    Args:
        engine: Where to start it.
        container: What is asked of the engine.
        link: The way to its agent.
        program: Path of the agent's program.
        defaults: What programs have.

    Raises:
        InvalidArgumentError: The engine refuses what is asked of it.
        UnsupportedError: The engine does not grant the limits.
        InternalServerError: The agent cannot be reached, or has more privileges than it should.
    """
    live = None
    try:
        container = await link.equip(container, program)
        container_id = await create(engine, container)
        await link.prepare(container_id, program)
        running = await start(engine, container_id)
        live = GuestContainer(engine, container_id, running, link, defaults)
        await live.unless_ended(live.begin())
        if on_this_host(container_id, running.init):
            privileges.require_given_up(running.init)
            # The engine takes such a limit (KernelMemoryTCP) and forgets it.
            limit_tcp_buffers(running.init, container.limits.memory_bytes)
    except BaseException:
        await completed(link.close() if live is None else live.close())
        raise
    return live


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
        self._link.resume(self.id, self.running.init)
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
            await self.guest.open()
        except SandboxError as error:
            self.guest.channel.fail(ChannelFailed(error.detail))

    async def _connect(self) -> AgentStream:
        while True:
            await self._thawed.wait()
            try:
                return await self._link.connect()
            except SandboxError:
                if self._thawed.is_set():
                    raise

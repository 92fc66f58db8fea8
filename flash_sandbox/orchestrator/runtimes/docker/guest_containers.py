"""Starting containers whose first process is the guest agent, and going on with them."""

from __future__ import annotations

import asyncio
import platform
import secrets
from collections.abc import Container as Collection
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from ....errors import SandboxError
from ....models import StartRequest
from ...cancellation import completed
from ...guest.guest import Defaults
from ...guest.program import agent_program
from ...guest.programs import by_name
from ...images.main_command import main_command
from ...images.manifests import DEFAULT_PATH, ImageConfig
from ...linux import privileges
from ...linux.cgroups import limit_tcp_buffers
from ..base import Created
from .agent_links import AgentLink, AttachedLink, DialledLink
from .agent_sockets import remove_directories, remove_directory
from .api import Engine, EngineMissing
from .containers import Container, hostname, on_this_host
from .guest_container import GuestContainer
from .lifecycle import Running, create, remove, start
from .volumes import mount_volumes

__all__ = ["REDIALS_WITH", "GuestContainers"]

_SECRET_BYTES: Final = 32
REDIALS_WITH: Final = "redials_with"
"""Name of what an agent shows when it dials again, in hexadecimal; an attached agent has none."""


class GuestContainers:
    """The containers of one runtime.

    Args:
        engine: Where they are.
        directory: Where the directories of their agents are.
        may_dial: Whether their agents may be able to dial, which the first start finds out.

    Attributes:
        machine: Machine that the engine runs on (uname -m).
    """

    def __init__(self, engine: Engine, directory: Path, *, may_dial: bool) -> None:
        self.machine = platform.machine()
        self._engine = engine
        self._directory = directory
        # None: that is not known yet.
        self._dials: bool | None = None if may_dial else False

    async def start(self, container: Container, config: ImageConfig) -> tuple[GuestContainer, Created]:
        """Start a container, and return what is to be known of it but its image's name.

        Leaves nothing behind if that fails.

        Args:
            container: What is asked of the engine.
            config: What its image says.

        Raises:
            AgentMissing: There is no agent for the engine's machine.
            InvalidArgumentError: The engine refuses what is asked of it, or the image has no command to run.
            UnsupportedError: The engine does not grant the limits.
            InternalServerError: The agent cannot be reached, or has more privileges than it should.
        """
        defaults = _defaults(container.sandbox_id, container.request, config)
        created = Created("", defaults, main_command(container.request, config), reconnects=True)
        if self._dials is not False:
            dialled = replace(created, details={REDIALS_WITH: secrets.token_hex(_SECRET_BYTES)})
            try:
                return await self._start(container, dialled), dialled
            except SandboxError:
                if self._dials:
                    raise
        return await self._start(container, created), created

    def adopt(
        self, sandbox_id: str, container_id: str, running: Running, details: Mapping[str, str]
    ) -> GuestContainer:
        """Go on with a container that an orchestrator before has started.

        Args:
            sandbox_id: ID of the sandbox.
            container_id: Full ID of the container.
            running: What is known of it.
            details: Those of what `start` returned.

        Raises:
            OSError: The agent's socket cannot be made.
        """
        link = self._link(sandbox_id, details)
        link.resume(container_id, running.init)
        return GuestContainer(self._engine, container_id, running, link)

    async def give_up(self, sandbox_id: str, container: str, reached: GuestContainer | AgentLink) -> None:
        """Remove a container whose start is given up, if the engine is there to do so."""
        await reached.close()
        with suppress(EngineMissing):
            await self.remove(sandbox_id, container)

    async def remove(self, sandbox_id: str, container: str) -> None:
        """Remove a container, by name or ID, and what its agent needed.

        Raises:
            InternalServerError: The engine fails to remove it.
            EngineMissing: The engine cannot be reached.
        """
        await remove(self._engine, container)
        await asyncio.to_thread(remove_directory, self._directory / sandbox_id)

    async def keep(self, sandboxes: Collection[str]) -> None:
        """Remove what the agents of all other sandboxes needed."""
        await asyncio.to_thread(remove_directories, self._directory, sandboxes)

    def _link(self, sandbox_id: str, details: Mapping[str, str]) -> AgentLink:
        if REDIALS_WITH not in details:
            return AttachedLink(self._engine)
        return DialledLink(self._directory / sandbox_id, bytes.fromhex(details[REDIALS_WITH]))

    async def _start(self, container: Container, created: Created) -> GuestContainer:
        link = self._link(container.sandbox_id, created.details)
        try:
            live = await self._launch(container, link)
        except BaseException:
            await completed(self.give_up(container.sandbox_id, container.name, link))
            raise
        self._dials = bool(created.details)
        return live

    async def _launch(self, container: Container, link: AgentLink) -> GuestContainer:
        """Make and start a container, and wait until its agent can be reached."""
        program = agent_program(self.machine)
        container = await link.equip(container, program)
        container_id = await create(self._engine, container)
        await link.prepare(container_id, program)
        running = await start(self._engine, container_id)
        live = GuestContainer(self._engine, container_id, running, link)
        try:
            await live.begin()
            init = running.init if on_this_host(container_id, running.init) else 0
            if init:
                privileges.require_given_up(init)
                # The engine takes such a limit (KernelMemoryTCP) and forgets it.
                limit_tcp_buffers(init, container.limits.memory_bytes)
            if container.volumes:
                await completed(asyncio.to_thread(mount_volumes, container.volumes, init))
        except BaseException:
            await completed(live.close())
            raise
        return live


def _defaults(sandbox_id: str, request: StartRequest, config: ImageConfig) -> Defaults:
    """Return what programs have, as processes of a container have it; the agent adds a HOME."""
    environment = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(sandbox_id), **config.environment}
    environment |= by_name(request.env)
    return Defaults(environment, config.working_dir or "/", request.user or config.user)

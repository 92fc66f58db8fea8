"""How the orchestrator reaches the agents of containers, and reaches them again.

The agent of a local container dials a socket in a directory that the container sees (`agent_sockets`). If the
container and the orchestrator share no directory, its standard input and output are the stream
(`attached_agents`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from ....errors import InternalServerError
from ...guest.streams import AgentStream
from . import agent_sockets, attached_agents
from .agent_sockets import AgentSocket, make_directory
from .api import Engine, EngineError, EngineMissing
from .attached_agents import AttachedAgent, put_program
from .containers import Container, on_this_host

__all__ = ["AgentLink", "AttachedLink", "DialledLink"]

_DIAL_SECONDS: Final = 2.0
# If the agent certainly runs on this host, which may be busy.
_LOCAL_DIAL_SECONDS: Final = 30.0
# How often it is checked that an agent of this host still runs.
_LOOK_SECONDS: Final = 0.2
_ENGINE_BACK_SECONDS: Final = (0.5, 30.0)


class AgentLink(Protocol):
    """The way to the agent of one container."""

    async def equip(self, container: Container, program: Path) -> Container:
        """Return what is asked of the engine, with what the agent needs.

        Args:
            container: What is asked of the engine.
            program: Path of the agent's program.
        """

    async def prepare(self, container_id: str, program: Path) -> None:
        """Make a container ready that is about to be started."""

    async def begin(self, container_id: str, init: int) -> None:
        """Wait until the agent of a container that was just started can be reached.

        Args:
            container_id: Full ID of the container.
            init: Process ID of the agent in the engine's PID namespace.

        Raises:
            InternalServerError: It cannot be reached.
        """

    def resume(self, container_id: str, init: int) -> None:
        """Expect the agent of a container that an orchestrator before has started."""

    async def connect(self) -> AgentStream:
        """Return a new stream to the agent, in place of the one before.

        Raises:
            InternalServerError: The agent cannot be reached.
        """

    async def close(self) -> None:
        """Release what waits for the agent. Idempotent."""


class DialledLink:
    """An agent that dials.

    Args:
        directory: Directory that the container sees.
        secret: What the agent shows when it dials again.
    """

    def __init__(self, directory: Path, secret: bytes) -> None:
        self._directory = directory
        self._socket = AgentSocket(directory, secret)
        self._container = ""
        self._init = 0
        self._is_local = False
        self._first: AgentStream | None = None

    async def equip(self, container: Container, program: Path) -> Container:
        """Make the directory and the socket."""
        await asyncio.to_thread(make_directory, self._directory, program)
        self._socket.listen()
        return replace(container, agent=agent_sockets.COMMAND, directory=self._directory)

    async def prepare(self, container_id: str, program: Path) -> None:
        """Do nothing: the container sees all that it needs."""

    async def begin(self, container_id: str, init: int) -> None:
        """Wait until the agent has dialled."""
        self._note(container_id, init)
        self._first = await self._accept(
            _LOCAL_DIAL_SECONDS if self._is_local else _DIAL_SECONDS, again=False
        )

    def resume(self, container_id: str, init: int) -> None:
        """Listen."""
        self._note(container_id, init)
        self._socket.listen()

    def _note(self, container_id: str, init: int) -> None:
        self._container, self._init = container_id, init
        self._is_local = on_this_host(container_id, init)

    async def connect(self) -> AgentStream:
        """Return a new stream, once the agent has dialled."""
        first, self._first = self._first, None
        if first is not None:
            return first
        return await self._accept(_LOCAL_DIAL_SECONDS, again=True)

    async def close(self) -> None:
        """Stop listening."""
        first, self._first = self._first, None
        if first is not None:
            first.close()
        self._socket.close()

    async def _accept(self, seconds: float, *, again: bool) -> AgentStream:
        accepting = asyncio.create_task(self._socket.accept(self._is_agent, again=again))
        try:
            async with asyncio.timeout(seconds):
                while not accepting.done():
                    await asyncio.wait({accepting}, timeout=_LOOK_SECONDS)
                    gone = self._is_local and not on_this_host(self._container, self._init)
                    if gone and not accepting.done():
                        raise InternalServerError("the sandbox's agent has ended")
                return accepting.result()
        except TimeoutError as error:
            raise InternalServerError(f"the sandbox's agent did not connect within {seconds:g} s") from error
        finally:
            accepting.cancel()

    def _is_agent(self, pid: int) -> bool:
        # If the engine's process IDs are not those of this host, the secret alone counts.
        return pid == self._init or not on_this_host(self._container, self._init)


class AttachedLink:
    """An agent whose container is attached.

    Args:
        engine: Where the container is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._agent: AttachedAgent | None = None
        self._first: AgentStream | None = None

    async def equip(self, container: Container, program: Path) -> Container:
        """Ask for the agent alone."""
        return replace(container, agent=attached_agents.COMMAND)

    async def prepare(self, container_id: str, program: Path) -> None:
        """Put the program into the container, and attach: nothing of its output may be lost."""
        await put_program(self._engine, container_id, await asyncio.to_thread(program.read_bytes))
        self._agent = AttachedAgent(self._engine, container_id)
        self._first = await self._agent.attach()

    async def begin(self, container_id: str, init: int) -> None:
        """Do nothing: the container is attached."""

    def resume(self, container_id: str, init: int) -> None:
        """Name the container."""
        self._agent = AttachedAgent(self._engine, container_id)

    async def connect(self) -> AgentStream:
        """Attach, once the engine is there."""
        first, self._first = self._first, None
        if first is not None:
            return first
        assert self._agent is not None
        pause, longest = _ENGINE_BACK_SECONDS
        while True:
            try:
                with suppress(EngineMissing):
                    return await self._agent.attach()
            except EngineError as error:
                raise InternalServerError(f"Docker Engine: {error.message}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def close(self) -> None:
        """Detach."""
        first, self._first = self._first, None
        if first is not None:
            first.close()
        if self._agent is not None:
            await self._agent.close()

"""Agents whose stream is the standard input and output of their containers, through the engine.

They serve where container and orchestrator share no directory: the engine is on another machine, or its
containers are virtual machines.

Of a container without a terminal the engine sends frames: one byte that names the stream, three of zero, four
of length (big-endian), and the output:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

import asyncio
import io
import socket
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ...cancellation import completed
from ...guest.streams import AgentStream
from .api import Engine, EngineError, EngineMissing

__all__ = ["COMMAND", "AttachedAgent", "StdoutFrames", "put_program"]

COMMAND: Final = ("/.flash-sandbox-agent", "--stdio", "--unlink")
"""The agent's command line inside. It removes its program, so that no snapshot holds that."""

_STDOUT: Final = 1
_HEADER_BYTES: Final = 8
_CHUNK: Final = 262_144


async def put_program(engine: Engine, container_id: str, program: bytes) -> None:
    """Put the agent's program into a container that has not been started."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo(COMMAND[0].lstrip("/"))
        entry.size, entry.mode = len(program), 0o555
        tar.addfile(entry, io.BytesIO(program))
    await engine.call("PUT", f"/containers/{container_id}/archive", file.getvalue(), query={"path": "/"})


class AttachedAgent:
    """The stream of one container. There is never more than one, as the engine would stop to serve the first.

    Args:
        engine: Where the container is.
        container_id: Its ID.
    """

    def __init__(self, engine: Engine, container_id: str) -> None:
        self._engine = engine
        self._path = f"/containers/{container_id}/attach?stream=1&stdin=1&stdout=1"
        self._pump: asyncio.Task[None] | None = None

    async def attach(self) -> AgentStream:
        """Attach, after having detached where that was done before.

        Raises:
            EngineError: The engine refuses.
            EngineMissing: The engine cannot be reached.
        """
        await self.close()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        attached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._carry(ours, attached))
        try:
            await attached
        except BaseException:
            theirs.close()
            await self.close()
            raise
        descriptor = theirs.detach()
        return AgentStream(descriptor, descriptor, may_break=True)

    async def close(self) -> None:
        """Detach. Idempotent."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await completed(asyncio.wait({pump}))

    async def _carry(self, ours: socket.socket, attached: asyncio.Future[None]) -> None:
        """Carry bytes between the engine's connection and a socket, until either ends."""
        with ours:
            try:
                async with self._engine.attached(self._path) as (reader, writer):
                    attached.set_result(None)
                    directions = [_from_engine(reader, ours), _to_engine(ours, writer)]
                    work = [asyncio.create_task(direction) for direction in directions]
                    try:
                        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for task in work:
                            task.cancel()
                        await completed(asyncio.gather(*work, return_exceptions=True))
            except (EngineError, EngineMissing) as error:
                if not attached.done():
                    attached.set_exception(error)


async def _from_engine(reader: asyncio.StreamReader, ours: socket.socket) -> None:
    loop, frames = asyncio.get_running_loop(), StdoutFrames()
    while data := await reader.read(_CHUNK):
        await loop.sock_sendall(ours, b"".join(frames.feed(data)))


async def _to_engine(ours: socket.socket, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(ours, _CHUNK):
            writer.write(data)
            await writer.drain()


class StdoutFrames:
    """Takes standard output from the engine's frames, wherever the bytes of the connection are cut."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._is_wanted = False

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Yield what the next bytes of the connection hold."""
        rest = memoryview(data)
        while rest:
            if self._left:
                piece, rest = rest[: self._left], rest[self._left :]
                self._left -= len(piece)
                if self._is_wanted:
                    yield piece
                continue
            missing = _HEADER_BYTES - len(self._header)
            self._header += rest[:missing]
            rest = rest[missing:]
            if len(self._header) == _HEADER_BYTES:
                self._left = int.from_bytes(self._header[4:], "big")
                self._is_wanted = self._header[0] == _STDOUT
                self._header.clear()

"""Ports of this machine that lead to ports of sandboxes, for the asynchronous clients.

asyncio is imported where it is used: the package is imported by programs that do without.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import SandboxError
from .forwarding import PIECE, QUIET_SECONDS, Place, reset

if TYPE_CHECKING:
    import asyncio

    from .aio.api import AsyncSandboxAPI
    from .aio.connections import AsyncPortConnection

__all__ = ["AsyncForward"]


class AsyncForward(Place):
    """A port of this machine that leads to one of a sandbox: `AsyncPorts.forward` returns it.

    A context manager that closes it.

    Args:
        client: Performs the calls.
        sandbox_id: ID of the sandbox.
        port: Port of the sandbox.
        local_port: Port of this machine; 0 for any that is free.
        host: Address of this machine to listen on.

    Raises:
        InvalidArgumentError: A port is out of range.
    """

    def __init__(
        self, client: AsyncSandboxAPI, sandbox_id: str, port: int, local_port: int, host: str
    ) -> None:
        super().__init__(sandbox_id, port, local_port, host)
        self._client = client
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            OSError: It cannot listen there.
        """
        import asyncio

        self._server = await asyncio.start_server(self._accept, sock=self._listen(), limit=PIECE)

    async def close(self) -> None:
        """Listen no longer, and end every connection. Idempotent."""
        import asyncio

        if self._server is not None:
            self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with await self._client.connect_port(self.sandbox_id, self.port) as connection:
                await self._exchange(connection, reader, writer)
        except SandboxError as error:
            self._failed(error)
            reset(writer.get_extra_info("socket"))
        except ConnectionError:
            # The local program has gone.
            pass
        finally:
            writer.close()

    async def _exchange(
        self, connection: AsyncPortConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        import asyncio

        sending = asyncio.create_task(_send_all(connection, reader))
        try:
            async for data in connection:
                writer.write(data)
                await writer.drain()
            writer.write_eof()
            await connection.wait_closed()
            await asyncio.wait({sending})
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled():
                sending.exception()


async def _send_all(connection: AsyncPortConnection, reader: asyncio.StreamReader) -> None:
    """Send what a local program sends, and its end."""
    try:
        while data := await reader.read(PIECE):
            await connection.send(_burst(data, reader))
        await connection.end()
    except (SandboxError, OSError):
        # Whoever receives is told.
        with contextlib.suppress(SandboxError):
            await connection.disconnect()


async def _burst(data: bytes, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield what comes, until nothing comes for a while."""
    import asyncio

    while data:
        yield data
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                data = await reader.read(PIECE)
        except TimeoutError:
            return

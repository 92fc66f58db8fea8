"""A connection to a port of a sandbox, as an object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from types import TracebackType
from typing import Any, Self

from ...options import NOT_GIVEN, NotGiven
from ..delegation import Delegate

__all__ = ["AsyncPortConnection"]


class AsyncPortConnection(Delegate):
    """A connection to a TCP port of a sandbox: `connect_port` returns it.

    It is an iterator of what the program in the sandbox sends, which ends once the program closes its side,
    and a context manager that ends the connection. While one task receives, another one may send.

    Args:
        client: Performs the calls.
        sandbox_id: ID of the sandbox.
        connection_id: ID of the connection.
        received: What the program sends.

    Attributes:
        connection_id: ID of the connection.
    """

    def __init__(
        self,
        client: Any,
        sandbox_id: str,
        connection_id: str,
        received: AsyncGenerator[bytes, None],
    ) -> None:
        super().__init__(client, sandbox_id, connection_id)
        self.connection_id = connection_id
        self._received = received
        self._has_ended = False

    async def receive(self) -> bytes:
        """Return what the program sends next, of any size; no bytes once it has closed its side.

        The other side stays open: what is sent afterwards still reaches the program.

        Raises:
            PortClosedError: The connection broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        data = b"" if self._has_ended else await anext(self._received, b"")
        self._has_ended = not data
        return data

    async def send(
        self,
        data: bytes | AsyncIterable[bytes],
        *,
        end: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> None:
        """Send bytes, and return once the program has read most of them.

        Args:
            data: The bytes, or an iterable of them in pieces of any size.
            end: Whether nothing is sent after that. The program reads the end then.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            PortClosedError: The connection has ended.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        chunks = _once(data) if isinstance(data, bytes) else data
        await self._client.send_to_port(*self._ids, chunks, end=end, timeout=timeout)

    async def end(self) -> None:
        """Send the end: the program reads it, and may still answer.

        Raises:
            PortClosedError: The connection has ended.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        await self.send(b"", end=True)

    async def wait_closed(self) -> None:
        """Return once both sides are closed. What the program still sends is discarded.

        Raises:
            PortClosedError: The connection broke off.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        async for _ in self._received:
            pass

    async def disconnect(self) -> None:
        """End the connection at once, also while another task receives. Idempotent."""
        await self._client.disconnect_port(*self._ids)

    async def close(self) -> None:
        """Leave the connection, which ends it. Idempotent."""
        await self._received.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.receive():
            return data
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data

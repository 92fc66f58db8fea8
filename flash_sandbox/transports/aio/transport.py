"""The one loop of every call: attempts, their errors, and the delays between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from typing import Any, ClassVar, Protocol, TypeVar

from ...address import Address
from ...errors import SandboxError
from ...operations import Operation
from ...options import CallOptions
from ...tracing import TransportName
from ..call import Call
from .chunks import AsyncChunks

__all__ = ["AsyncTransport", "AsyncWire"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class AsyncWire(Protocol):
    """Makes one attempt of a call over one protocol."""

    name: ClassVar[TransportName]
    address: Address

    async def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        ...

    def stream(self, call: Call[Any, Res]) -> AsyncGenerator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        ...

    async def send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        ...

    def translate(self, call: Call[Any, Any], failure: Exception) -> SandboxError | None:
        """Return the error that `failure` of an attempt means; None if it is no failure of the wire."""
        ...

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        ...


class AsyncTransport:
    """Perform operations over a wire, and retry what may be retried.

    Args:
        wire: Makes each attempt.

    Attributes:
        name: Protocol of the wire.
        address: Where the orchestrator listens.
    """

    def __init__(self, wire: AsyncWire) -> None:
        self.name = wire.name
        self.address = wire.address
        self._wire = wire

    async def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation.

        Raises:
            SandboxError: It failed; no other exception is raised but that of a cancellation.
        """
        call = Call(operation, request, options)
        while True:
            try:
                return await self._wire.call(call)
            except Exception as failure:
                delay = self._delay_after(call, failure)
            await asyncio.sleep(delay)

    async def stream(
        self,
        operation: Operation[Req, Res],
        request: Req,
        options: CallOptions,
        going_on: Callable[[Req, Res], Req] | None = None,
    ) -> AsyncGenerator[Res, None]:
        """Perform an operation whose answer is a stream.

        It is retried before its first message; after that only with `going_on`, which returns the request
        that goes on after a message. The timeout bounds the time to the first message of each attempt.
        Closing the generator abandons the rest.

        Raises:
            SandboxError: It failed or broke off; no other exception is raised but that of a cancellation.
        """
        call = Call(operation, request, options, going_on)
        while True:
            call.open()
            try:
                async with aclosing(self._wire.stream(call)) as messages:
                    async for message in messages:
                        if call.is_new(message):
                            yield message
                return
            except Exception as failure:
                delay = self._delay_after(call, failure)
            await asyncio.sleep(delay)

    async def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: AsyncIterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request continues with a stream; retry only before that has begun.

        Raises:
            SandboxError: It failed; otherwise what `chunks` raises.
        """
        call = Call(operation, request, options)
        content = AsyncChunks(chunks)
        while True:
            call.limit = call.patience
            try:
                return await self._wire.send(call, content)
            except Exception as failure:
                if content.failure is not None:
                    raise content.failure from None
                delay = self._delay_after(call, failure, final=content.begun)
            await asyncio.sleep(delay)

    def _delay_after(self, call: Call[Any, Any], failure: Exception, *, final: bool = False) -> float:
        """Return the seconds to wait before the next attempt; raise what `failure` means if it is final."""
        call.attempts.let_pass(failure)
        error = self._wire.translate(call, failure)
        if error is None:
            raise failure
        error.transport = error.transport or self.name
        error.operation = error.operation or call.operation.name
        delay = call.after(error, final=final)
        if delay is None:
            error = call.cause(error)
            raise error from (failure if failure is not error else failure.__cause__)
        return delay

    async def close(self) -> None:
        """Close the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        await self._wire.close()

"""Operations over gRPC, awaited: by grpclib, in the caller's event loop."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

from betterproto2 import Message

from ..codecs.grpc import decode_result, encode_request
from ..errors import ClientClosedError, ProtocolError, SandboxConnectionError, SandboxError
from ..operations import KEEPALIVE, Operation
from .aio.chunks import AsyncChunks
from .call import Call
from .channel import Channel, StubCall, WireDeadline
from .grpc_base import GRPCBase
from .grpc_streams import Received
from .retry import Deadline, lost_answer, lost_stream
from .signal_handlers import raised_by_handler
from .waiting import running_loop, within

__all__ = ["AsyncGRPCWire"]

Res = TypeVar("Res")


class AsyncGRPCWire(GRPCBase):
    """Perform operations over one gRPC channel, in one event loop.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
    """

    _channel: Channel | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        running_loop()
        # In a task of its own: grpclib cancels the task of a call whose connection is lost, and does not
        # take that back, which would break the time-outs and task groups of the caller.
        return await within(call.deadline, lambda: asyncio.create_task(self._call(call)))

    async def stream(self, call: Call[Any, Res]) -> AsyncGenerator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        running_loop()
        received: Received[Res] = Received()
        task = asyncio.create_task(self._receive(call, received))
        try:
            batch = await within(call.deadline, received.take)
            while batch:
                for piece in batch:
                    yield piece
                batch = await received.take()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        running_loop()
        return await asyncio.create_task(self._send(call, chunks))

    async def _call(self, call: Call[Any, Res]) -> Res:
        operation, deadline = call.operation, call.deadline
        message, metadata = encode_request(operation, call.request), self._metadata_for(call)
        channel = await self._connected()
        remaining = deadline.remaining()
        limit = None if remaining is None else WireDeadline.from_timeout(remaining)
        made = StubCall(channel)
        with self._translating(operation, made, deadline):
            method = getattr(made.stub, operation.name)
            answer = await _answer_of(method(message, deadline=limit, metadata=metadata))
        return self._concluded(operation, made, answer)

    async def _receive(self, call: Call[Any, Res], received: Received[Res]) -> None:
        """Perform a call whose answer is a stream, and hand over what comes, or the error."""
        operation, metadata = call.operation, self._metadata_for(call)
        try:
            channel = await self._connected()
            made = StubCall(channel, call.patience)
            message = encode_request(operation, call.request)
            complete = operation.streams == "bytes"
            answers = getattr(made.stub, operation.name)(message, metadata=metadata)
            with self._translating(operation, made, call.deadline):
                async with aclosing(answers):
                    async for answer in answers:
                        piece = decode_result(operation, answer)
                        complete = complete or operation.is_last(piece)
                        if getattr(piece, "type", "") != KEEPALIVE:
                            await received.put(piece)
            if not (made.concluded and complete):
                raise lost_stream(operation)
            received.finish(None)
        except SandboxError as error:
            received.finish(error)
        except BaseException as error:
            received.finish(ClientClosedError(f"the stream was given up: {error!r}"))
            raise

    async def _send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        operation, deadline = call.operation, call.deadline
        message, metadata = encode_request(operation, call.request), self._metadata_for(call)
        channel = await within(deadline, self._connected)
        made = StubCall(channel, call.patience)
        with self._translating(operation, made, deadline):
            async with aclosing(_messages(message, chunks, made)) as messages:
                method = getattr(made.stub, operation.name)
                answer = await _answer_of(method(messages, metadata=metadata))
        return self._concluded(operation, made, answer)

    async def _connected(self) -> Channel:
        channel = self._channel_here()
        try:
            await channel.connect()
        except OSError as error:
            detail = f"cannot connect to {self.address}: {error}"
            raise SandboxConnectionError(detail) from error
        return channel

    @contextmanager
    def _translating(
        self, operation: Operation[Any, Any], made: StubCall, deadline: Deadline
    ) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if raised_by_handler(error):
                raise
            translated = self._translated(operation, error, made, deadline)
            if translated is error:
                raise
            raise translated from error

    def _concluded(self, operation: Operation[Any, Res], made: StubCall, answer: Message | None) -> Res:
        if not made.concluded:
            raise lost_answer(operation, f"the connection to {self.address} was lost")
        if answer is None:
            raise ProtocolError("the answer has no message")
        return decode_result(operation, answer)

    def _channel_here(self) -> Channel:
        self._refuse_if_closed()
        loop = running_loop()
        if self._channel is None:
            self._loop, self._channel = loop, Channel(self.address, self._context)
        elif self._loop is not loop:
            raise ClientClosedError("this client belongs to another event loop; make one in each loop")
        return self._channel

    async def close(self) -> None:
        """Release the connection, finally. Closing twice does nothing."""
        self._closed = True
        # The connection of another loop cannot be closed from here.
        if self._channel is not None and running_loop() is self._loop:
            await self._channel.disconnect()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or self._channel is None or self._loop is None:
            return
        if not self._loop.is_closed():
            # This may be any thread, the channel's is another.
            self._loop.call_soon_threadsafe(self._channel.close)
        warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


async def _answer_of(made: Awaitable[Message]) -> Message | None:
    """Return the answer, or None where it has no message, which the generated stub asserts."""
    try:
        return await made
    except AssertionError:
        return None


async def _messages(first: Message, chunks: AsyncChunks, made: StubCall) -> AsyncGenerator[Message, None]:
    """Yield the messages of a request until the server has answered."""
    yield first
    message_class: Any = type(first)
    async for chunk in chunks:
        if made.answered:
            return
        yield message_class(data=chunk)

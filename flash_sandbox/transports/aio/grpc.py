"""Operations over gRPC, by the generated stub."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from betterproto2 import Message

from ...address import Address
from ...codecs.grpc import decode_result, encode_request
from ...operations import KEEPALIVE
from ..base import Metadata
from ..call import Call
from ..grpc_base import GRPCBase
from ..grpclib_channel import AsyncChannel, AsyncStubCall
from ..retry import lost_stream
from ..signal_handlers import raised_by_handler
from .chunks import AsyncChunks

if TYPE_CHECKING:
    from ..base import AsyncGRPCChannel
    from ..grpcio_channel import AsyncGivenCall

__all__ = ["AsyncGRPCWire"]

Res = TypeVar("Res")

_PART_BYTES: Final = 1024 * 1024


class AsyncGRPCWire(GRPCBase):
    """Perform operations by the generated stub.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
        channel: Makes the calls, and is not closed; None to make one.
    """

    _channel: AsyncChannel | None = None
    _attempt: Callable[..., AsyncStubCall | AsyncGivenCall]

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        context: ssl.SSLContext | bool | None = None,
        metadata: Metadata = (),
        channel: AsyncGRPCChannel | None = None,
    ) -> None:
        super().__init__(address, api_key, context, metadata)
        if channel is None:
            self._channel = AsyncChannel(address, self._context)
            self._attempt = partial(AsyncStubCall, self._channel)
        else:
            from ..grpcio_channel import AsyncGivenCall

            self._attempt = partial(AsyncGivenCall, channel, address)

    async def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        message = encode_request(call.operation, call.request)
        with self._begun(call) as made:
            return decode_result(call.operation, await made.call(message))

    async def stream(self, call: Call[Any, Res]) -> AsyncGenerator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        operation = call.operation
        message = encode_request(operation, call.request)
        complete = operation.streams == "bytes"
        with self._begun(call) as made:
            async with aclosing(made.stream(message)) as answers:
                async for answer in answers:
                    piece = decode_result(operation, answer)
                    complete = complete or operation.is_last(piece)
                    if getattr(piece, "type", "") != KEEPALIVE:
                        call.limit = call.patience
                        yield piece
            if not complete:
                raise lost_stream(operation)

    async def send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        first = encode_request(call.operation, call.request)
        with self._begun(call) as made:
            async with aclosing(_messages(first, chunks, made)) as messages:
                return decode_result(call.operation, await made.send(messages))

    @contextmanager
    def _begun(self, call: Call[Any, Any]) -> Iterator[AsyncStubCall | AsyncGivenCall]:
        self._refuse_if_closed()
        made = self._attempt(call, self._metadata_for(call))
        try:
            yield made
        except Exception as error:
            if raised_by_handler(error):
                raise
            translated = self._translated(call, error, made.sent, made.told)
            if translated is error:
                raise
            raise translated from error

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()


async def _messages(
    first: Message, chunks: AsyncChunks, made: AsyncStubCall | AsyncGivenCall
) -> AsyncGenerator[Message, None]:
    """Yield the messages of a request until the server has answered."""
    yield first
    message_class: Any = type(first)
    async for chunk in chunks:
        # A server takes messages of a few MiB.
        for begin in range(0, len(chunk), _PART_BYTES):
            if made.answered:
                return
            yield message_class(data=chunk[begin : begin + _PART_BYTES])

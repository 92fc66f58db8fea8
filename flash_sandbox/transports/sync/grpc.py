# Derived from flash_sandbox/transports/aio/grpc.py by `python -m codegen`; do not edit.
"""Operations over gRPC, by the generated stub."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from betterproto2 import Message

from ...address import Address
from ...codecs.grpc import decode_result, encode_request
from ...operations import KEEPALIVE
from ..base import Metadata
from ..call import Call
from ..grpc_base import GRPCBase
from ..http2_channel import Channel, StubCall
from ..retry import lost_stream
from ..signal_handlers import raised_by_handler
from .chunks import Chunks

if TYPE_CHECKING:
    from ..base import GRPCChannel
    from ..grpcio_channel import GivenCall

__all__ = ["GRPCWire"]

Res = TypeVar("Res")

_PART_BYTES: Final = 1024 * 1024


class GRPCWire(GRPCBase):
    """Perform operations by the generated stub.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
        channel: Makes the calls, and is not closed; None to make one.
    """

    _channel: Channel | None = None
    _attempt: Callable[..., StubCall | GivenCall]

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        context: ssl.SSLContext | bool | None = None,
        metadata: Metadata = (),
        channel: GRPCChannel | None = None,
    ) -> None:
        super().__init__(address, api_key, context, metadata)
        if channel is None:
            self._channel = Channel(address, self._context)
            self._attempt = partial(StubCall, self._channel)
        else:
            from ..grpcio_channel import GivenCall

            self._attempt = partial(GivenCall, channel, address)

    def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        message = encode_request(call.operation, call.request)
        with self._begun(call) as made:
            return decode_result(call.operation, made.call(message))

    def stream(self, call: Call[Any, Res]) -> Generator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        operation = call.operation
        message = encode_request(operation, call.request)
        complete = operation.streams == "bytes"
        with self._begun(call) as made:
            with closing(made.stream(message)) as answers:
                for answer in answers:
                    piece = decode_result(operation, answer)
                    complete = complete or operation.is_last(piece)
                    if getattr(piece, "type", "") != KEEPALIVE:
                        call.limit = call.patience
                        yield piece
            if not complete:
                raise lost_stream(operation)

    def send(self, call: Call[Any, Res], chunks: Chunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        first = encode_request(call.operation, call.request)
        with self._begun(call) as made:
            with closing(_messages(first, chunks, made)) as messages:
                return decode_result(call.operation, made.send(messages))

    @contextmanager
    def _begun(self, call: Call[Any, Any]) -> Iterator[StubCall | GivenCall]:
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

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()


def _messages(first: Message, chunks: Chunks, made: StubCall | GivenCall) -> Generator[Message, None]:
    """Yield the messages of a request until the server has answered."""
    yield first
    message_class: Any = type(first)
    for chunk in chunks:
        # A server takes messages of a few MiB.
        for begin in range(0, len(chunk), _PART_BYTES):
            if made.answered:
                return
            yield message_class(data=chunk[begin : begin + _PART_BYTES])

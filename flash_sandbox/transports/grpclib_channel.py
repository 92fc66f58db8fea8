"""A gRPC channel on grpclib, in an event loop."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar, cast

import grpclib.client
from flash_sandbox_grpc import SandboxServiceStub
from flash_sandbox_grpc.sync_stub import Metadata
from grpclib.const import Cardinality
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from multidict import MultiDict

from ..address import Address
from ..codecs.grpc import CLIENT_CODEC, ErrorDetailsCodec
from ..errors import ClientClosedError, ProtocolError, SandboxConnectionError
from .call import Call
from .grpclib_connection import Protocol
from .grpclib_stream import Stream, WireDeadline
from .http2_connection import NOT_HTTP2
from .retry import Limit, lost_answer, lost_stream
from .waiting import running_loop, within

__all__ = ["AsyncChannel", "AsyncStubCall"]

T = TypeVar("T")

# Messages of a stream that are taken from the connection ahead of the reader.
_AHEAD: Final = 8
_DETAILS_CODEC: Final = ErrorDetailsCodec()


class _Channel(grpclib.client.Channel):
    """One HTTP/2 connection, made when the first call needs it and made again after it was lost.

    Args:
        address: Where the orchestrator listens.
        context: TLS settings; None for no TLS.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        if context is not None:
            # grpclib asks no context of another maker for HTTP/2, without which servers talk HTTP/1.
            context.set_alpn_protocols(["h2"])
        unix = address.unix_path is not None
        super().__init__(
            host=None if unix else address.host,
            port=None if unix else address.port,
            path=address.unix_path,
            ssl=context,
        )
        self._address = address
        self._context = context
        self._connecting = asyncio.Lock()
        self._current: Protocol | None = None
        self._left: list[Protocol] = []

    async def __connect__(self) -> H2Protocol:
        await self.connect()
        assert self._current is not None
        return self._current

    async def _new_connection(self) -> Protocol:
        if self._current is not None:
            # Calls may go on there.
            self._left.append(self._current)
        self._left = [each for each in self._left if not each.connection.is_closing()]
        address, loop = self._address, asyncio.get_running_loop()
        name = None if self._context is None else address.host
        if address.unix_path is not None:
            _, protocol = await loop.create_unix_connection(
                Protocol, address.unix_path, ssl=self._context, server_hostname=name
            )
        else:
            _, protocol = await loop.create_connection(
                Protocol, address.host, address.port, ssl=self._context, server_hostname=name
            )
        if not protocol.agreed:
            protocol.processor.close(NOT_HTTP2)
            raise ConnectionError("the server does not speak HTTP/2 (ALPN)")
        if protocol.connection.is_closing():
            # It was lost before this task was told that it had been made.
            raise ConnectionError("the connection was closed as soon as it was made")
        return protocol

    async def connect(self) -> None:
        """Make the connection where there is none.

        Raises:
            SandboxConnectionError: It cannot be made.
        """
        if self._current is None or not self._current.usable:
            async with self._connecting:
                if self._current is None or not self._current.usable:
                    try:
                        self._current = await self._new_connection()
                    except OSError as error:
                        detail = f"cannot connect to {self._address}: {error}"
                        raise SandboxConnectionError(detail) from error

    async def disconnect(self) -> None:
        """End the connection, and return once its socket is closed."""
        protocols = self._protocols()
        self.close()
        for protocol in protocols:
            await protocol.until_lost()

    def _protocols(self) -> list[Protocol]:
        return self._left if self._current is None else [*self._left, self._current]

    def close(self) -> None:
        """End the connections, with the calls that go on."""
        for protocol in self._protocols():
            protocol.processor.close()
        self._current, self._left = None, []


class AsyncChannel:
    """A channel in the event loop of its first call.

    Args:
        address: Where the server listens.
        context: TLS settings; None for no TLS.
    """

    _made: _Channel | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _closed = False

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self.address = address
        self._context = context

    async def connected(self) -> _Channel:
        """Return the channel once it is connected.

        Raises:
            ClientClosedError: This is another event loop.
            SandboxConnectionError: It cannot be connected.
        """
        loop = running_loop()
        if self._made is None:
            self._loop, self._made = loop, _Channel(self.address, self._context)
        elif self._loop is not loop:
            raise ClientClosedError("this client belongs to another event loop; make one in each loop")
        await self._made.connect()
        return self._made

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        # The connection of another loop cannot be closed from here.
        if self._made is not None and running_loop() is self._loop:
            await self._made.disconnect()

    def __del__(self) -> None:
        if self._closed or self._made is None or self._loop is None:
            return
        if not self._loop.is_closed():
            # This may be any thread, the channel's is another.
            self._loop.call_soon_threadsafe(self._made.close)
        warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


class AsyncStubCall:
    """One attempt of a call: the channel that the generated stub gets.

    Args:
        channel: Where the call is made.
        call: The call.
        metadata: Headers that go with it.
    """

    def __init__(self, channel: AsyncChannel, call: Call[Any, Any], metadata: Metadata) -> None:
        self._channel = channel
        self._call = call
        self._limit: Limit | None = None
        self._open: _Channel | None = None
        self._made: Stream | None = None
        stub = SandboxServiceStub(cast(Any, self), metadata=metadata)
        self._method = getattr(stub, call.operation.name)

    async def call(self, message: Any) -> Any:
        """Return the answer to a message; the server is told of the deadline."""
        # In a task of its own: grpclib cancels the task of a call whose connection is lost, and does not
        # take that back, which would break the time-outs and task groups of the caller.
        return await within(self._call.deadline, lambda: asyncio.create_task(self._answer(message)))

    async def stream(self, message: Any) -> AsyncGenerator[Any, None]:
        """Yield the messages of the answer to a message."""
        running_loop()
        received: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
        task = asyncio.create_task(self._receive(message, received))
        try:
            while True:
                got = (
                    await within(self._call.limit, received.get)
                    if received.empty()
                    else received.get_nowait()
                )
                if isinstance(got, Exception):
                    raise got
                if got is None:
                    return
                yield got
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def send(self, messages: AsyncIterable[Any]) -> Any:
        """Return the answer to several messages."""
        running_loop()
        return await asyncio.create_task(self._answer_to_all(messages))

    async def _answer(self, message: Any) -> Any:
        self._open = await self._channel.connected()
        return await self._only(self._method(message, timeout=self._call.deadline.remaining()))

    async def _answer_to_all(self, messages: AsyncIterable[Any]) -> Any:
        self._open = await within(self._call.deadline, self._channel.connected)
        self._limit = self._call.limit
        return await self._only(self._method(messages))

    async def _only(self, answer: Awaitable[Any]) -> Any:
        try:
            message = await answer
        except AssertionError:
            # The stub asserts that there is one.
            message = None
        if not self._concluded:
            detail = f"the connection to {self._channel.address} was lost"
            raise lost_answer(self._call.operation, detail)
        if message is None:
            raise ProtocolError("the answer has no message")
        return message

    async def _receive(self, message: Any, received: asyncio.Queue[Any]) -> None:
        """Hand over what is answered, and then None, or the error."""
        try:
            self._open = await self._channel.connected()
            async with aclosing(self._method(message)) as answers:
                async for answer in answers:
                    await received.put(answer)
            if not self._concluded:
                raise lost_stream(self._call.operation)
            await received.put(None)
        except Exception as error:
            await received.put(error)
        except asyncio.CancelledError as error:
            # Nobody reads any more, or the event loop ends.
            with suppress(asyncio.QueueFull):
                received.put_nowait(ClientClosedError(f"the stream was given up: {error!r}"))
            raise

    def request(
        self,
        method: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None,
        deadline: Deadline | None,
        metadata: Any,
    ) -> Stream:
        """Begin the call; see `grpclib.client.Channel`."""
        assert self._open is not None
        self._made = Stream(
            self._open,
            self._channel.address.prefix + method,
            cast(Any, MultiDict(metadata or ())),
            cardinality,
            request_type,
            reply_type,
            codec=CLIENT_CODEC,
            status_details_codec=_DETAILS_CODEC,
            dispatch=cast(Any, _NO_EVENTS),
            deadline=None if timeout is None else WireDeadline.from_timeout(timeout),
        )
        self._made.limit = self._limit
        return self._made

    @property
    def sent(self) -> bool:
        """Tell whether any of the request may have reached the server."""
        return self._made is not None and self._made.sent

    @property
    def told(self) -> Mapping[str, Any] | None:
        """Return what came with the answer besides its messages."""
        return None if self._made is None else self._made.told

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return self._made is not None and self._made.answered

    @property
    def _concluded(self) -> bool:
        """Tell whether the server has said how the call ended."""
        return self._made is not None and self._made.trailing_metadata is not None


class _NoEvents:
    """Change nothing in a call: grpclib lets a listener do that."""

    async def send_request(self, value: T, **told: object) -> tuple[T]:
        return (value,)

    send_message = recv_message = recv_initial_metadata = recv_trailing_metadata = send_request


_NO_EVENTS: Final = _NoEvents()

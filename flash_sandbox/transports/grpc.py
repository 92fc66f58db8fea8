"""Operations over gRPC, by grpclib: asynchronous, and synchronous on the shared loop thread."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import uuid
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, contextmanager
from typing import Any, Final, Generic, TypeVar

import grpclib.exceptions
import h2.exceptions
from betterproto2 import Message
from grpclib.const import Cardinality

from ..address import Address
from ..codecs.grpc import decode_error, decode_result, encode_request, message_classes, method_path
from ..errors import (
    ClientClosedError,
    InvalidArgumentError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
)
from ..operations import KEEPALIVE, Operation
from ..options import CallOptions
from .base import Metadata
from .channel import NOT_HTTP2, Channel, Stream, WireDeadline, was_refused
from .chunks import AsyncChunks
from .grpc_streams import Received, patiently
from .loop_thread import loop_thread
from .retry import Attempts, Deadline, lost_answer, lost_stream
from .tls import default_context

__all__ = ["AsyncGRPCTransport", "GRPCTransport"]

Req = TypeVar("Req")
Res = TypeVar("Res")
T = TypeVar("T")

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]+")
_RESERVED: Final = ("te", "content-type", "user-agent")

# Channels of the parent process: kept, untouched, so that they are not closed in the child.
_inherited: Final[list[Channel]] = []


class AsyncGRPCTransport:
    """Perform operations over one gRPC channel, in one event loop.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
    """

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        context: ssl.SSLContext | bool | None = None,
        metadata: Metadata = (),
        *,
        changes_loop: bool = False,
    ) -> None:
        self.address = address
        self._context = context if isinstance(context, ssl.SSLContext) else None
        if address.tls and self._context is None:
            self._context = default_context()
        self._metadata = _checked(metadata)
        if api_key is not None:
            self._metadata.append(("authorization", f"Bearer {api_key}"))
        self._changes_loop = changes_loop
        self._closed = False
        self._channel: Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()

    async def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow."""
        deadline = Deadline(options.timeout)
        attempts = Attempts(operation, options, deadline)
        message = encode_request(operation, request)
        metadata = self._metadata
        if operation.keyed:
            metadata = [*metadata, ("idempotency-key", uuid.uuid4().hex)]
        while True:
            try:
                return await self._attempt(operation, message, metadata, deadline)
            except SandboxError as error:
                _tell(error, operation)
                delay = attempts.delay_after(error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    async def stream(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> AsyncGenerator[Res]:
        """Perform an operation whose answer is a stream; it is repeated only before it has begun."""
        async with aclosing(self.batches(operation, request, options)) as batches:
            async for batch in batches:
                for piece in batch:
                    yield piece

    async def batches(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> AsyncGenerator[list[Res]]:
        """Do the same, and yield together what has come meanwhile."""
        deadline = Deadline(options.timeout)
        attempts = Attempts(operation, options, deadline)
        message = encode_request(operation, request)
        begun = False
        while True:
            received: Received[Res] = Received()
            call = asyncio.create_task(self._receive(operation, message, received, deadline))
            try:
                batch = await self._in_time(received.take, deadline)
                while batch:
                    begun = True
                    yield batch
                    batch = await received.take()
                return
            except SandboxError as error:
                _tell(error, operation)
                delay = None if begun else attempts.delay_after(error)
                if delay is None:
                    raise
            finally:
                call.cancel()
                await asyncio.wait({call})
            await asyncio.sleep(delay)

    async def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: AsyncIterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request goes on with a stream; repeated only before that has begun."""
        deadline = Deadline(options.timeout)
        attempts = Attempts(operation, options, deadline)
        message = encode_request(operation, request)
        more = AsyncChunks(chunks)
        while True:
            try:
                return await asyncio.create_task(self._send(operation, message, more, deadline))
            except SandboxError as error:
                if more.failure is not None:
                    raise more.failure from None
                _tell(error, operation)
                delay = None if more.begun else attempts.delay_after(error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    async def _attempt(
        self,
        operation: Operation[Req, Res],
        message: Message,
        metadata: list[tuple[str, str]],
        deadline: Deadline,
    ) -> Res:
        # In a task of its own: grpclib cancels the task of a call whose connection is lost, and does not
        # take that back, which would break the time-outs and task groups of the caller.
        return await self._in_time(
            lambda: asyncio.create_task(self._call(operation, message, metadata, deadline)), deadline
        )

    async def _in_time(self, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        remaining = deadline.remaining()
        try:
            async with asyncio.timeout(remaining):
                return await work()
        except SandboxError:
            raise
        except TimeoutError as error:
            raise deadline.passed() from error

    async def _call(
        self,
        operation: Operation[Req, Res],
        message: Message,
        metadata: list[tuple[str, str]],
        deadline: Deadline,
    ) -> Res:
        channel = await self._connected()
        remaining = deadline.remaining()
        limit = None if remaining is None else WireDeadline.from_timeout(remaining)
        stream = channel.call(method_path(operation), message_classes(operation), limit, metadata)
        answer = None
        with self._translating(operation, stream, deadline):
            async with stream:
                await stream.send_message(message, end=True)
                answer = await stream.recv_message()
        return self._concluded(operation, stream, answer)

    async def _receive(
        self,
        operation: Operation[Any, Res],
        message: Message,
        received: Received[Res],
        deadline: Deadline,
    ) -> None:
        """Perform a call whose answer is a stream, and hand over what comes, or the error."""
        try:
            channel = await self._connected()
            stream = channel.call(
                method_path(operation),
                message_classes(operation),
                None,
                self._metadata,
                Cardinality.UNARY_STREAM,
            )
            complete = operation.streams == "bytes"
            with self._translating(operation, stream, deadline):
                async with stream:
                    await stream.send_message(message, end=True)
                    while (answer := await patiently(stream.recv_message())) is not None:
                        piece = decode_result(operation, answer)
                        complete = complete or operation.is_last(piece)
                        if getattr(piece, "type", "") != KEEPALIVE:
                            await received.put(piece)
            if stream.trailing_metadata is None or not complete:
                raise lost_stream()
            received.finish(None)
        except SandboxError as error:
            received.finish(error)
        except BaseException as error:
            received.finish(ClientClosedError(f"the stream was given up: {error!r}"))
            raise

    async def _send(
        self, operation: Operation[Any, Res], message: Message, chunks: AsyncChunks, deadline: Deadline
    ) -> Res:
        channel = await self._connected()
        classes = message_classes(operation)
        stream = channel.call(method_path(operation), classes, None, self._metadata, Cardinality.STREAM_UNARY)
        answer = None
        with self._translating(operation, stream, deadline):
            async with stream:
                try:
                    await stream.send_message(message)
                    async for chunk in chunks:
                        if stream.answered:
                            break
                        await patiently(stream.send_message(classes[0](data=chunk)))
                    else:
                        await stream.end()
                except h2.exceptions.NoSuchStreamError as error:
                    # The server has ended the call before all was sent. grpclib tells its answer then.
                    raise grpclib.exceptions.StreamTerminatedError(str(error)) from error
                answer = await patiently(stream.recv_message())
        return self._concluded(operation, stream, answer)

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
        self, operation: Operation[Any, Any], stream: Stream, deadline: Deadline
    ) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            translated = self._translated(operation, error, stream, deadline)
            if translated is error:
                raise
            raise translated from error

    def _concluded(self, operation: Operation[Any, Res], stream: Stream, answer: Message | None) -> Res:
        if stream.trailing_metadata is None:
            raise lost_answer(operation, f"the connection to {self.address} was lost")
        if answer is None:
            raise ProtocolError("the answer has no message")
        return decode_result(operation, answer)

    def _translated(
        self, operation: Operation[Any, Any], error: Exception, stream: Stream, deadline: Deadline
    ) -> SandboxError:
        if isinstance(error, SandboxError):
            return error
        if isinstance(error, grpclib.exceptions.GRPCError):
            return decode_error(operation.name, error, stream.trailing_metadata or stream.initial_metadata)
        if self._closed:
            return ClientClosedError("the client was closed during the call")
        text = str(error) or type(error).__name__
        if isinstance(error, TimeoutError) and error.errno is None:
            return deadline.passed()
        lost = f"the connection to {self.address} was lost: {text}"
        if isinstance(error, grpclib.exceptions.StreamTerminatedError):
            if text == NOT_HTTP2:
                return ProtocolError("the answer is not HTTP/2")
            return SandboxConnectionError(lost) if was_refused(error) else lost_answer(operation, lost)
        if isinstance(error, OSError | h2.exceptions.H2Error):
            return lost_answer(operation, lost) if stream.sent else SandboxConnectionError(lost)
        return ProtocolError(f"unexpected answer: {text}")

    def _channel_here(self) -> Channel:
        if self._closed:
            raise ClientClosedError("the client was closed")
        loop = asyncio.get_running_loop()
        if self._loop is not loop and self._channel is not None:
            if not self._changes_loop:
                raise ClientClosedError("this client belongs to another event loop; make one in each loop")
            _inherited.append(self._channel)
            self._channel = None
        if self._channel is None:
            self._loop, self._process = loop, os.getpid()
            self._channel = Channel(self.address, self._context)
        return self._channel

    @property
    def opened(self) -> bool:
        """Tell whether there is a channel of this process to close."""
        return self._channel is not None and self._process == os.getpid()

    def mark_closed(self) -> None:
        """Refuse all further calls."""
        self._closed = True

    async def close(self) -> None:
        """Release the connection, finally. Closing twice does nothing."""
        self._closed = True
        await self.disconnect()

    async def disconnect(self) -> None:
        """End the connection, where it is one of this event loop."""
        if self._channel is not None and asyncio.get_running_loop() is self._loop:
            await self._channel.disconnect()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or not self.opened:
            return
        assert self._loop is not None
        assert self._channel is not None
        if not self._loop.is_closed():
            # This may be any thread, the channel's is another.
            self._loop.call_soon_threadsafe(self._channel.close)
        if not (self._changes_loop and sys.is_finalizing()):
            warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


class GRPCTransport:
    """Perform operations by an `AsyncGRPCTransport` on the loop thread of this process.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
    """

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        context: ssl.SSLContext | bool | None = None,
        metadata: Metadata = (),
    ) -> None:
        self.address = address
        # A forked child has another loop thread, where the channel is made anew.
        self._transport = AsyncGRPCTransport(address, api_key, context, metadata, changes_loop=True)

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow."""
        thread = loop_thread()
        thread.disconnect_at_stop(self._transport)
        return thread.run(self._transport.perform(operation, request, options))

    def stream(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> Generator[Res, None, None]:
        """Perform an operation whose answer is a stream; it is repeated only before it has begun."""
        thread = loop_thread()
        thread.disconnect_at_stop(self._transport)
        batches = _Batches(self._transport.batches(operation, request, options))
        try:
            while batch := thread.run(batches.take()):
                yield from batch
        finally:
            thread.run(batches.close())

    def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: Iterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request goes on with a stream; repeated only before that has begun."""
        thread = loop_thread()
        thread.disconnect_at_stop(self._transport)
        return thread.run_with(
            chunks, lambda handed: self._transport.send(operation, request, handed, options)
        )

    def close(self) -> None:
        """Release the connection, finally. Closing twice does nothing."""
        self._transport.mark_closed()
        if self._transport.opened:
            loop_thread().run(self._transport.close())


class _Batches(Generic[Res]):
    """The batches of one stream, taken by another thread, which may be interrupted while it waits."""

    def __init__(self, batches: AsyncGenerator[list[Res]]) -> None:
        self._batches = batches
        self._taking: asyncio.Task[Any] | None = None

    async def take(self) -> list[Res]:
        """Return the next one; an empty one at the end."""
        self._taking = asyncio.current_task()
        return await anext(self._batches, [])

    async def close(self) -> None:
        """Give up what has not come yet, and whoever still waits for it."""
        if self._taking is not None and not self._taking.done():
            self._taking.cancel()
            await asyncio.wait({self._taking})
        await self._batches.aclose()


def _tell(error: SandboxError, operation: Operation[Any, Any]) -> None:
    error.transport = error.transport or "grpc"
    error.operation = error.operation or operation.name


def _checked(metadata: Metadata) -> list[tuple[str, str]]:
    pairs = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    for name, value in pairs:
        if (
            not isinstance(name, str)
            or not _NAME.fullmatch(name)
            or name in _RESERVED
            or name.startswith("grpc-")
        ):
            raise InvalidArgumentError(f"metadata has the name {name!r}, which gRPC does not take")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise InvalidArgumentError(f"metadata {name!r} must be printable ASCII and not empty")
    return pairs

"""Calls by the generated stub over a grpcio channel that the caller gives.

Only a client that was given one imports this, so grpcio is loaded already.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import grpc  # type: ignore[import-untyped, unused-ignore]
from flash_sandbox_grpc.sync_stub import Channel, Metadata, SandboxServiceSyncStub
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ..address import Address
from ..codecs.grpc import ErrorDetailsCodec, parse_answer
from ..codecs.wire import dump_message
from ..errors import ClientClosedError, SandboxConnectionError, SandboxError
from .call import Call
from .retry import Limit, lost_answer
from .waiting import running_loop, within

__all__ = ["AsyncGivenCall", "GivenCall"]

_DETAILS: Final = ErrorDetailsCodec()
# What grpcio says where no server has answered.
_NOT_CONNECTED: Final = re.compile("failed to connect|errors resolving|DNS resolution failed|.*error code 7")
# The last one is all that grpc.aio says where a call ends while a message is being sent.
_LOST: Final = re.compile(
    "Stream removed|Socket closed|Connection reset|recvmsg:|.*GOAWAY|.*keepalive|Internal error from Core"
)
_HTTP_STATUS: Final = re.compile(r"Received http2 header with status: (\d{3})")


class _Futures:
    """Return a future from a call whose request is a stream, so that it can be cancelled."""

    def __init__(self, channel: Any) -> None:
        self.unary_unary = channel.unary_unary
        self.unary_stream = channel.unary_stream
        self._stream_unary = channel.stream_unary

    def stream_unary(self, *arguments: Any) -> Callable[..., Any]:
        return self._stream_unary(*arguments).future  # type: ignore[no-any-return]


class _Attempt:
    """One attempt of a call.

    Args:
        channel: Makes the call.
        address: Names the server in messages; its prefix goes before each method.
        call: The call.
        metadata: Headers that go with it.

    Attributes:
        sent: Whether any of the request may have reached the server.
        told: What came with the answer besides its messages.
    """

    sent = True

    def __init__(self, channel: Channel, address: Address, call: Call[Any, Any], metadata: Metadata) -> None:
        self.told: Mapping[str, Any] | None = None
        self._address = address
        self._call = call
        self._made: Any = None
        # grpcio would hide what the parser raises, so the answer is parsed later.
        stub = SandboxServiceSyncStub(
            channel, serialize=dump_message, parse=partial(partial, parse_answer), prefix=address.prefix
        )
        self._method = partial(getattr(stub, call.operation.name), metadata=metadata)

    @property
    def answered(self) -> bool:
        """Tell whether the call is over, as it may be with an error before all is sent."""
        return self._made is not None and bool(self._made.done())

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._failure(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # grpc.aio raises this where the channel is closed, too.
            raise ClientClosedError("the channel was closed during the call") from None
        except SandboxError:
            raise
        except (ValueError, grpc.aio.UsageError) as error:
            raise ClientClosedError(f"the channel was closed: {error}") from error

    def _failure(self, error: Any) -> Exception:
        """Return the error of ours, or of grpclib, that an error of grpcio means."""
        status, text = Status(error.code().value[0]), error.details() or ""
        self.told = dict(error.trailing_metadata() or ())
        if status is Status.DEADLINE_EXCEEDED and not self.told:
            return self._call.deadline.passed()
        if status is Status.CANCELLED and text.startswith("Channel closed"):
            return ClientClosedError("the channel was closed during the call")
        if _NOT_CONNECTED.match(text):
            return SandboxConnectionError(f"cannot connect to {self._address}: {text}")
        if _LOST.match(text):
            return lost_answer(self._call.operation, f"the connection to {self._address} was lost: {text}")
        if foreign := _HTTP_STATUS.match(text):
            # In grpclib's words, which `decode_error` knows.
            return GRPCError(Status.UNKNOWN, f"Received :status = {foreign[1]!r}")
        packed = self.told.get("grpc-status-details-bin")
        return GRPCError(status, text, None if packed is None else _DETAILS.decode(status, text, packed))


class GivenCall(_Attempt):
    """One attempt of a call over a ``grpc.Channel``."""

    def __init__(self, channel: Channel, *arguments: Any) -> None:
        super().__init__(_Futures(channel), *arguments)

    _timer: threading.Timer | None = None
    _exceeded: Limit | None = None

    def call(self, message: Any) -> Any:
        """Return the answer to a message; the server is told of the deadline."""
        with self._translating():
            return self._method(message, timeout=self._call.deadline.remaining())()

    def stream(self, message: Any) -> Generator[Any, None, None]:
        """Yield the messages of the answer to a message."""
        with self._translating():
            self._made = self._method(message)
            try:
                while True:
                    self._bound(self._call.limit)
                    answer = next(self._made, None)
                    self._unbound()
                    if answer is None:
                        return
                    yield answer()
            finally:
                self._unbound()
                self._made.cancel()

    def send(self, messages: Iterable[Any]) -> Any:
        """Return the answer to several messages."""
        with self._translating():
            self._made = self._method(self._watched(messages))
            try:
                return self._made.result()()
            except grpc.FutureCancelledError:
                raise self._failure(self._made) from None
            finally:
                self._unbound()
                self._made.cancel()

    def _watched(self, messages: Iterable[Any]) -> Iterator[Any]:
        """Yield messages, and bound what grpcio does in between."""
        limit: Limit = self._call.deadline
        for message in messages:
            self._bound(limit)
            yield message
            self._unbound()
            limit = self._call.limit
        self._bound(limit)

    def _bound(self, limit: Limit) -> None:
        """Cancel the call unless its next step ends within a limit."""
        self._unbound()
        remaining = limit.remaining()
        if remaining is not None:
            self._timer = threading.Timer(remaining, self._exceed, (limit,))
            self._timer.daemon = True
            self._timer.start()

    def _unbound(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _exceed(self, limit: Limit) -> None:
        self._exceeded = limit
        self._made.cancel()

    def _failure(self, error: Any) -> Exception:
        return super()._failure(error) if self._exceeded is None else self._exceeded.passed()


class AsyncGivenCall(_Attempt):
    """One attempt of a call over a ``grpc.aio.Channel``."""

    async def call(self, message: Any) -> Any:
        """Return the answer to a message; the server is told of the deadline."""
        running_loop()
        with self._translating():
            return (await self._method(message, timeout=self._call.deadline.remaining()))()

    async def stream(self, message: Any) -> AsyncGenerator[Any, None]:
        """Yield the messages of the answer to a message."""
        running_loop()
        with self._translating():
            self._made = self._method(message)
            answers = aiter(self._made)
            try:
                while (answer := await within(self._call.limit, partial(anext, answers, None))) is not None:
                    yield answer()
            finally:
                self._made.cancel()

    async def send(self, messages: AsyncIterable[Any]) -> Any:
        """Return the answer to several messages."""
        running_loop()
        with self._translating():
            made = self._made = self._method(None)
            limit: Limit = self._call.deadline
            try:
                # Once the call is over, what is still to be written is of no use.
                with suppress(asyncio.InvalidStateError):
                    async for message in messages:
                        await within(limit, partial(made.write, message))
                        limit = self._call.limit
                    await within(limit, made.done_writing)
                return (await within(limit, lambda: made))()
            finally:
                made.cancel()

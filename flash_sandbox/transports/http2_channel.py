"""A gRPC channel over blocking sockets, in the thread of the caller.

Neither an event loop nor another thread takes part, so a call works alike in a notebook, in a thread of a
pool and after a fork.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from flash_sandbox_grpc.sync_stub import Metadata, Parse, SandboxServiceSyncStub, Serialize
from grpclib.metadata import USER_AGENT, encode_timeout

from ..address import Address
from ..codecs.grpc import parse_answer
from ..codecs.wire import dump_message
from ..errors import ClientClosedError, SandboxConnectionError, SandboxError
from .call import Call
from .grpc_answer import PREFIX, Answer
from .grpc_base import wire_seconds
from .http2 import Connection, Headers
from .limits import MOST_IDLE, Room
from .retry import Limit
from .signal_handlers import raised_by_handler

__all__ = ["Channel", "StubCall"]


class Channel:
    """Connections to one server, each of which carries one call at a time.

    Args:
        address: Where the server listens.
        context: TLS settings; None for no TLS.

    Attributes:
        address: Where the server listens.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self.address = address
        self._context = context
        self._heads: dict[str, Headers] = {}
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._lock = threading.Lock()
        self._room = Room()
        self._process = os.getpid()
        self._inherited: list[Connection] = []
        self._closed = False

    def head(self, path: str) -> Headers:
        """Return the headers of every call of the method at `path`."""
        known = self._heads.get(path)
        if known is None:
            pairs = [
                (":method", "POST"),
                (":scheme", "https" if self.address.tls else "http"),
                (":path", path),
                (":authority", self.address.authority),
                ("te", "trailers"),
                ("content-type", "application/grpc+proto"),
                ("user-agent", USER_AGENT),
            ]
            known = self._heads[path] = _encoded(pairs)
        return known

    def acquire(self, limit: Limit) -> Connection:
        """Return a connection that no other call uses, once there may be another one; `release` it."""
        self._leave_the_parent()
        if not self._room.enter(limit.remaining()):
            raise limit.passed()
        try:
            return self._idle_one(limit) or self._new_one(limit)
        except BaseException:
            self._room.leave()
            raise

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next call, or close it."""
        self._put_back(connection)
        self._room.leave()

    def _idle_one(self, limit: Limit) -> Connection | None:
        while True:
            with self._lock:
                if self._closed:
                    raise ClientClosedError("the client was closed")
                if not self._idle:
                    return None
                connection = self._idle.pop()
                self._busy.add(connection)
            connection.limit = limit
            usable = False
            try:
                usable = connection.still_open()
            finally:
                if not usable:
                    self._put_back(connection)
            if usable:
                return connection

    def _new_one(self, limit: Limit) -> Connection:
        try:
            connection = Connection(self.address, self._context, limit)
        except SandboxError:
            # One that says that no time is left is an OSError, too.
            raise
        except OSError as error:
            if raised_by_handler(error):
                raise
            detail = f"cannot connect to {self.address}: {error}"
            raise SandboxConnectionError(detail) from error
        with self._lock:
            closed = self._closed
            self._busy.add(connection)
        if closed:
            self._put_back(connection)
            raise ClientClosedError("the client was closed during the call")
        return connection

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            kept = connection.idle and not self._closed and len(self._idle) < MOST_IDLE
            if kept:
                self._idle.append(connection)
        if not kept:
            connection.close()

    def _leave_the_parent(self) -> None:
        if self._process != os.getpid():
            # After a fork the connections belong to the parent. They are kept, untouched, and so is the
            # lock, which a thread of the parent may have held.
            self._inherited += [*self._idle, *self._busy]
            self._idle, self._busy = [], set()
            self._lock, self._room = threading.Lock(), Room()
            self._process = os.getpid()

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        if self._process != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
            for connection in self._busy:
                connection.abort()
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or not self._idle or self._process != os.getpid():
            return
        self.close()
        if not sys.is_finalizing():
            warnings.warn(f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2)


class StubCall:
    """One attempt of a call: the channel that the generated stub gets.

    Args:
        channel: Where the call is made.
        call: The call.
        metadata: Headers that go with it.

    Attributes:
        sent: Whether any of the request may have reached the server.
        told: What came with the answer besides its messages.
    """

    def __init__(self, channel: Channel, call: Call[Any, Any], metadata: Metadata) -> None:
        self.sent = False
        self.told: Mapping[str, str] | None = None
        self._channel = channel
        self._call = call
        stub = SandboxServiceSyncStub(
            self, serialize=dump_message, parse=parse_answer, prefix=channel.address.prefix
        )
        self._method = partial(getattr(stub, call.operation.name), metadata=metadata)
        self._connection: Connection | None = None

    def call(self, message: Any) -> Any:
        """Return the answer to a message; the server is told of the deadline."""
        return self._method(message, timeout=self._call.deadline.remaining())

    def stream(self, message: Any) -> Generator[Any, None, None]:
        """Yield the messages of the answer to a message."""
        yield from self._method(message)

    def send(self, messages: Iterable[Any]) -> Any:
        """Return the answer to several messages."""
        return self._method(messages)

    @property
    def answered(self) -> bool:
        """Tell whether the answer has begun, as it may do with an error before all is sent."""
        return self._connection is not None and self._connection.is_answered()

    def unary_unary(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call of `method`; see `grpc.Channel`."""

        def call(message: Any, **options: Any) -> Any:
            with self._begun(method, **options) as connection:
                _send(connection, request_serializer(message), end=True)
                return Answer(connection, self._call).only(response_deserializer)

        return call

    def unary_stream(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call whose answer is a stream."""

        def call(message: Any, **options: Any) -> Iterator[Any]:
            with self._begun(method, **options) as connection:
                _send(connection, request_serializer(message), end=True)
                answer = Answer(connection, self._call)
                while (data := answer.receive()) is not None:
                    yield response_deserializer(data)

        return call

    def stream_unary(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call whose request is a stream."""

        def call(messages: Iterable[Any], **options: Any) -> Any:
            with self._begun(method, **options) as connection:
                for message in messages:
                    _send(connection, request_serializer(message))
                if connection.headers is None:
                    connection.send(b"", end=True)
                return Answer(connection, self._call).only(response_deserializer)

        return call

    @contextmanager
    def _begun(self, path: str, metadata: Metadata, timeout: float | None) -> Iterator[Connection]:
        deadline = self._call.deadline
        connection = self._channel.acquire(deadline)
        try:
            headers = self._channel.head(path) + _encoded(metadata)
            remaining = None if timeout is None else deadline.remaining()
            if remaining is not None:
                headers += _encoded([("grpc-timeout", encode_timeout(wire_seconds(remaining)))])
            connection.limit = self._call.limit
            connection.request(headers)
            self._connection = connection
            yield connection
        finally:
            if self._connection is not None:
                self.sent, self.told = connection.sent, connection.trailers or connection.headers
            self._channel.release(connection)


def _send(connection: Connection, data: bytes, *, end: bool = False) -> None:
    connection.send(PREFIX.pack(False, len(data)) + data, end=end)


def _encoded(pairs: Metadata) -> Headers:
    return tuple(
        (name.encode("ascii"), value if isinstance(value, bytes) else value.encode("ascii"))
        for name, value in pairs
    )

"""Operations over gRPC, each in the thread of its caller: over blocking sockets.

Neither an event loop nor another thread takes part, so that a call costs a third less than by way of
grpclib, and works alike in a notebook, in a thread of a pool and after a fork.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..address import Address
from ..codecs.grpc import decode_result, encode_request, message_classes, method_path
from ..errors import SandboxConnectionError, SandboxError
from ..operations import KEEPALIVE
from .base import Metadata
from .call import Call
from .grpc_base import GRPCBase, replaced
from .grpc_call import GRPCCall, request_headers, time_limit
from .http2 import Connection, Headers
from .limits import MOST_CONNECTIONS, MOST_IDLE
from .retry import Limit, lost_stream
from .signal_handlers import raised_by_handler
from .sync.chunks import Chunks

__all__ = ["GRPCWire"]

Res = TypeVar("Res")


class GRPCWire(GRPCBase):
    """Perform operations over gRPC connections, of which each carries one call at a time.

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
        super().__init__(address, api_key, context, metadata)
        self._headers: dict[str, Headers] = {}
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        self._process = os.getpid()
        self._inherited: list[Connection] = []

    def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        message = encode_request(call.operation, call.request)
        with self._call(call, bounded=True) as begun:
            begun.send(message, end=True)
            return decode_result(call.operation, begun.receive_only())

    def stream(self, call: Call[Any, Res]) -> Generator[Res, None, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        operation = call.operation
        message = encode_request(operation, call.request)
        with self._call(call) as begun:
            begun.send(message, end=True)
            complete = operation.streams == "bytes"
            while (answer := begun.receive()) is not None:
                piece = decode_result(operation, answer)
                complete = complete or operation.is_last(piece)
                if getattr(piece, "type", "") != KEEPALIVE:
                    begun.connection.limit = call.patience
                    yield piece
            if not complete:
                raise lost_stream(operation)

    def send(self, call: Call[Any, Res], chunks: Chunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        operation = call.operation
        message = encode_request(operation, call.request)
        with self._call(call) as begun:
            begun.connection.limit = call.patience
            begun.send(message)
            for chunk in chunks:
                if begun.connection.is_answered():
                    break
                begun.send(message_classes(operation)[0](data=chunk))
            else:
                begun.end()
            return decode_result(operation, begun.receive_only())

    @contextmanager
    def _call(self, call: Call[Any, Any], *, bounded: bool = False) -> Iterator[GRPCCall]:
        """Make a call; `bounded` tells the server of the deadline."""
        operation, deadline = call.operation, call.deadline
        headers = self._headers_for(call)
        with self._connection(deadline) as connection:
            remaining = deadline.remaining() if bounded else None
            limited = headers if remaining is None else (*headers, time_limit(remaining))
            begun = GRPCCall(connection, limited, message_classes(operation)[1])
            try:
                yield begun
            except Exception as error:
                if raised_by_handler(error):
                    raise
                translated = self._translated(operation, error, begun, deadline)
                if translated is error:
                    raise
                raise translated from error

    def _headers_for(self, call: Call[Any, Any]) -> Headers:
        operation = call.operation
        known = self._headers.get(operation.name)
        if known is None:
            address = self.address
            known = self._headers[operation.name] = request_headers(
                "https" if address.tls else "http",
                address.authority,
                address.prefix + method_path(operation),
                self._metadata,
            )
        if not call.headers:
            return known
        more = [(name.encode("ascii"), value.encode("ascii")) for name, value in call.headers]
        return tuple(replaced(known, more))

    @contextmanager
    def _connection(self, limit: Limit) -> Iterator[Connection]:
        """Have a connection that no other call uses, once there may be another one."""
        self._leave_the_parent()
        room = self._room
        if not room.acquire(timeout=limit.remaining()):
            raise limit.passed()
        try:
            connection = self._idle_one(limit) or self._new_one(limit)
            try:
                yield connection
            finally:
                self._release(connection)
        finally:
            room.release()

    def _idle_one(self, limit: Limit) -> Connection | None:
        while True:
            self._refuse_if_closed()
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
                self._busy.add(connection)
            connection.limit = limit
            if connection.still_open():
                return connection
            self._release(connection)

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
            self._busy.add(connection)
        return connection

    def _release(self, connection: Connection) -> None:
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
            self._idle, self._busy, self._lock = [], set(), threading.Lock()
            self._room = threading.Semaphore(MOST_CONNECTIONS)
            self._process = os.getpid()

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
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
        if getattr(self, "_closed", True) or not getattr(self, "_idle", None):
            return
        if self._process == os.getpid():
            self.close()
            if not sys.is_finalizing():
                warnings.warn(
                    f"unclosed client of {self.address}", ResourceWarning, source=self, stacklevel=2
                )

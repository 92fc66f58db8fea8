"""Operations over gRPC, each in the thread of its caller: over blocking sockets.

Neither an event loop nor another thread takes part, so that a call costs a third less than by way of
grpclib, and works alike in a notebook, in a thread of a pool and after a fork.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..address import Address
from ..codecs.grpc import decode_result, encode_request, message_classes, method_path
from ..errors import SandboxConnectionError, SandboxError
from ..operations import KEEPALIVE, Operation
from ..options import CallOptions
from .base import Metadata
from .chunks import Chunks
from .grpc_base import GRPCBase, replaced
from .grpc_call import Call, request_headers, time_limit
from .http2 import Connection
from .http2_protocol import Headers
from .limits import MOST_CONNECTIONS, MOST_IDLE
from .retry import Attempts, Deadline, Limit, Patience, lost_stream
from .signal_handlers import raised_by_handler

__all__ = ["GRPCTransport"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class GRPCTransport(GRPCBase):
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

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation, repeating it as `options` allow."""
        attempts = Attempts(operation, options)
        deadline = attempts.deadline
        message = encode_request(operation, request)
        headers = self._headers_for(operation, options)
        while True:
            try:
                with self._call(operation, headers, deadline, bounded=True) as call:
                    call.send(message, end=True)
                    return decode_result(operation, call.receive_only())
            except SandboxError as error:
                delay = self._delay_after(error, attempts)
            time.sleep(delay)

    def stream(
        self, operation: Operation[Req, Res], request: Req, options: CallOptions
    ) -> Generator[Res, None, None]:
        """Perform an operation whose answer is a stream; it is repeated only before it has begun."""
        attempts = Attempts(operation, options)
        deadline = attempts.deadline
        message = encode_request(operation, request)
        headers = self._headers_for(operation, options)
        patience = Patience(operation)
        begun = False
        while True:
            try:
                with self._call(operation, headers, deadline) as call:
                    call.send(message, end=True)
                    complete = operation.streams == "bytes"
                    while (answer := call.receive()) is not None:
                        piece = decode_result(operation, answer)
                        complete = complete or operation.is_last(piece)
                        if getattr(piece, "type", "") != KEEPALIVE:
                            begun = True
                            call.connection.limit = patience
                            yield piece
                    if not complete:
                        raise lost_stream(operation)
                    return
            except SandboxError as error:
                delay = self._delay_after(error, attempts, final=begun)
            time.sleep(delay)

    def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: Iterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request goes on with a stream; repeated only before that has begun."""
        attempts = Attempts(operation, options)
        deadline = attempts.deadline
        message = encode_request(operation, request)
        headers = self._headers_for(operation, options)
        content, patience = Chunks(chunks), Patience(operation)
        while True:
            try:
                with self._call(operation, headers, deadline) as call:
                    call.connection.limit = patience
                    call.send(message)
                    for chunk in content:
                        if call.connection.is_answered():
                            break
                        call.send(message_classes(operation)[0](data=chunk))
                    else:
                        call.end()
                    return decode_result(operation, call.receive_only())
            except SandboxError as error:
                if content.failure is not None:
                    raise content.failure from None
                delay = self._delay_after(error, attempts, final=content.begun)
            time.sleep(delay)

    @contextmanager
    def _call(
        self,
        operation: Operation[Any, Any],
        headers: Headers,
        deadline: Deadline,
        *,
        bounded: bool = False,
    ) -> Iterator[Call]:
        """Make a call; `bounded` tells the server of the deadline."""
        with self._connection(deadline) as connection:
            remaining = deadline.remaining() if bounded else None
            limited = headers if remaining is None else (*headers, time_limit(remaining))
            call = Call(connection, limited, message_classes(operation)[1])
            try:
                yield call
            except Exception as error:
                if raised_by_handler(error):
                    raise
                translated = self._translated(operation, error, call, deadline)
                if translated is error:
                    raise
                raise translated from error

    def _headers_for(self, operation: Operation[Any, Any], options: CallOptions) -> Headers:
        known = self._headers.get(operation.name)
        if known is None:
            address = self.address
            known = request_headers(
                "https" if address.tls else "http",
                address.authority,
                address.prefix + method_path(operation),
                self._metadata_for(operation),
            )
            if not operation.keyed:
                self._headers[operation.name] = known
        if options.watch is None:
            return known
        more = [(name.encode("ascii"), value.encode("ascii")) for name, value in options.watch.headers()]
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

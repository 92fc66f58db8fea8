"""A network for httpcore whose time-outs are moments, so that they bound a call as a whole."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

import httpcore

from .addresses import first_connected
from .signal_handlers import raised_by_handler, reraise

__all__ = ["DeadlineBackend", "EachStep"]

_PART_BYTES: Final = 64 * 1024
_LONG_READ_BYTES: Final = 128 * 1024


class EachStep(float):
    """Seconds for each step of a stream, in place of a moment for the whole."""


class DeadlineBackend(httpcore.NetworkBackend):
    """Connects by httpcore's own backend, taking each time-out for the moment at which it passes.

    httpcore applies a time-out to each read, so that a server that sends a byte now and then would never
    meet it.
    """

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()
        self._streams: WeakSet[httpcore.NetworkStream] = WeakSet()
        self._lock = threading.Lock()

    def abort(self) -> None:
        """End every connection under the calls that other threads are waiting for."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            connection: socket.socket | None = stream.get_extra_info("socket")
            # It may have ended by itself. Of TLS, too, it is the socket below that is shut down.
            with suppress(OSError):
                if connection is not None:
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def keep(self, stream: httpcore.NetworkStream) -> None:
        """Take note of what `abort` ends, for as long as it is used."""
        with self._lock:
            self._streams.add(stream)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a TCP port."""

        def connect(address: str) -> httpcore.NetworkStream:
            left = _left(timeout, httpcore.ConnectTimeout)
            return self._backend.connect_tcp(address, port, left, local_address, socket_options)

        try:
            return _Stream(first_connected(host, port, connect), self)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Connect to a Unix socket."""
        # httpcore's own leaves the socket open where this fails.
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_left(timeout, httpcore.ConnectTimeout))
            connection.connect(path)
        except TimeoutError as error:
            connection.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            connection.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            connection.close()
            raise
        return _Stream(_UnixStream(connection), self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, backend: DeadlineBackend) -> None:
        self._stream = stream
        self._backend = backend
        self._is_long = False
        backend.keep(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # Of a long answer more than httpcore asks for: what it does for each read takes longer than the read.
        size = _LONG_READ_BYTES if self._is_long else max_bytes
        data = self._stream.read(size, _left(timeout, httpcore.ReadTimeout))
        self._is_long = len(data) >= max_bytes
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            # httpcore would take the time that is left for each part that the system takes.
            for begin in range(0, len(buffer), _PART_BYTES):
                part = buffer[begin : begin + _PART_BYTES]
                self._stream.write(part, _left(timeout, httpcore.WriteTimeout))
        except httpcore.WriteError as error:
            # After one of these httpcore goes on, and reads what the server may have answered already.
            if error.__cause__ is not None and raised_by_handler(error.__cause__):
                reraise(error.__cause__)
            raise

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _UnixStream(httpcore.NetworkStream):
    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(timeout)
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._socket if info == "socket" else None
        # What can be read from an idle connection is its end.
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return bool(selector.select(0))


def _left(at: float | None, passed: type[Exception]) -> float | None:
    if at is None or isinstance(at, EachStep):
        return at
    left = at - time.monotonic()
    if left <= 0:
        raise passed("the time-out has passed")
    return left

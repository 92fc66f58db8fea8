"""Ports of this machine that lead to ports of sandboxes, for the synchronous clients.

Bytes go to the sandbox by calls that each end after a while of silence, so that no proxy on the way waits for
the body of a request.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ..errors import SandboxError
from ..models.checks import integer

if TYPE_CHECKING:
    from .sync.api import SandboxAPI
    from .sync.connections import PortConnection

__all__ = ["PIECE", "QUIET_SECONDS", "Forward", "Place", "reset"]

LOGGER: Final = logging.getLogger("flash_sandbox.client")

PIECE: Final = 256 * 1024
"""Bytes that are read at once."""

QUIET_SECONDS: Final = 15.0
"""After so much silence of a local program, the call that sends its bytes ends."""

_BACKLOG: Final = 512
_RESET: Final = struct.pack("ii", 1, 0)


class Place:
    """Where a forward listens and leads to.

    Attributes:
        sandbox_id: ID of the sandbox.
        port: Port of the sandbox.
        host: Address of this machine that it listens on.
        local_port: Port of this machine that it listens on.
    """

    def __init__(self, sandbox_id: str, port: int, local_port: int, host: str) -> None:
        self.sandbox_id = sandbox_id
        self.port: int = integer("port", port, (1, 65535))
        self.local_port: int = integer("local_port", local_port, (0, 65535))
        self.host = host

    def _listen(self) -> socket.socket:
        """Return a socket that listens; raise OSError where that cannot be."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.local_port), family=family, backlog=_BACKLOG)
        self.local_port = listener.getsockname()[1]
        return listener

    def _failed(self, error: SandboxError) -> None:
        """Note that a connection failed."""
        LOGGER.warning("forward of port %d of sandbox %s: %s", self.port, self.sandbox_id, error)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host}:{self.local_port} to {self.port} of {self.sandbox_id!r})"


class Forward(Place):
    """A port of this machine that leads to one of a sandbox: `Ports.forward` returns it.

    A context manager that closes it. Each connection has two threads.

    Args:
        client: Performs the calls.
        sandbox_id: ID of the sandbox.
        port: Port of the sandbox.
        local_port: Port of this machine; 0 for any that is free.
        host: Address of this machine to listen on.

    Raises:
        InvalidArgumentError: A port is out of range.
    """

    def __init__(self, client: SandboxAPI, sandbox_id: str, port: int, local_port: int, host: str) -> None:
        super().__init__(sandbox_id, port, local_port, host)
        self._client = client
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: dict[socket.socket, PortConnection | None] = {}
        self._threads: set[threading.Thread] = set()
        self._is_closed = False

    def open(self) -> None:
        """Begin to listen.

        Raises:
            OSError: It cannot listen there.
        """
        self._listener = self._listen()
        self._start(self._accept_all, self._listener)

    def close(self) -> None:
        """Listen no longer, and end every connection. Idempotent."""
        with self._lock:
            self._is_closed = True
            connections = dict(self._open)
        if self._listener is not None:
            # To close it would not wake the thread that accepts.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        for local, connection in connections.items():
            _shut(local, socket.SHUT_RDWR)
            if connection is not None:
                with contextlib.suppress(SandboxError):
                    connection.disconnect()
        for thread in tuple(self._threads):
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=repr(self), daemon=True)
        self._threads.add(thread)
        thread.start()
        return thread

    def _accept_all(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    local, _ = listener.accept()
                except OSError:
                    return
                with self._lock:
                    if self._is_closed:
                        local.close()
                        return
                    self._open[local] = None
                self._start(self._carry, local)

    def _carry(self, local: socket.socket) -> None:
        with local:
            try:
                with self._client.connect_port(self.sandbox_id, self.port) as connection:
                    with self._lock:
                        self._open[local] = connection
                        if self._is_closed:
                            return
                    self._exchange(connection, local)
            except SandboxError as error:
                self._failed(error)
                reset(local)
            except OSError:
                # The local program has gone.
                pass
            finally:
                with self._lock:
                    del self._open[local]

    def _exchange(self, connection: PortConnection, local: socket.socket) -> None:
        local.settimeout(None)
        sending = self._start(_forward_all, connection, local)
        try:
            for data in connection:
                local.sendall(data)
            _shut(local, socket.SHUT_WR)
            connection.wait_closed()
        except OSError:
            # The local program has gone, which whoever sends may not see.
            connection.disconnect()
            raise
        finally:
            # Not both directions: one that broke off would look as if it had ended.
            _shut(local, socket.SHUT_RD)
            sending.join()


def _forward_all(connection: PortConnection, local: socket.socket) -> None:
    """Send what a local program sends, and its end."""
    try:
        while data := local.recv(PIECE):
            connection.send(_burst_of(data, local))
        connection.end()
    except (SandboxError, OSError):
        # Whoever receives is told.
        with contextlib.suppress(SandboxError):
            connection.disconnect()


def _burst_of(data: bytes, local: socket.socket) -> Iterator[bytes]:
    """Yield what comes, until nothing comes for a while."""
    with selectors.DefaultSelector() as selector:
        selector.register(local, selectors.EVENT_READ)
        while data:
            yield data
            if not selector.select(QUIET_SECONDS):
                return
            data = local.recv(PIECE)


def _shut(local: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        local.shutdown(how)


def reset(local: socket.socket) -> None:
    """Have a connection end as if it broke off, once it is closed (SO_LINGER, socket(7))."""
    with contextlib.suppress(OSError):
        local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

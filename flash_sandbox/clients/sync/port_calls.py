# Derived from flash_sandbox/clients/aio/port_calls.py by `python -m codegen`; do not edit.
"""Calls about the TCP ports that programs in a sandbox listen on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from ... import models, operations
from ...codecs.records import RecordReader
from ...errors import SandboxConnectionError
from ...options import NOT_GIVEN, NotGiven
from .connections import PortConnection
from .operation_calls import OperationCalls

__all__ = ["PortCalls"]


class PortCalls(OperationCalls):
    """Use the ports of sandboxes."""

    def connect_port(
        self, sandbox_id: str, port: int, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> PortConnection:
        """Connect to a TCP port that a program in a sandbox listens on, and return the connection.

        It needs no network in the sandbox. The program sees a connection from its own loopback interface.

        Args:
            sandbox_id: ID of the sandbox.
            port: TCP port on the loopback interface of the sandbox, 1 to 65535.
            timeout: Seconds until it is connected; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            PortClosedError: Nothing listens on the port.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.ConnectPortRequest(sandbox_id, port)
        reader = RecordReader()
        received = self._received(request, reader, timeout)
        try:
            # It comes once the connection has its ID.
            first = next(received, None)
        except BaseException:
            received.close()
            raise
        if first is None:
            raise SandboxConnectionError("the stream ended before it had begun")
        return PortConnection(self, sandbox_id, reader.connection_id, received)

    def _received(
        self, request: models.ConnectPortRequest, reader: RecordReader, timeout: float | NotGiven | None
    ) -> Generator[bytes, None]:
        """Yield nothing once the connection is made, then what the program sends, and nothing at its end."""
        has_begun = False
        with closing(self._stream(operations.CONNECT_PORT, request, timeout)) as chunks:
            for chunk in chunks:
                pieces = reader.feed(chunk.data)
                if not has_begun:
                    pieces = iter(list(pieces))
                    if not reader.connection_id:
                        continue
                    has_begun = True
                    yield b""
                for piece in pieces:
                    yield piece
        reader.finish()

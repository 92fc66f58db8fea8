# Derived from flash_sandbox/transports/aio/transport.py by `python -m codegen`; do not edit.
"""The one loop of every call: attempts, their errors, and the delays between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Any, ClassVar, Protocol, TypeVar

from ...address import Address
from ...errors import SandboxError
from ...operations import Operation
from ...options import CallOptions
from ...tracing import TransportName
from ..call import Call
from .chunks import Chunks

__all__ = ["Transport", "Wire"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class Wire(Protocol):
    """Makes one attempt of a call over one protocol."""

    name: ClassVar[TransportName]
    address: Address

    def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        ...

    def stream(self, call: Call[Any, Res]) -> Generator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        ...

    def send(self, call: Call[Any, Res], chunks: Chunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        ...

    def translate(self, call: Call[Any, Any], failure: Exception) -> SandboxError | None:
        """Return the error that `failure` of an attempt means; None if it is no failure of the wire."""
        ...

    def close(self) -> None:
        """Close the connections. Idempotent."""
        ...


class Transport:
    """Perform operations over a wire, and retry what may be retried.

    Args:
        wire: Makes each attempt.

    Attributes:
        name: Protocol of the wire.
        address: Where the orchestrator listens.
    """

    def __init__(self, wire: Wire) -> None:
        self.name = wire.name
        self.address = wire.address
        self._wire = wire

    def perform(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> Res:
        """Perform an operation.

        Raises:
            SandboxError: It failed; no other exception is raised but that of a cancellation.
        """
        call = Call(operation, request, options)
        while True:
            try:
                return self._wire.call(call)
            except Exception as failure:
                delay = self._delay_after(call, failure)
            time.sleep(delay)

    def stream(
        self,
        operation: Operation[Req, Res],
        request: Req,
        options: CallOptions,
        going_on: Callable[[Req, Res], Req] | None = None,
    ) -> Generator[Res, None]:
        """Perform an operation whose answer is a stream.

        It is retried before its first message; after that only with `going_on`, which returns the request
        that goes on after a message. The timeout bounds the time to the first message of each attempt.
        Closing the generator abandons the rest.

        Raises:
            SandboxError: It failed or broke off; no other exception is raised but that of a cancellation.
        """
        call = Call(operation, request, options, going_on)
        while True:
            call.open()
            try:
                with closing(self._wire.stream(call)) as messages:
                    for message in messages:
                        if call.is_new(message):
                            yield message
                return
            except Exception as failure:
                delay = self._delay_after(call, failure)
            time.sleep(delay)

    def send(
        self,
        operation: Operation[Req, Res],
        request: Req,
        chunks: Iterable[bytes],
        options: CallOptions,
    ) -> Res:
        """Perform an operation whose request continues with a stream; retry only before that has begun.

        Raises:
            SandboxError: It failed; otherwise what `chunks` raises.
        """
        call = Call(operation, request, options)
        content = Chunks(chunks)
        while True:
            call.limit = call.patience
            try:
                return self._wire.send(call, content)
            except Exception as failure:
                if content.failure is not None:
                    raise content.failure from None
                delay = self._delay_after(call, failure, final=content.begun)
            time.sleep(delay)

    def _delay_after(self, call: Call[Any, Any], failure: Exception, *, final: bool = False) -> float:
        """Return the seconds to wait before the next attempt; raise what `failure` means if it is final."""
        call.attempts.let_pass(failure)
        error = self._wire.translate(call, failure)
        if error is None:
            raise failure
        error.transport = error.transport or self.name
        error.operation = error.operation or call.operation.name
        delay = call.after(error, final=final)
        if delay is None:
            error = call.cause(error)
            raise error from (failure if failure is not error else failure.__cause__)
        return delay

    def close(self) -> None:
        """Close the connections. Later calls raise ClientClosedError; closing twice does nothing."""
        self._wire.close()

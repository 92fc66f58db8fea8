"""What both halves of the gRPC transport share: everything but the waiting."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import grpclib.exceptions
import h2.exceptions

from ..address import Address
from ..codecs.grpc import decode_error
from ..errors import (
    ClientClosedError,
    InvalidArgumentError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
)
from ..tracing import TransportName
from .base import Metadata
from .call import Call
from .http2_connection import NOT_HTTP2, was_refused
from .retry import lost_answer
from .tls import default_context

__all__ = ["GRPCBase", "wire_seconds"]

_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]+")
_RESERVED: Final = ("te", "content-type", "user-agent")


class GRPCBase:
    """Where to call, and with what.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        context: TLS settings; True for the usual ones; None to go by the address.
        metadata: Headers that go with every call.
    """

    name: ClassVar[TransportName] = "grpc"

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        context: ssl.SSLContext | bool | None = None,
        metadata: Metadata = (),
    ) -> None:
        self.address = address
        self._context = context if isinstance(context, ssl.SSLContext) else None
        if address.tls and self._context is None:
            self._context = default_context()
        self._metadata = _checked(metadata)
        if api_key is not None:
            self._metadata.append(("authorization", f"Bearer {api_key}"))
        self._closed = False

    def _metadata_for(self, call: Call[Any, Any]) -> list[tuple[str, str]]:
        if not call.headers:
            return self._metadata
        names = {name for name, _ in call.headers}
        return [*(pair for pair in self._metadata if pair[0] not in names), *call.headers]

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClientClosedError("the client was closed")

    def translate(self, call: Call[Any, Any], failure: Exception) -> SandboxError | None:
        """Return the error that `failure` of an attempt means; None if it is no failure of the wire."""
        return failure if isinstance(failure, SandboxError) else None

    def _translated(
        self, call: Call[Any, Any], error: Exception, sent: bool, told: Mapping[str, Any] | None
    ) -> SandboxError:
        """Return the error that a failure of an attempt means.

        Args:
            call: The call.
            error: What failed.
            sent: Whether any of the request may have reached the server.
            told: What came with the answer besides its messages.
        """
        operation = call.operation
        if isinstance(error, SandboxError):
            return error
        if isinstance(error, grpclib.exceptions.GRPCError):
            return decode_error(operation.name, error, told)
        if self._closed:
            return ClientClosedError("the client was closed during the call")
        text = str(error) or type(error).__name__
        if isinstance(error, TimeoutError) and error.errno is None:
            return call.deadline.passed()
        lost = f"the connection to {self.address} was lost: {text}"
        if isinstance(error, grpclib.exceptions.StreamTerminatedError):
            if text == NOT_HTTP2:
                return ProtocolError("the answer is not HTTP/2")
            return SandboxConnectionError(lost) if was_refused(error) else lost_answer(operation, lost)
        if isinstance(error, OSError | h2.exceptions.H2Error):
            return lost_answer(operation, lost) if sent else SandboxConnectionError(lost)
        return ProtocolError(f"unexpected answer: {text}")


def wire_seconds(seconds: float) -> float:
    """Return how long a call may take so that the server is never told too short a time.

    grpc-timeout has whole seconds above ten, and drops what is less than a unit.
    """
    return float(math.ceil(seconds)) if seconds > 10 else seconds


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

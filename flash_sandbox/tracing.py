"""Spans of OpenTelemetry: one a call at the client, one at the orchestrator, joined by the trace header.

They are made where the program has configured a tracer provider, and only there. Attributes are those of the
semantic conventions for HTTP and RPC (https://opentelemetry.io/docs/specs/semconv/), and ``flash_sandbox.*``
for what they have no name for. Bodies, keys and the texts of errors are in none of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from .address import Address
from .operations import OPERATIONS

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["CallSpan", "TransportName", "client_span", "server_span", "success_status", "tracer"]

TransportName = Literal["http", "grpc"]
Status = int | str | None

_Result = TypeVar("_Result")

_SCOPE: Final = "flash_sandbox"
_OPERATIONS: Final = {operation.name: operation for operation in OPERATIONS}
# What both transports can carry.
_HEADER_NAME: Final = re.compile(r"[0-9a-z_.-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[ -~]+", re.ASCII)
_STATUS_ATTRIBUTE: Final = {"http": "http.response.status_code", "grpc": "rpc.response.status_code"}

_known: tuple[TracerProvider, Tracer] | None = None


def tracer() -> Tracer | None:
    """Return what makes spans; None where nobody collects them."""
    # Who has configured a provider has imported the package, so nobody else pays for a look for it.
    if sys.modules.get("opentelemetry.trace") is None:
        return None
    from opentelemetry import trace

    global _known
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    if _known is None or _known[0] is not provider:
        _known = provider, provider.get_tracer(_SCOPE)
    return _known[1]


class CallSpan:
    """The span of one call, at either end of it.

    Args:
        span: The span, which has been started.
        context: What holds while the call is made, the span included.
        transport: How the call travels.
    """

    def __init__(self, span: Span, context: Context, transport: TransportName) -> None:
        self._span = span
        self._context = context
        self._transport = transport

    @property
    def trace_id(self) -> str:
        """Return the ID of the trace, as the trace header has it."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers by which the other end joins the trace."""
        from opentelemetry import propagate

        carrier: dict[str, str] = {}
        propagate.inject(carrier, self._context)
        lowered = [(name.lower(), value) for name, value in carrier.items()]
        return [
            (name, value)
            for name, value in lowered
            if _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        ]

    def add_retry(self, reason: str, delay: float) -> None:
        """Note that an attempt failed, and that another one follows after `delay` seconds."""
        self._span.add_event("retry", {"error.type": reason, "flash_sandbox.retry.delay_s": delay})

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the current span during the block: those that are started there are below it."""
        from opentelemetry import context

        token = context.attach(self._context)
        try:
            yield
        finally:
            context.detach(token)

    async def around(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do `work` as a part of the span."""
        with self.current():
            return await work()

    def end(
        self, status: Status, error: str, *, failed: bool, sandbox: str, request_id: str, attempts: int = 0
    ) -> None:
        """End the span.

        Args:
            status: HTTP status, or name of the gRPC status; None where there was no answer.
            error: Reason of the error, or its class; empty where there was none.
            failed: Whether this end counts the error as one.
            sandbox: ID of the sandbox; empty where there is none.
            request_id: ID of the request.
            attempts: How often the call was made; 0 where this end does not know.
        """
        attributes: dict[str, str | int] = {"flash_sandbox.request.id": request_id}
        if status is not None:
            attributes[_STATUS_ATTRIBUTE[self._transport]] = status
        if sandbox:
            attributes["flash_sandbox.sandbox.id"] = sandbox
        if attempts:
            attributes["flash_sandbox.attempts"] = attempts
        if error:
            attributes["error.type"] = error
        self._span.set_attributes(attributes)
        if failed:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def client_span(maker: Tracer, operation: str, transport: TransportName, address: Address) -> CallSpan:
    """Start the span of a call that is about to be made, below the current one."""
    from opentelemetry.trace import SpanKind, set_span_in_context

    where: dict[str, str | int]
    if address.unix_path is not None:
        where = {"server.address": address.unix_path}
    else:
        where = {"server.address": address.host, "server.port": address.port}
    attributes = _attributes(operation, transport, "url.template") | where
    span = maker.start_span(f"{_SCOPE}/{operation}", kind=SpanKind.CLIENT, attributes=attributes)
    return CallSpan(span, set_span_in_context(span), transport)


def server_span(
    operation: str, transport: TransportName, headers: Callable[[], Mapping[str, str]]
) -> CallSpan | None:
    """Start the span of a call that has come in, below its caller's.

    Returns None where nobody collects spans, and for what is none of the operations: what a stranger asks
    for in place of one would be a name, and probes of the health would outnumber the rest.

    Args:
        operation: Name of the operation.
        transport: The front door that it came through.
        headers: Returns the headers of the request, their names in lower case.
    """
    maker = tracer()
    if maker is None or operation not in _OPERATIONS:
        return None
    from opentelemetry import propagate
    from opentelemetry.trace import SpanKind, set_span_in_context

    caller = propagate.extract(headers())
    attributes = _attributes(operation, transport, "http.route")
    span = maker.start_span(f"{_SCOPE}/{operation}", caller, SpanKind.SERVER, attributes)
    return CallSpan(span, set_span_in_context(span, caller), transport)


def success_status(operation: str, transport: TransportName) -> int | str:
    """Return the status of an operation that has succeeded."""
    if transport == "grpc":
        return "OK"
    from flash_sandbox_http.routes import ROUTES

    return ROUTES[operation].success_status


@cache
def _attributes(operation: str, transport: TransportName, path_attribute: str) -> dict[str, str | int]:
    """Return what every span of an operation says."""
    attributes: dict[str, str | int] = {"flash_sandbox.operation": operation}
    if transport == "grpc":
        from .codecs.grpc import method_path

        method = method_path(_OPERATIONS[operation]).removeprefix("/")
        return attributes | {"rpc.system.name": "grpc", "rpc.method": method}
    from flash_sandbox_http.routes import ROUTES

    route = ROUTES[operation]
    return attributes | {"http.request.method": route.method, path_attribute: route.path}

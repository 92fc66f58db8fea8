"""What is noted of a call at the client: a line of the log, a span; nothing, where nobody wants to know.

The log is the logger ``flash_sandbox.client``, at DEBUG: one line a call and one for each repetition. Its
values are attributes of the record, too. Bodies, keys and the texts of errors are not logged.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .. import tracing
from ..errors import SandboxError
from ..operations import Operation

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from ..transports.aio.transport import AsyncTransport
    from ..transports.sync.transport import Transport

__all__ = ["LOGGER", "Watch", "watch_call"]

Res = TypeVar("Res")

LOGGER: Final = logging.getLogger("flash_sandbox.client")

_PLAIN: Final = re.compile(r"[\w.:-]+", re.ASCII)


def watch_call(
    transport: Transport | AsyncTransport, operation: Operation[Any, Any], request: object
) -> Watch | None:
    """Return what watches a call; None where it is neither logged nor traced, as usual."""
    logged = LOGGER.isEnabledFor(logging.DEBUG)
    maker = tracing.tracer()
    if not logged and maker is None:
        return None
    return Watch(transport, operation, request, maker, logged)


class Watch:
    """Watches one call, which is made in its block.

    Args:
        transport: What makes the call.
        operation: What is called.
        request: What is asked for.
        maker: Makes the span; None for none.
        logged: Whether the call is logged.
    """

    def __init__(
        self,
        transport: Transport | AsyncTransport,
        operation: Operation[Any, Any],
        request: object,
        maker: Tracer | None,
        logged: bool,
    ) -> None:
        self._transport = transport
        self._operation = operation
        self._maker = maker
        self._logged = logged
        self._span: tracing.CallSpan | None = None
        self._sandbox: str = getattr(request, "id", "")
        self._request_id = uuid.uuid4().hex
        self._attempts = 1
        self._started = 0.0
        self._block = ExitStack()

    def headers(self) -> list[tuple[str, str]]:
        """Return what the orchestrator is told, so that its log and its span are found by these."""
        headers = [("x-request-id", self._request_id)]
        return headers if self._span is None else [*headers, *self._span.headers()]

    def add_retry(self, error: SandboxError, delay: float) -> None:
        """Note that the call failed and is made again after `delay` seconds."""
        self._attempts += 1
        if self._span is not None:
            self._span.add_retry(error.reason, delay)
        if self._logged:
            self._log("retry", reason=error.reason, delay_ms=round(delay * 1000), attempt=self._attempts)

    def answered(self, result: Res) -> Res:
        """Take note of what was answered, and return it."""
        self._sandbox = self._sandbox or getattr(result, "id", "")
        return result

    def __enter__(self) -> None:
        self._started = time.perf_counter()
        if self._maker is not None:
            transport = self._transport
            self._span = tracing.client_span(
                self._maker, self._operation.name, transport.name, transport.address
            )
            # The session of an HTTP client may make spans of its own. Not for a generator, whose caller
            # does other things meanwhile.
            if self._operation.streams in ("", "request"):
                self._block.enter_context(self._span.current())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.close()
        error = ""
        # Who leaves a stream has what it wanted.
        if exc is not None and not isinstance(exc, GeneratorExit):
            error = exc.reason if isinstance(exc, SandboxError) else type(exc).__name__
        if self._span is not None:
            self._span.end(
                self._status(exc),
                error,
                failed=bool(error),
                sandbox=self._sandbox,
                request_id=self._request_id,
                attempts=self._attempts,
            )
        if self._logged:
            duration_ms = round((time.perf_counter() - self._started) * 1000, 3)
            self._log("call", reason=error or "ok", duration_ms=duration_ms, attempts=self._attempts)

    def _status(self, exc: BaseException | None) -> int | str | None:
        transport = self._transport.name
        if isinstance(exc, SandboxError):
            return exc.status_code if transport == "http" else exc.grpc_status
        return None if exc is not None else tracing.success_status(self._operation.name, transport)

    def _log(self, event: str, **more: object) -> None:
        fields: dict[str, object] = {
            "request_id": self._request_id,
            "transport": self._transport.name,
            "operation": self._operation.name,
        }
        if self._sandbox:
            fields["sandbox"] = self._sandbox
        if self._span is not None:
            fields["trace_id"] = self._span.trace_id
        fields |= more
        words = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
        LOGGER.debug("%s %s", event, words, extra=fields)


def _plain(value: object) -> str:
    """Return a value in one word: a reason is whatever a server says."""
    word = str(value)
    return word if _PLAIN.fullmatch(word) else repr(word)

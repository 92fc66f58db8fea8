"""The log: one line a request, rendered as key=value or as JSON."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from functools import partial
from typing import Final, Literal

import structlog

from .call import Call

__all__ = ["LogFormat", "RequestLog", "log_to_stderr"]

LogFormat = Literal["text", "json"]

LOGGER: Final = logging.getLogger("flash_sandbox.orchestrator")
_KEYS: Final = (
    "time",
    "level",
    "event",
    "request_id",
    "transport",
    "operation",
    "sandbox",
    "status",
    "reason",
    "trace_id",
)


class RequestLog:
    """Writes to the ``flash_sandbox.orchestrator`` logger, at INFO.

    Args:
        log_format: ``text`` for key=value (logfmt), ``json`` for one object a line.
    """

    def __init__(self, log_format: LogFormat = "text") -> None:
        # JSON escapes what is not ASCII: a lone surrogate could not be written.
        renderer: list[structlog.typing.Processor] = (
            [structlog.processors.JSONRenderer()]
            if log_format == "json"
            else [_escape, structlog.processors.LogfmtRenderer(key_order=_KEYS, drop_missing=True)]
        )
        self._log = structlog.wrap_logger(
            LOGGER,
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.stdlib.add_log_level,
                structlog.processors.format_exc_info,
                *renderer,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )

    def write(self, call: Call, status: str | int, reason: str = "") -> None:
        """Write the line of a call that has ended.

        Args:
            call: The call.
            status: HTTP status, or name of the gRPC status.
            reason: Reason of the error; empty where there was none.
        """
        if LOGGER.isEnabledFor(logging.INFO):
            fields = _fields(call) | {"status": status}
            if reason:
                fields["reason"] = reason
            fields["duration_ms"] = _duration_ms(call)
            # The caller is not kept waiting for it.
            asyncio.get_running_loop().call_soon(partial(self._log.info, "request", **fields))

    def unexpected(self, call: Call, error: BaseException) -> None:
        """Write the traceback of a failure that is a fault of the orchestrator."""
        self._log.error("unexpected failure", **_fields(call), exc_info=error)

    def event(self, name: str, **fields: object) -> None:
        """Write a line about the orchestrator itself."""
        self._log.info(name, **fields)


def log_to_stderr() -> None:
    """Send the log of this process to standard error, lines as `RequestLog` rendered them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    LOGGER.setLevel(logging.INFO)


class _Formatter(logging.Formatter):
    """Indents the further lines of what libraries log, so that none of them passes for a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n  ".join(_escaped(line) for line in super().format(record).split("\n"))


def _escape(logger: object, method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _escaped(value) if isinstance(value, str) else value for key, value in fields.items()}


def _escaped(text: str) -> str:
    """Return `text` with what is not printable as Python's escapes: a terminal obeys some, and some end a
    line."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )


def _fields(call: Call) -> dict[str, object]:
    fields: dict[str, object] = {
        "request_id": call.request_id,
        "transport": call.transport,
        "operation": call.operation,
    }
    if call.sandbox:
        fields["sandbox"] = call.sandbox
    if call.span is not None:
        fields["trace_id"] = call.span.trace_id
    return fields


def _duration_ms(call: Call) -> float:
    return round((time.perf_counter() - call.started) * 1000, 3)

"""One call of a front door: who asked for what, and when."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ...tracing import CallSpan, TransportName, server_span

__all__ = ["Call"]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@dataclass(slots=True, eq=False)
class Call:
    """One call and what its line of the log says.

    Attributes:
        transport: The front door that it came through.
        request_id: The caller's, where it is well-formed, else a new one.
        operation: Name of the operation; what was asked for instead, where that is none.
        sandbox: ID of the sandbox; empty where there is none (yet).
        started: When it came, in seconds of `time.perf_counter`.
        abandoned: Whether the orchestrator itself gave it up.
        span: Its span; None where nobody collects them.
    """

    transport: TransportName
    request_id: str
    operation: str
    sandbox: str = ""
    started: float = field(default_factory=time.perf_counter)
    abandoned: bool = False
    span: CallSpan | None = None

    @classmethod
    def begin(
        cls,
        transport: TransportName,
        request_id: str | None,
        operation: str,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> Call:
        """Make a call that keeps the caller's request ID if it is well-formed, and joins its trace."""
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        return cls(transport, request_id, operation, span=server_span(operation, transport, headers))

"""One call of an operation, through all of its attempts."""

from __future__ import annotations

import uuid
from typing import Generic, TypeVar

from ..operations import Operation
from ..options import CallOptions
from .retry import Attempts, Deadline, Limit, Patience

__all__ = ["Call"]

Req = TypeVar("Req")
Res = TypeVar("Res")


class Call(Generic[Req, Res]):
    """What each attempt of a call needs to know.

    Args:
        operation: The operation.
        request: Its request.
        options: Per-call options.

    Attributes:
        operation: The operation.
        request: Its request.
        headers: Headers of this call: an idempotency key and the trace, where there are any.
        attempts: Decides whether a failure is final.
        deadline: When the call's timeout passes.
        patience: How long each step of a stream may take.
        limit: Whichever of the two bounds the present step; a wire changes it.
    """

    __slots__ = ("attempts", "deadline", "headers", "limit", "operation", "patience", "request")

    def __init__(self, operation: Operation[Req, Res], request: Req, options: CallOptions) -> None:
        self.operation = operation
        self.request = request
        self.attempts = Attempts(operation, options)
        self.deadline: Deadline = self.attempts.deadline
        self.limit: Limit = self.deadline
        self.patience = Patience(operation)
        self.headers: list[tuple[str, str]] = []
        if operation.keyed:
            self.headers.append(("idempotency-key", uuid.uuid4().hex))
        if options.watch is not None:
            self.headers += options.watch.headers()

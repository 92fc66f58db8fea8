"""One call of an operation, through all of its attempts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import SandboxConnectionError, SandboxError
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
        going_on: Of a stream that can be gone on with after a message: returns the request that does so.

    Attributes:
        operation: The operation.
        request: Its request.
        headers: Headers of this call: an idempotency key and the trace, where there are any.
        attempts: Decides whether a failure is final.
        deadline: When the call's timeout passes.
        patience: How long each step of a stream may take.
        limit: Whichever of the two bounds the present step; a wire changes it.
        begun: Whether the first message of a stream has come.
    """

    __slots__ = (
        "_broken",
        "_going_on",
        "_has_news",
        "_opening",
        "attempts",
        "begun",
        "deadline",
        "headers",
        "limit",
        "operation",
        "patience",
        "request",
    )

    def __init__(
        self,
        operation: Operation[Req, Res],
        request: Req,
        options: CallOptions,
        going_on: Callable[[Req, Res], Req] | None = None,
    ) -> None:
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
        self.begun = False
        self._going_on = going_on
        self._opening = True
        self._has_news = False
        self._broken: SandboxError | None = None

    def open(self) -> None:
        """Begin an attempt of a stream."""
        self.limit = self.deadline
        self._opening = True

    def is_new(self, message: Res) -> bool:
        """Take a message of a stream; tell whether the caller has not seen it yet.

        Each attempt begins with a message that says no more than that it has begun.
        """
        known = self._opening and self.begun
        self._opening = False
        if known:
            return False
        self.begun = self._has_news = True
        if self._going_on is not None:
            self.request = self._going_on(self.request, message)
        return True

    def after(self, error: SandboxError, *, final: bool = False) -> float | None:
        """Return the seconds to wait before the next attempt, or None where a failure is final."""
        if final or (self.begun and self._going_on is None):
            return None
        if self._has_news:
            self._has_news = False
            self._broken = error
            self.attempts.renew()
            self.deadline = self.attempts.deadline
        return self.attempts.delay_after(error)

    def cause(self, error: SandboxError) -> SandboxError:
        """Return what to tell of a failure that is final: what broke a stream where nobody answers since."""
        is_away = isinstance(error, SandboxConnectionError)
        return self._broken if is_away and self._broken is not None else error

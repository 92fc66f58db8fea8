"""What happens around every call, whichever front door it came through.

A call has a request ID and perhaps a deadline; its failure becomes an error of the table; one line of
the log tells how it went. Bodies and keys are never logged.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from ...errors import (
    CancelledByServerError,
    InternalServerError,
    InvalidArgumentError,
    SandboxError,
    SandboxTimeoutError,
    UnavailableError,
    statuses_of,
)
from ...operations import OPERATIONS
from ..cancellation import this_task
from .call import Call
from .request_log import RequestLog

__all__ = ["Calls", "timeout_of_milliseconds"]

_Result = TypeVar("_Result")

_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)

# A client that gives a call up says so itself, in its own words, before it could read ours.
_GRACE_SECONDS: Final = 0.25
# What a client can ask the next orchestrator without harm.
_REPEATED: Final = frozenset(each.name for each in OPERATIONS if each.repeatable or each.keyed)
# The statuses of gRPC that a server counts as its own errors, those of 500 and above in the table.
_FAULTS: Final = ("DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN")


def timeout_of_milliseconds(value: str) -> float:
    """Return the seconds of an ``x-request-timeout-ms`` header; raise InvalidArgumentError for a bad one."""
    if not _MILLISECONDS.fullmatch(value) or not int(value):
        raise InvalidArgumentError("x-request-timeout-ms must be a whole number, 1 to 10**12 - 1")
    return int(value) / 1000


def uncounted(call: Call, reason: str) -> None:
    """Count nothing."""


class Calls:
    """The calls in flight.

    Args:
        log: Where each call leaves its line.
        count: Counts a call that has ended, with the reason of its error.
    """

    def __init__(self, log: RequestLog, count: Callable[[Call, str], None] = uncounted) -> None:
        self.log = log
        self._count = count
        self._in_flight: dict[asyncio.Task[object], Call] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def perform(
        self, call: Call, timeout: float | None, work: Callable[[], Awaitable[_Result]]
    ) -> _Result:
        """Do `work`, within `timeout` seconds where that is given, and raise only SandboxError.

        CancelledError passes where the caller went away.
        """
        if call.span is not None:
            work = partial(call.span.around, work)
        task = this_task()
        self._in_flight[task] = call
        self._idle.clear()
        try:
            if self._draining:
                raise UnavailableError("the orchestrator is shutting down")
            if timeout is None:
                return await work()
            return await _within(timeout, work)
        except asyncio.CancelledError:
            if not call.abandoned:
                raise
            task.uncancel()
            given_up = UnavailableError if call.operation in _REPEATED else CancelledByServerError
            raise given_up("the orchestrator is shutting down") from None
        except Exception as error:
            # An error without a status is one of a client: here, a fault of the orchestrator.
            if isinstance(error, SandboxError) and statuses_of(error)[0] is not None:
                raise
            self.log.unexpected(call, error)
            raise InternalServerError(
                "the orchestrator failed; its log has the cause under the request ID"
            ) from error
        finally:
            del self._in_flight[task]
            if not self._in_flight:
                self._idle.set()

    def ended(self, call: Call, status: str | int, reason: str = "") -> None:
        """Write the line of a call that has ended, as `RequestLog.write` does, count it and end its span."""
        self.log.write(call, status, reason)
        self._count(call, reason)
        if call.span is not None:
            failed = status in _FAULTS if isinstance(status, str) else status >= 500
            call.span.end(status, reason, failed=failed, sandbox=call.sandbox, request_id=call.request_id)

    async def drain(self, grace: float) -> None:
        """Refuse new calls, wait up to `grace` seconds for those in flight, then give them up."""
        self._draining = True
        for patience in (grace, None):
            try:
                async with asyncio.timeout(patience):
                    await self._idle.wait()
            except TimeoutError:
                for task, call in self._in_flight.items():
                    call.abandoned = True
                    task.cancel()


async def _within(timeout: float, work: Callable[[], Awaitable[_Result]]) -> _Result:
    try:
        async with asyncio.timeout(timeout + _GRACE_SECONDS) as deadline:
            return await work()
    except TimeoutError:
        if not deadline.expired():
            raise
        raise SandboxTimeoutError(f"the call took longer than its {timeout:g} s") from None

"""When a failed call is made again, and after how long. Pure but for the clock; shared by all transports."""

from __future__ import annotations

import random
import sys
import time
from typing import Any, ClassVar, Final, Protocol

from ..errors import OutcomeUnknownError, SandboxConnectionError, SandboxError, SandboxTimeoutError
from ..operations import Operation
from ..options import CallOptions
from .signal_handlers import handlers_exception, reraise

__all__ = ["Attempts", "Deadline", "Limit", "Patience", "lost_answer", "lost_stream"]

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0
# A restart of the orchestrator takes less.
_LONGEST_OUTAGE: Final = 60.0
# A server that asks for longer than this is told to the caller rather than waited for.
_LONGEST_RETRY_AFTER: Final = 60.0


class Limit(Protocol):
    """How long a step of a call may take."""

    def remaining(self) -> float | None:
        """Return the seconds that are left, or None for as long as it takes; raise where none are."""
        ...

    def passed(self) -> SandboxError:
        """Return the error that says that none are left."""
        ...


class Deadline:
    """The moment at which a call's time-out passes."""

    __slots__ = ("_at", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Return the seconds that are left, or None where there is no time-out.

        Raises:
            SandboxTimeoutError: None are left.
        """
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passes_within(self, seconds: float) -> bool:
        """Tell whether no time is left `seconds` from now."""
        return self._at is not None and time.monotonic() + seconds >= self._at

    def passed(self) -> SandboxTimeoutError:
        """Return the error that says that the time-out has passed."""
        # Without one of its own, a call may meet that of the session that the caller gave.
        return SandboxTimeoutError(
            "no answer in time" if self.timeout is None else f"no answer within {self.timeout:g} s"
        )


class Patience:
    """How long each step of a stream may take, once that has begun.

    Nothing happens for longer only where the server is dead: it would tell that it has nothing to tell.

    Attributes:
        seconds: So many.
    """

    seconds: ClassVar[float] = 60.0

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self._operation = operation

    def remaining(self) -> float:
        """Return the seconds for the next step."""
        return self.seconds

    def passed(self) -> SandboxConnectionError:
        """Return the error that says that nothing has happened for so long."""
        return lost_answer(self._operation, f"nothing came for {self.seconds:g} s")


class Attempts:
    """Decides, for one call, whether a failure is final.

    A read is repeated on a lost answer and on every error that says that it is worth it; anything is
    repeated where its connection was never made; a keyed operation is repeated on both, since the
    orchestrator knows the key again. Nothing else is, so that no command runs twice.

    A call that waits for something to happen is repeated for up to a minute, however often, if it may be
    repeated at all: so it outlasts a restart of the orchestrator.

    Attributes:
        operation: What is called.
        deadline: When the call's time-out passes.
    """

    def __init__(self, operation: Operation[Any, Any], options: CallOptions) -> None:
        self.operation = operation
        self.deadline = Deadline(options.timeout)
        self._safe = operation.repeatable or operation.keyed
        self._options = options
        self._outlasts = operation.outlasts and not operation.streams
        self._left = options.max_retries
        self._delay = _FIRST_DELAY
        self._failing_since: float | None = None
        self._watch = options.watch
        self._handled = sys.exc_info()[1]

    def renew(self) -> None:
        """Begin anew: a stream that has begun, and may be gone on with, has broken."""
        self.deadline = Deadline(self._options.timeout)
        self._outlasts = self.operation.outlasts
        self._left = self._options.max_retries
        self._delay = _FIRST_DELAY
        self._failing_since = None

    def let_pass(self, failure: Exception) -> None:
        """Raise the exception of a signal handler of the program, where that is what `failure` comes from."""
        own = handlers_exception(failure, self._handled)
        if own is not None:
            reraise(own)

    def delay_after(self, error: SandboxError) -> float | None:
        """Return the seconds to wait before the next attempt, or None where `error` is final."""
        if not self._worth_repeating(error) or not self._may_repeat():
            return None
        # Half of the delay is random, so that clients that failed together do not return together.
        delay = self._delay * (0.5 + random.random() / 2)
        delay = max(delay, error.retry_after or 0.0)
        if delay > _LONGEST_RETRY_AFTER or self.deadline.passes_within(delay):
            return None
        self._left = max(self._left - 1, 0)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        if self._watch is not None:
            self._watch.add_retry(error, delay)
        return delay

    def _may_repeat(self) -> bool:
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        outlasts = self._outlasts and self._options.max_retries > 0
        return self._left > 0 or (outlasts and now - self._failing_since < _LONGEST_OUTAGE)

    def _worth_repeating(self, error: SandboxError) -> bool:
        if isinstance(error, OutcomeUnknownError):
            return self._safe
        if isinstance(error, SandboxConnectionError):
            return True
        return error.retryable and self._safe


def lost_answer(operation: Operation[Any, Any], detail: str) -> SandboxConnectionError:
    """Return the error for a connection that broke after the request may have been sent."""
    if operation.repeatable:
        return SandboxConnectionError(detail)
    return OutcomeUnknownError(f"{detail}; the request may have been carried out")


def lost_stream(operation: Operation[Any, Any]) -> SandboxConnectionError:
    """Return the error for a streamed answer that ended before its last piece."""
    return lost_answer(operation, "the stream broke off before its end")

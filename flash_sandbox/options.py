"""What a call may be given beside its arguments: its time-out and how often it may be repeated."""

from __future__ import annotations

import enum
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from .errors import InvalidArgumentError, SandboxError

__all__ = [
    "API_KEY_VARIABLE",
    "NOT_GIVEN",
    "CallOptions",
    "CallWatch",
    "NotGiven",
    "Progress",
    "api_key_or_default",
    "seconds_of",
]

Progress: TypeAlias = Callable[[int, int | None], None]
"""Is told of the bytes that are done, and of those that there are, where that is known."""

API_KEY_VARIABLE: Final = "FLASH_SANDBOX_API_KEY"
"""Environment variable whose value is the API key of a client that is given none."""

MAX_TIMEOUT: Final = 99_999_999.0
"""Longest time-out in seconds: eight digits is what grpc-timeout holds (gRPC over HTTP/2, Timeout)."""

MAX_RETRIES: Final = 100


class NotGiven(enum.Enum):
    """The type of `NOT_GIVEN`."""

    NOT_GIVEN = "NOT_GIVEN"

    def __repr__(self) -> str:
        return self.value


NOT_GIVEN: Final = NotGiven.NOT_GIVEN
"""Says that an argument was left out, where None has a meaning of its own (no time-out)."""


class CallWatch(Protocol):
    """Watches one call."""

    def headers(self) -> list[tuple[str, str]]:
        """Return headers that go with the call; names in lower case."""
        ...

    def add_retry(self, error: SandboxError, delay: float) -> None:
        """Note that the call failed and is made again after `delay` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a call is made.

    Attributes:
        timeout: Seconds for the whole call, connecting and repeating included; None for no time-out.
        max_retries: How often a failed call may be repeated.
        watch: Watches this one call; None where nothing does.
    """

    timeout: float | None = 30.0
    max_retries: int = 2
    watch: CallWatch | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.timeout is not None:
            object.__setattr__(self, "timeout", seconds_of("timeout", self.timeout))
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int):
            raise InvalidArgumentError(f"max_retries must be an int, not {type(self.max_retries).__name__}")
        if not 0 <= self.max_retries <= MAX_RETRIES:
            raise InvalidArgumentError(f"max_retries must be 0 to {MAX_RETRIES}, not {self.max_retries}")

    def replace(
        self, timeout: float | NotGiven | None = NOT_GIVEN, max_retries: int | NotGiven = NOT_GIVEN
    ) -> CallOptions:
        """Return these options with what is given in place of the present."""
        options = self
        if not isinstance(timeout, NotGiven):
            options = replace(options, timeout=timeout)
        if not isinstance(max_retries, NotGiven):
            options = replace(options, max_retries=max_retries)
        return options


def seconds_of(name: str, value: object) -> float:
    """Return a number of seconds, above 0 and at most `MAX_TIMEOUT`.

    Raises:
        InvalidArgumentError: It is no number, or out of range; the message has `name`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgumentError(f"{name} must be a number of seconds or None, not {type(value).__name__}")
    if math.isnan(value) or not 0 < value <= MAX_TIMEOUT:
        raise InvalidArgumentError(f"{name} must be above 0 and at most {MAX_TIMEOUT:.0f} s, not {value}")
    return float(value)


def api_key_or_default(api_key: str | None) -> str | None:
    """Return the API key that was given, or the environment's, or None.

    Raises:
        InvalidArgumentError: It is empty, or holds what a header cannot carry.
    """
    key = api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE) or None
    if key is not None and (not isinstance(key, str) or not re.fullmatch(r"[!-~]+", key)):
        raise InvalidArgumentError("api_key must be printable ASCII without spaces, and not empty")
    return key

"""How long the steps of a call over HTTP may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from .retry import Deadline, Patience

__all__ = ["EXTENSION", "Timeouts", "Timing"]

EXTENSION: Final = "flash_sandbox_timing"
"""Extension of an ``httpx.Request`` in which our own transports find its `Timing`."""


class Timeouts(TypedDict):
    """Seconds for each kind of step, as httpx and httpcore name them; None for as long as it takes."""

    pool: float | None
    connect: float | None
    read: float | None
    write: float | None


@dataclass(frozen=True, slots=True)
class Timing:
    """What a deadline bounds.

    Attributes:
        deadline: The moment.
        bounds: The whole ``answer``, no more than its ``beginning``, or no more than the ``connection``.
    """

    deadline: Deadline
    bounds: Literal["answer", "beginning", "connection"] = "answer"

    def steps(self) -> Timeouts:
        """Return what each step may take, for transports that cannot bound the whole.

        Raises:
            SandboxTimeoutError: The moment has passed.
        """
        left = self.deadline.remaining()
        # Some cannot wait longer for the body than for its beginning.
        each = left if self.bounds == "answer" else Patience.seconds
        return {"pool": left, "connect": left, "read": each, "write": each}

    def first_steps(self) -> Timeouts:
        """Return what each step up to the beginning of the answer may take.

        Raises:
            SandboxTimeoutError: The moment has passed.
        """
        left = self.deadline.remaining()
        each = Patience.seconds if self.bounds == "connection" else left
        return {"pool": left, "connect": left, "read": each, "write": each}

    def extensions(self) -> dict[str, Any]:
        """Return the extensions of an ``httpx.Request``."""
        return {"timeout": self.steps(), EXTENSION: self}

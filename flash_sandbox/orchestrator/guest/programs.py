"""Programs in a sandbox: what to run, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Control", "Ended", "Happening", "Kill", "Printed", "Program", "Resize", "Signal"]

_LAST_SIGNAL: Final = 64


@dataclass(frozen=True, slots=True)
class Resize:
    """A new size of a program's terminal, in characters."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal for a program's first process."""

    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """The end of a program and of all that it started."""


Control: TypeAlias = Resize | Signal | Kill
"""What can be done to a program that runs."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run in a sandbox.

    Attributes:
        command: The command and its arguments.
        env: Variables that it has besides the sandbox's own, each ``NAME=value``.
        cwd: Directory to run in; empty for the sandbox's own.
        user: User to run as: a name, or numbers ``UID`` or ``UID:GID``; empty for the sandbox's own.
        terminal: Size of the terminal that it gets for all three of its streams; None for none.
    """

    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    terminal: Resize | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """A piece of what a program printed; all of a terminal's is ``stdout``."""

    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        exit_code: Exit status; 128 + N where signal N ended it.
        signal: The signal that ended it; 0 where none did.
        oom_killed: Whether the kernel ended a process of it for want of memory, as far as is known.
    """

    exit_code: int
    signal: int = 0
    oom_killed: bool = False

    @classmethod
    def with_status(cls, status: int, *, oom_killed: bool = False) -> Ended:
        """Return the end that a status tells where nothing else does: above 128 that of a signal."""
        return cls(status, status - 128 if 128 < status <= 128 + _LAST_SIGNAL else 0, oom_killed)


Happening: TypeAlias = Printed | Ended
"""What becomes of a program that runs."""

"""What models of several operations have in common.

A model that adds no field to one of these is a plain subclass, with ``__slots__`` of its own: to make a
dataclass costs the import most of a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

from .checks import sandbox_id

__all__ = ["Empty", "OneSandbox"]


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing: what an operation asks for that needs no argument, or answers that has no more to say."""


@dataclass(frozen=True, slots=True)
class OneSandbox:
    """What is asked of one sandbox, told by its ID."""

    id: str

    def __post_init__(self) -> None:
        sandbox_id(self.id)

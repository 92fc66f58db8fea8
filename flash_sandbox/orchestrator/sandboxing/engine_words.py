"""What an engine says of a program that it cannot run, where it says so in the program's place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..runtimes.base import Printed

__all__ = ["EngineWords"]

_MOST_BYTES: Final = 8192


class EngineWords:
    """Holds back the beginning of a program's output for as long as the engine may be speaking.

    Args:
        beginnings: What the engine may begin with.
    """

    def __init__(self, *beginnings: bytes) -> None:
        self._beginnings = beginnings
        self._held: list[Printed] = []
        self._said = b""
        self._listening = True

    @property
    def said(self) -> str:
        """What the engine may have said, as text; what the output began with, where it was the program."""
        return self._said.decode("utf-8", "replace").strip()

    def feed(self, piece: Printed) -> Iterator[Printed]:
        """Yield what is the program's for certain, now that this piece has come."""
        if not self._listening:
            yield piece
            return
        self._said += piece.data
        self._held.append(piece)
        self._listening = len(self._said) < _MOST_BYTES and self._said.startswith(self._beginnings)
        if not self._listening:
            yield from self.rest()

    def rest(self) -> Iterator[Printed]:
        """Yield what was held back, which was the program's after all."""
        held, self._held = self._held, []
        yield from held

"""Times of the same thing done by several, in rounds whose order is random, and their ratios."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Series", "Table", "Times", "Watch", "aim_at", "measured"]

Times = dict[str, float]
"""What was done in one round, and the seconds that it took."""

Table = dict[str, dict[str, "Series"]]
"""Series by what was done, then by who did it."""


@dataclass(slots=True)
class Series:
    """Times of the same thing, in seconds.

    Attributes:
        what: The operation.
        who: Who did it.
        aim: The ratio of its median to the floor's that is aimed at; None for none.
        seconds: One for each round that succeeded.
        failures: Rounds that did not.
    """

    what: str
    who: str
    aim: float | None = None
    seconds: list[float] = field(default_factory=list)
    failures: int = 0

    def percentile(self, share: float) -> float:
        """Return the time that a share of the rounds (0 to 1) did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def ratio(self, floor: Series, share: float = 0.5) -> float:
        """Return its median, or another percentile, over a floor's."""
        return self.percentile(share) / floor.percentile(share)

    @property
    def rounds(self) -> int:
        """How often it was done, or tried."""
        return len(self.seconds) + self.failures

    @property
    def success(self) -> float:
        """The share of the rounds that succeeded, 0 to 1."""
        return len(self.seconds) / self.rounds


class Watch:
    """Notes the time between one call of it and the next, under a name."""

    def __init__(self) -> None:
        self.times: Times = {}
        self._last = time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.perf_counter()
        self.times[what] = now - self._last
        self._last = time.perf_counter()


def aim_at(by_who: Mapping[str, Series], floor: str, aim: float | None) -> None:
    """Give everybody but the floor an aim, or none."""
    for who, series in by_who.items():
        series.aim = None if who == floor else aim


def measured(rows: Mapping[str, Callable[[], Times | Mapping[str, list[float]]]], rounds: int) -> Table:
    """Let each of the rows do its own once a round, in a random order, and return what it took.

    Whatever else the machine does meets all of them alike. One round before the others fills caches and is
    not counted; a failure in it is raised, one in the others counts as such.

    Args:
        rows: By who does it, what does it once and returns the time of each step, or several times of it.
        rounds: How often.
    """
    table: Table = {}
    failures = dict.fromkeys(rows, 0)
    for number in range(-1, rounds):
        for who in random.sample(list(rows), len(rows)):
            try:
                times = rows[who]()
            except Exception as error:
                if number < 0:
                    raise
                print(f"{who}: {error!r}", file=sys.stderr)
                failures[who] += 1
                continue
            for what, seconds in times.items():
                by_who = table.setdefault(what, {})
                series = by_who.setdefault(who, Series(what, who))
                if number >= 0:
                    series.seconds += seconds if isinstance(seconds, list) else [seconds]
    for what, by_who in table.items():
        # In the order in which they were named, whoever came first.
        table[what] = {who: by_who[who] for who in rows if who in by_who}
        for who, series in by_who.items():
            series.failures += failures[who]
    return table

"""Figures of one measure: percentiles, and their ratio to a floor's."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Series"]


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

    def row(self, floor: Series) -> str:
        """Return a line of a Markdown table, with the ratio to a floor."""
        p50, p95, p99 = (self.percentile(share) for share in (0.5, 0.95, 0.99))
        ratio, ratio95 = p50 / floor.percentile(0.5), p95 / floor.percentile(0.95)
        total = len(self.seconds) + self.failures
        aim, met = "", ""
        if self.aim is not None:
            aim, met = f"≤ {self.aim:g}", "met" if ratio <= self.aim else "**not met**"
        cells = (
            self.what,
            self.who,
            f"{ratio:.2f}",
            f"{ratio95:.2f}",
            aim,
            met,
            *(f"{1000 * value:.2f}" for value in (p50, p95, p99)),
            f"{100 * len(self.seconds) / total:.0f} %",
            str(total),
        )
        return "| " + " | ".join(cells) + " |"


HEADER = (
    "| what | who | p50 ÷ floor | p95 ÷ floor | aim | | p50 ms | p95 ms | p99 ms | success | rounds |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)

"""What a part of the benchmarks tells: rows beside their floors, answers beside their aims, and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .measure import Series, Table

__all__ = [
    "Answer",
    "AnswersTable",
    "Bars",
    "Block",
    "Lines",
    "Plot",
    "RatesTable",
    "Report",
    "SharesTable",
    "Stacks",
    "TimesTable",
    "questions",
]

_TIMES = (
    "| what | who | p50 ÷ floor | p95 ÷ floor | aim | | p50 ms | p95 ms | p99 ms | success | rounds |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
_ANSWERS = "| question | measure | found | aim | |\n| --- | --- | --- | --- | --- |"


def _mark(met: bool) -> str:
    return "met" if met else "**not met**"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True, slots=True)
class Answer:
    """A figure beside its aim: a line of the table of questions.

    Attributes:
        question: As it is asked.
        measure: What was measured, and beside what.
        found: The figure.
        aim: What it may be at most, or at least.
        unit: Of both; empty for a ratio.
        at_least: Whether more is better.
    """

    question: str
    measure: str
    found: float
    aim: float
    unit: str = ""
    at_least: bool = False

    @classmethod
    def slowest(cls, question: str, table: Table, floor: str, rows: Iterable[str], aim: float) -> Answer:
        """Answer with the greatest ratio of some rows' medians to the floor's."""
        ours = [series for what in rows for who, series in table[what].items() if who != floor]
        slowest = max(ours, key=lambda series: series.ratio(table[series.what][floor]))
        measure = f"p50 ÷ {floor}'s, the greatest of them: {slowest.what}, {slowest.who}"
        return cls(question, measure, slowest.ratio(table[slowest.what][floor]), aim)

    @classmethod
    def lowest_rate(cls, question: str, by_who: Mapping[str, Series], floor: str, aim: float) -> Answer:
        """Answer with the lowest rate of all, as a share of the floor's."""
        share = min(by_who[floor].ratio(series) for who, series in by_who.items() if who != floor)
        return cls(question, f"the slowest client's rate ÷ {floor}'s", share, aim, at_least=True)

    @property
    def met(self) -> bool:
        """Whether the figure is what was aimed at."""
        return self.found >= self.aim if self.at_least else self.found <= self.aim

    def line(self) -> str:
        """Return its line of a Markdown table."""
        unit = f" {self.unit}" if self.unit else ""
        aim = f"{'≥' if self.at_least else '≤'} {self.aim:g}{unit}"
        return _line(self.question, self.measure, f"{self.found:.3g}{unit}", aim, _mark(self.met))


class Block(Protocol):
    """One table of a section."""

    @property
    def series(self) -> Sequence[Series]:
        """What was measured, for those who check that all of it was."""
        ...

    def lines(self) -> list[str]:
        """Return it as lines of Markdown."""
        ...


@dataclass(frozen=True, slots=True)
class AnswersTable:
    """Figures beside their aims, as a table."""

    answers: Sequence[Answer]

    @property
    def series(self) -> Sequence[Series]:
        """None: these are not times."""
        return ()

    def lines(self) -> list[str]:
        """Return it as lines of Markdown."""
        return [_ANSWERS, *(answer.line() for answer in self.answers)]


@dataclass(frozen=True, slots=True)
class TimesTable:
    """Times, each beside the floor of the same.

    Attributes:
        table: What was measured; the series' own aims are those of the medians' ratios.
        floor: Who the floor is.
    """

    table: Table
    floor: str

    @property
    def series(self) -> Sequence[Series]:
        """What was measured."""
        return [series for by_who in self.table.values() for series in by_who.values()]

    def lines(self) -> list[str]:
        """Return it as lines of Markdown."""
        return [_TIMES, *(self._row(series) for series in self.series)]

    def _row(self, series: Series) -> str:
        floor = self.table[series.what][self.floor]
        ratio = series.ratio(floor)
        aimed = ("", "") if series.aim is None else (f"≤ {series.aim:g}", _mark(ratio <= series.aim))
        return _line(
            series.what,
            series.who,
            f"{ratio:.2f}",
            f"{series.ratio(floor, 0.95):.2f}",
            *aimed,
            *(f"{1000 * series.percentile(share):.2f}" for share in (0.5, 0.95, 0.99)),
            f"{100 * series.success:.0f} %",
            str(series.rounds),
        )


@dataclass(frozen=True, slots=True)
class RatesTable:
    """The same told as rates, more of which is better.

    Attributes:
        table: What was measured; the series' aims are shares of the floor's rate, at least.
        floor: Who the floor is.
        amount: What was done in the time of one entry of a series.
        unit: Of the rate.
    """

    table: Table
    floor: str
    amount: float
    unit: str

    @property
    def series(self) -> Sequence[Series]:
        """What was measured."""
        return [series for by_who in self.table.values() for series in by_who.values()]

    def lines(self) -> list[str]:
        """Return it as lines of Markdown."""
        cells = ["what", "who", f"p50 {self.unit}", "of the floor's", "aim", ""]
        cells += [f"p95 {self.unit}", f"p99 {self.unit}", "success", "rounds"]
        return [_line(*cells), _line(*["---"] * len(cells)), *(self._row(series) for series in self.series)]

    def _row(self, series: Series) -> str:
        share = self.table[series.what][self.floor].ratio(series)
        aimed = ("", "") if series.aim is None else (f"≥ {series.aim:g}", _mark(share >= series.aim))
        p50, p95, p99 = (f"{self.amount / series.percentile(share):.0f}" for share in (0.5, 0.95, 0.99))
        success = f"{100 * series.success:.0f} %"
        return _line(
            series.what, series.who, p50, f"{share:.2f}", *aimed, p95, p99, success, str(series.rounds)
        )


@dataclass(frozen=True, slots=True)
class SharesTable:
    """What something is made of, in a column for each.

    Attributes:
        unit: Of the figures.
        bars: By column, by part.
    """

    unit: str
    bars: Mapping[str, Mapping[str, float]]

    @property
    def series(self) -> Sequence[Series]:
        """None: these are shares, not times of rounds."""
        return ()

    def lines(self) -> list[str]:
        """Return it as lines of Markdown."""
        parts = list(dict.fromkeys(part for bar in self.bars.values() for part in bar))
        rows = {part: [bar.get(part) for bar in self.bars.values()] for part in parts}
        rows["together"] = [sum(bar.values()) for bar in self.bars.values()]
        return [
            _line(self.unit, *self.bars),
            _line(*["---"] * (len(self.bars) + 1)),
            *(
                _line(part, *("" if value is None else f"{value:.0f}" for value in row))
                for part, row in rows.items()
            ),
        ]


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot of bars in groups: the median each, with a thin line as far as the p95.

    Attributes:
        name: Of its file, without the ending.
        title: The question.
        unit: Of the figures.
        groups: By group, by who: the median and the p95.
    """

    name: str
    title: str
    unit: str
    groups: Mapping[str, Mapping[str, tuple[float, float]]]

    @classmethod
    def of(cls, name: str, title: str, table: Table) -> Bars:
        """Return the plot of a table of times, in milliseconds."""
        return cls(
            name,
            title,
            "ms",
            {
                what: {
                    who: (1000 * series.percentile(0.5), 1000 * series.percentile(0.95))
                    for who, series in by_who.items()
                }
                for what, by_who in table.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Stacks:
    """A plot of bars that are made of parts: where something goes.

    Attributes:
        name: Of its file, without the ending.
        title: The question.
        unit: Of the figures.
        bars: By bar, by part.
    """

    name: str
    title: str
    unit: str
    bars: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot of lines: how something grows.

    Attributes:
        name: Of its file, without the ending.
        title: The question.
        across: What the horizontal axis is; `by_ten` makes it logarithmic.
        up: What the vertical axis is; it begins at 0.
        lines: By who: pairs of both.
    """

    name: str
    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    by_ten: bool = False


Plot = Bars | Stacks | Lines


@dataclass(slots=True)
class Report:
    """What a part tells: a section of RESULTS.md.

    Attributes:
        title: Its heading.
        text: What the rows mean; Markdown in lines of at most about 100 characters.
        blocks: Its tables.
        answers: Its lines of the table of questions.
        plots: One for each question.
    """

    title: str
    text: str
    blocks: list[Block] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    @property
    def series(self) -> list[Series]:
        """All that was measured."""
        return [series for block in self.blocks for series in block.series]

    def markdown(self) -> str:
        """Return the section."""
        lines = ["", f"## {self.title}", "", self.text]
        for block in self.blocks:
            lines += ["", *block.lines()]
        for plot in self.plots:
            lines += ["", f"![{plot.title}](plots/{plot.name}.svg)"]
        return "\n".join([*lines, ""])


def questions(answers: Iterable[Answer]) -> str:
    """Return the table of questions."""
    return "\n".join([*AnswersTable(list(answers)).lines(), ""])

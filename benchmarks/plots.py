"""Draws the plots of RESULTS.md, the same bytes for the same figures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .report import Bars, Lines, Plot, Stacks

__all__ = ["draw"]

# Told apart without seeing colours, too (the first eight are Okabe and Ito's).
_COLOURS: Final = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442"),
    *("#332288", "#882255", "#44aa99", "#ddcc77"),
)
_STYLE: Final = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    # Names in the file are derived from this rather than from a random number.
    "svg.hashsalt": "flash-sandbox",
    "svg.fonttype": "none",
}


def draw(plot: Plot, directory: Path) -> None:
    """Write a plot into a directory, as SVG."""
    if isinstance(plot, Bars):
        _draw_bars(plot, directory)
    elif isinstance(plot, Stacks):
        _draw_stacks(plot, directory)
    else:
        _draw_lines(plot, directory)


@contextmanager
def _axes(plot: Plot, directory: Path, height: float) -> Iterator[Any]:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    with matplotlib.rc_context(_STYLE):
        figure, axes = pyplot.subplots(figsize=(7.5, height), layout="constrained")
        axes.set_title(plot.title, loc="left")
        yield axes
        figure.savefig(directory / f"{plot.name}.svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _colour_of() -> Callable[[str], str]:
    given: dict[str, str] = {}
    return lambda who: given.setdefault(who, _COLOURS[len(given) % len(_COLOURS)])


def _figure(value: float) -> str:
    return f" {value:,.0f}" if value >= 100 else f" {value:.3g}"


def _draw_bars(plot: Bars, directory: Path) -> None:
    colour = _colour_of()
    many = len(plot.groups) > 1
    count = sum(len(by_who) + many for by_who in plot.groups.values())
    with _axes(plot, directory, 0.9 + 0.25 * count) as axes:
        place, ticks, names = 0, [], []
        for what, by_who in plot.groups.items():
            if many:
                axes.text(0, place, f" {what}", va="center", fontweight="bold")
                place += 1
            for who, (p50, p95) in by_who.items():
                axes.barh(place, p50, color=colour(who), height=0.8)
                axes.hlines(place, p50, max(p95, p50), color="#444444", linewidth=1)
                axes.text(max(p50, p95), place, _figure(p50), va="center")
                ticks.append(place)
                names.append(who)
                place += 1
        axes.set_yticks(ticks, names)
        axes.set_ylim(place - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{plot.unit}: the median, and a thin line to the p95")


def _draw_stacks(plot: Stacks, directory: Path) -> None:
    colour = _colour_of()
    with _axes(plot, directory, 1.4 + 0.4 * len(plot.bars)) as axes:
        for place, parts in enumerate(plot.bars.values()):
            left = 0.0
            for part, value in parts.items():
                axes.barh(place, value, left=left, color=colour(part), height=0.7, label=part)
                left += value
            axes.text(left, place, _figure(left), va="center")
        axes.set_yticks(range(len(plot.bars)), list(plot.bars))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(plot.unit)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)


def _draw_lines(plot: Lines, directory: Path) -> None:
    colour = _colour_of()
    with _axes(plot, directory, 3.4) as axes:
        for who, points in plot.lines.items():
            across, up = zip(*points, strict=True)
            axes.plot(across, up, color=colour(who), marker="o", markersize=3, label=who)
        if plot.by_ten:
            axes.set_xscale("log")
            ticks = sorted({across for points in plot.lines.values() for across, _ in points})
            axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
            axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(plot.across)
        axes.set_ylabel(plot.up)
        axes.legend()

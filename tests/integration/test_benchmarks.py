"""The benchmarks, run short: each part measures all of its rows. How long anything takes is not asserted."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.parts import PARTS
from benchmarks.plots import draw
from benchmarks.report import Report

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=PARTS)
def found(request: pytest.FixtureRequest, need: Callable[[str, str | None], None]) -> Report:
    """Return what a part finds in one round of little of everything."""
    part = PARTS[request.param]
    for engine, lacks in part.needs.items():
        need(engine, lacks())
    return part.report(1, True)


def test_every_row_is_measured_with_success(found: Report) -> None:
    assert found.blocks
    assert {series.who: series.failures for series in found.series if series.failures} == {}
    assert all(series.seconds for series in found.series)


def test_every_row_and_answer_is_told(found: Report) -> None:
    lines = found.markdown().splitlines()
    for series in found.series:
        assert any(line.startswith(f"| {series.what} | {series.who} | ") for line in lines), series
    assert all(math.isfinite(answer.found) for answer in found.answers)


def test_there_is_a_plot_that_can_be_drawn(found: Report, tmp_path: Path) -> None:
    for plot in found.plots:
        draw(plot, tmp_path)
    assert {file.stem for file in tmp_path.iterdir()} == {plot.name for plot in found.plots} != set()


def test_the_same_figures_are_drawn_as_the_same_file(found: Report, tmp_path: Path) -> None:
    plot = found.plots[0]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(plot, tmp_path / name)
    file = f"{plot.name}.svg"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_short_run_prints_the_table_of_questions_and_writes_nothing() -> None:
    results = PROJECT / "benchmarks" / "RESULTS.md"
    before = results.stat()
    command = [sys.executable, "-m", "benchmarks", "--short", "--only", "doors"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "| the front doors, HTTP | get_status p50 ÷ " in done.stdout
    after = results.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)

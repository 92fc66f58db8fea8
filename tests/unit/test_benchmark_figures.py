"""What the benchmarks make of the times that they measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.measure import Series, Times, measured
from benchmarks.report import Answer, RatesTable, TimesTable


def in_turn(*outcomes: float | Exception) -> Callable[[], Times]:
    """Return what takes the next of these times each time, or fails."""
    left: Iterator[float | Exception] = iter(outcomes)

    def once() -> Times:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return {"walk": outcome}

    return once


def test_first_round_is_not_counted() -> None:
    table = measured({"cat": in_turn(9.0, 1.0, 2.0)}, 2)
    assert table["walk"]["cat"].seconds == [1.0, 2.0]


def test_failure_counts_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"cat": in_turn(1.0, OSError("tired"), 2.0), "dog": in_turn(1.0, 1.0, 1.0)}
    cat, dog = measured(rows, 2)["walk"].values()
    assert (cat.success, cat.rounds, dog.success) == (0.5, 2, 1.0)
    assert "cat: OSError('tired')" in capsys.readouterr().err


def test_failure_of_the_first_round_is_raised() -> None:
    with pytest.raises(OSError, match="tired"):
        measured({"cat": in_turn(OSError("tired"))}, 2)


def test_rows_are_in_the_order_in_which_they_were_named() -> None:
    rows = {name: in_turn(*[1.0] * 10) for name in "zyxwvu"}
    assert "".join(measured(rows, 9)["walk"]) == "zyxwvu"


def test_time_is_told_beside_its_floor_and_aim() -> None:
    floor, ours = Series("walk", "dog", None, [0.010] * 4), Series("walk", "cat", 1.5, [0.020] * 3, 1)
    row = TimesTable({"walk": {"dog": floor, "cat": ours}}, "dog").lines()[-1]
    cells = "| walk | cat | 2.00 | 2.00 | ≤ 1.5 | **not met** | 20.00 | 20.00 | 20.00 | 75 % | 4 |"
    assert row == cells


def test_rate_is_met_by_more_and_not_by_less() -> None:
    floor, ours = Series("copy", "dog", None, [1.0]), Series("copy", "cat", 0.8, [2.0])
    lines = RatesTable({"copy": {"dog": floor, "cat": ours}}, "dog", 10, "MiB/s").lines()
    assert lines[-1] == "| copy | cat | 5 | 0.50 | ≥ 0.8 | **not met** | 5 | 5 | 100 % | 1 |"


@pytest.mark.parametrize(("found", "met"), [(1.0, True), (1.1, False)])
def test_answer_is_met_up_to_its_aim(found: float, met: bool) -> None:
    assert Answer("q", "m", found, 1.0).met is met


@pytest.mark.parametrize(("found", "met"), [(1.0, True), (0.9, False)])
def test_answer_of_what_should_be_much_is_met_from_its_aim_on(found: float, met: bool) -> None:
    assert Answer("q", "m", found, 1.0, at_least=True).met is met

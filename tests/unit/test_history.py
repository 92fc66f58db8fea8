"""The history of one sandbox: what is kept of it, and what is answered."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.models import MAX_HISTORY_POINTS, MetricsPoint
from flash_sandbox.orchestrator.core.history import KEPT_SECONDS, History
from flash_sandbox.orchestrator.linux.limits import Usage

START_MS = 1_700_000_000_000
HOUR_MS = round(KEPT_SECONDS * 1000)


def filled(count: int, *, period_ms: int = 1000, cores: float = 0.5) -> History:
    """Return the history of a sandbox that keeps so many cores busy."""
    history = History()
    for number in range(count):
        at_ms = number * period_ms
        history.add(START_MS + at_ms, Usage(number, 1000, cores * at_ms / 1000, 1, 2, 3, 4, 5))
    return history


def test_every_figure_comes_out_as_it_went_in() -> None:
    history = History()
    limit = 2**63 - 4096
    history.add(START_MS + 1, Usage(limit // 4, limit, 1.5, 7, 2**53, 3, 2**52 + 1, 5, 6, 8))
    assert history.points() == [
        MetricsPoint(
            memory_usage_bytes=limit // 4,
            memory_limit_bytes=limit,
            memory_percent=25,
            pids_current=7,
            block_read_bytes=2**53,
            block_write_bytes=3,
            net_rx_bytes=2**52 + 1,
            net_tx_bytes=5,
            disk_used_bytes=6,
            disk_limit_bytes=8,
            at=1_700_000_000.001,
        )
    ]


def test_the_last_sample_is_told_apart() -> None:
    assert History().last() is None
    last = filled(3, period_ms=1000).last()
    assert last is not None
    assert last.memory_bytes == 2


def test_without_a_limit_there_is_no_percentage_of_it() -> None:
    history = History()
    history.add(START_MS, Usage(5, 0, 0.0, 1, 0, 0))
    assert [point.memory_percent for point in history.points()] == [0]


def test_what_is_older_than_an_hour_goes() -> None:
    history = filled(3, period_ms=HOUR_MS // 2 + 1)
    assert [round(point.at * 1000) - START_MS for point in history.points()] == [
        HOUR_MS // 2 + 1,
        HOUR_MS + 2,
    ]


def test_no_more_are_kept_than_one_answer_has() -> None:
    points = filled(MAX_HISTORY_POINTS + 10).points()
    assert len(points) == MAX_HISTORY_POINTS
    assert points[0].memory_usage_bytes == 10


def test_clock_that_is_set_back_does_no_harm() -> None:
    history = filled(3)
    history.add(START_MS - 1000, Usage(9, 1000, 99.0, 1, 0, 0))
    assert history.points()[-1].cpu_percent == 0


@given(count=st.integers(0, 50), most=st.integers(0, 60), since=st.integers(-1, 60))
def test_points_are_chosen_evenly_and_the_last_is_among_them(count: int, most: int, since: int) -> None:
    matching = list(range(max(since + 1, 0), count))
    found = [point.memory_usage_bytes for point in filled(count).points(START_MS + since * 1000, most)]
    assert len(found) == min(most or len(matching), len(matching))
    assert set(found) <= set(matching)
    assert found[-1:] == matching[-1:]
    steps = {later - former for former, later in pairwise(found)}
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("most", [0, 3, 10])
def test_percentage_of_the_cpu_is_that_since_the_point_before(most: int) -> None:
    first, *others = filled(50, cores=0.5).points(0, most)
    assert [round(point.cpu_percent, 6) for point in others] == [50.0] * len(others)
    assert first.cpu_percent == (0 if most == 0 else 50.0)

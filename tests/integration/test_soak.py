"""Mixed load on both transports, with sandboxes killed at random, for some seconds."""

from __future__ import annotations

from benchmarks import soak


def test_load_and_kills_cause_no_other_error_and_leave_nothing_behind() -> None:
    found = soak.report(1, True)
    assert [f"{answer.measure}: {answer.found}" for answer in found.answers if not answer.met] == []

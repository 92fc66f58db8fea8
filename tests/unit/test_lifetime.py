"""When a sandbox expires, is warned of and is idle, by a clock of the tests'."""

from __future__ import annotations

import pytest

from flash_sandbox.orchestrator.core import lifetime
from flash_sandbox.orchestrator.core.lifetime import Lifetime


class Clock:
    """Seconds of Unix time, which a test sets."""

    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lifetime, "time", clock)
    return clock


def idle_for(clock: Clock, timeout: float) -> Lifetime:
    life = Lifetime(idle_timeout=timeout, active_at=clock.now)
    life.use()
    life.look_again()
    return life


def run_on(clock: Clock, life: Lifetime, seconds: float, cpu: float = 0.0) -> tuple[int, float]:
    """Look at it whenever that is due; return how often that was, and when it was idle, or 0."""
    end, begin, looks = clock.now + seconds, clock.now, 0
    while life.next_look and life.next_look <= end:
        clock.now = life.next_look
        looks += 1
        if life.is_idle(cpu * (clock.now - begin), 0):
            return looks, clock.now
        life.look_again()
    clock.now = end
    return looks, 0.0


@pytest.mark.parametrize(("ttl", "notice"), [(3600.0, 60.0), (100.0, 10.0), (2.0, 0.2)])
def test_a_warning_is_due_a_tenth_of_the_time_before_the_end(clock: Clock, ttl: float, notice: float) -> None:
    life = Lifetime()
    life.expire_at(clock.now + ttl)
    assert life.due_at == pytest.approx(1000 + ttl - notice)
    clock.now = life.due_at
    assert life.is_ending(clock.now)
    assert not life.has_expired(clock.now)
    life.warned_of = life.expires_at
    assert life.due_at == 1000 + ttl


def test_of_an_end_in_less_than_a_second_is_not_warned(clock: Clock) -> None:
    life = Lifetime()
    life.expire_at(clock.now + 0.5)
    assert life.due_at == life.expires_at


def test_use_renews_it_until_the_latest(clock: Clock) -> None:
    life = Lifetime(latest=1900)
    life.expire_at(clock.now + 600, 600)
    clock.now = 1200
    life.use()
    assert life.expires_at == 1800
    clock.now = 1500
    life.use()
    assert life.expires_at == 1900


def test_one_that_nothing_is_known_of_is_never_due(clock: Clock) -> None:
    assert Lifetime().due_at == 0
    assert not Lifetime().is_due(1e12)


def test_one_that_does_nothing_is_looked_at_twice_and_idle_at_its_time(clock: Clock) -> None:
    assert run_on(clock, idle_for(clock, 100), 1000) == (2, 1100)


def test_one_that_works_is_looked_at_twice_in_its_time(clock: Clock) -> None:
    looks, idle_at = run_on(clock, idle_for(clock, 100), 1000, cpu=0.02)
    assert idle_at == 0
    assert looks <= 20


def test_a_hundredth_of_a_core_is_no_work(clock: Clock) -> None:
    assert run_on(clock, idle_for(clock, 100), 1000, cpu=0.009) == (2, 1100)


def test_its_time_begins_anew_with_each_use(clock: Clock) -> None:
    life = idle_for(clock, 100)
    run_on(clock, life, 80)
    life.use()
    assert run_on(clock, life, 1000)[1] == pytest.approx(1180)


def test_one_that_a_call_uses_is_not_idle(clock: Clock) -> None:
    life = idle_for(clock, 100)
    life.calls += 1
    assert run_on(clock, life, 1000)[1] == 0
    life.calls -= 1
    life.use()
    assert run_on(clock, life, 1000)[1] == pytest.approx(2100)


def test_one_whose_programs_say_something_is_not_idle(clock: Clock) -> None:
    life = idle_for(clock, 100)
    for heard in range(1, 20):
        clock.now = life.next_look
        assert not life.is_idle(0.0, heard)
        life.look_again()


def test_one_that_is_paused_is_not_looked_at(clock: Clock) -> None:
    life = idle_for(clock, 100)
    life.look_again(is_running=False)
    assert life.due_at == 0

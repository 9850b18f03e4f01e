"""Work in bursts, and the wait of who has overspent."""

from __future__ import annotations

from guestlink_host.border.allowance import Allowance


def test_a_burst_is_free_and_more_waits_by_the_rate() -> None:
    allowance = Allowance(10, 2)
    assert allowance.spend(10, 0) == 0
    assert allowance.spend(4, 0) == 2
    assert allowance.spend(0, 1) == 1
    assert allowance.spend(0, 2) == 0


def test_nobody_saves_more_than_a_burst_and_nobody_waits_longer_than_for_one() -> None:
    allowance = Allowance(10, 2)
    allowance.spend(0, 0)
    assert allowance.spend(12, 1000) == 1
    assert allowance.spend(10**9, 1000) == 5


def test_time_that_runs_backwards_adds_nothing() -> None:
    allowance = Allowance(10, 2)
    allowance.spend(10, 100)
    assert allowance.spend(2, 0) == 1

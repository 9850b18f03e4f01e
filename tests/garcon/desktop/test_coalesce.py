"""When changes are published (chromeos-garcon.md §3.8; A1, A2 of §9.7). The clock is a variable: no test waits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop.coalesce import SETTLE, SETTLE_LIMIT, WINDOW, Coalescer


class Played:
    """Plays changes and publications of a given length, as an event loop would, and stores their times."""

    def __init__(self, changes: list[float], duration: float = 0.0) -> None:
        self.coalescer = Coalescer()
        self.begins: list[float] = []
        self.counts: list[tuple[float, int]] = []
        """The pending counts that garcon sends, like the original: after scheduling, and after every list."""
        pending = sorted(changes)
        end: float | None = None
        clock = 0.0
        while True:
            due = self.coalescer.due()
            now = min(
                time for time in (pending[0] if pending else None, end, due, float("inf")) if time is not None
            )
            if now == float("inf"):
                break
            # A publication that becomes due while another is running begins when that one ends.
            clock = max(clock, now)
            if pending and now == pending[0]:
                if self.coalescer.change(pending.pop(0)):
                    self.counts.append((now, self.coalescer.pending_count))
            elif now == end:
                end = None
                self.coalescer.end()
                self.counts.append((now, self.coalescer.pending_count))
            else:
                self.coalescer.begin(clock)
                self.begins.append(clock)
                end = clock + duration


def test_nothing_is_due_before_a_change() -> None:
    coalescer = Coalescer()
    assert coalescer.due() is None
    assert coalescer.pending_count == 0


def test_the_first_change_is_published_when_it_has_settled() -> None:
    assert Played([10.0]).begins == [pytest.approx(10.0 + SETTLE)]
    assert Played([10.0, 10.05]).begins == [pytest.approx(10.05 + SETTLE)]


def test_changes_that_go_on_do_not_delay_the_first_publication() -> None:
    """A package manager that is busy for a minute must not delay the first list."""
    begins = Played([10 + 0.05 * number for number in range(1200)]).begins
    assert begins[0] == pytest.approx(10 + SETTLE_LIMIT)
    assert SETTLE_LIMIT <= 0.3
    assert [later - earlier for earlier, later in pairwise(begins)] == [pytest.approx(WINDOW, abs=SETTLE_LIMIT)] * (
        len(begins) - 1
    )


def test_later_changes_are_absorbed_until_the_window_ends() -> None:
    """Events at 0, 1 and 2.9 s: the window absorbs the later ones (case A1 of chromeos-garcon.md §9.7).

    The original sends the first at the end of the window, we send it at once.
    """
    played = Played([0.0, 1.0, 2.9])
    assert played.begins == [pytest.approx(SETTLE), pytest.approx(SETTLE + WINDOW)]
    assert [count for _, count in played.counts] == [1, 0, 1, 0]


def test_a_change_during_a_publication_is_published_afterwards() -> None:
    """Case A2 (chromeos-garcon.md §9.7)."""
    played = Played([0.0, 2.0], duration=10.0)
    assert [count for _, count in played.counts] == [1, 2, 1, 0]
    assert played.begins == [pytest.approx(SETTLE), pytest.approx(SETTLE + 10.0)]


def test_a_change_after_the_window_is_a_first_one_again() -> None:
    assert Played([0.0, 10.0]).begins == [pytest.approx(SETTLE), pytest.approx(10.0 + SETTLE)]


def test_only_the_change_that_schedules_is_told() -> None:
    coalescer = Coalescer()
    assert [coalescer.change(now) for now in (0.0, 0.01, 0.02)] == [True, False, False]
    coalescer.begin(0.2)
    assert coalescer.change(0.3)
    assert coalescer.pending_count == 2
    assert coalescer.due() is None
    coalescer.end()
    assert coalescer.pending_count == 1


@given(
    st.lists(st.floats(0, 30, allow_nan=False, width=32), max_size=60),
    st.floats(0, 8, allow_nan=False, width=32),
)
def test_no_change_is_lost_and_none_waits_too_long(changes: list[float], duration: float) -> None:
    played = Played(changes, duration)
    assert played.coalescer.pending_count == 0
    assert all(count in (0, 1, 2) for _, count in played.counts)
    assert not played.counts or played.counts[-1][1] == 0
    for earlier, later in pairwise(played.begins):
        assert later - earlier >= WINDOW - 1e-6
    for change in changes:
        later = [begin for begin in played.begins if begin >= change]
        assert later, "a change was lost"
        earlier = [begin for begin in played.begins if begin < change]
        free = max(
            [change + SETTLE_LIMIT, *(begin + max(WINDOW, duration) + SETTLE_LIMIT for begin in earlier[-1:])]
        )
        assert later[0] <= free + 1e-6

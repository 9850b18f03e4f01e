"""Who has to go while many connections wait for their clients' first words."""

from __future__ import annotations

import random

from guestlink.waiting_room import RATE, WaitingRoom


def _room(count: int, *, start: int = 10, full: int = 20) -> WaitingRoom[int]:
    room = WaitingRoom[int](start, full)
    for number in range(count):
        room.enter(number)
    return room


def test_below_the_start_nobody_has_to_go() -> None:
    assert _room(9).make_room(0.0) is None
    assert _room(9).is_calm()
    assert not _room(10).is_calm()


def test_from_the_start_on_somebody_goes_with_a_probability_that_grows_to_one() -> None:
    assert _room(10).make_room(RATE) is None
    assert _room(10).make_room(RATE - 0.01) is not None
    assert _room(15).make_room(0.66) is None
    assert _room(15).make_room(0.64) is not None
    assert _room(20).make_room(0.999999) is not None


def test_those_go_that_have_waited_longer() -> None:
    gone = {_room(20).make_room(chance / 100) for chance in range(100)}
    assert gone == set(range(10))


def test_who_has_spoken_does_not_go_and_no_more_than_full_wait() -> None:
    room = WaitingRoom[int](10, 20)
    dice = random.Random(1)
    gone = []
    for number in range(1000):
        room.enter(number)
        gone.append(room.make_room(dice.random()))
        if number % 10 == 0:
            room.leave(number)
        assert len(room) <= 20
    assert not {number for number in gone if number is not None and number % 10 == 0}


def test_who_does_not_wait_leaves_without_effect() -> None:
    room = _room(3)
    room.leave(7)
    assert len(room) == 3

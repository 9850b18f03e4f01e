"""Positions of outputs under direct scale: each output's size differs from the host's by its own ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Position and size of an output."""

    x: int
    y: int
    width: int
    height: int


def arranged(places: Sequence[Place], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """New positions of outputs for other sizes: the arrangement stays, without gaps or overlaps.

    Outputs side by side follow each other from the left (chromeos-sommelier.md §3.2); in addition, an output that
    is below another one stays below it.

    :param places: positions and sizes on the host.
    :param sizes: sizes for the clients, in the same order.
    """
    found: list[tuple[int, int]] = [(0, 0)] * len(places)
    for index in sorted(range(len(places)), key=lambda index: places[index].x):
        mine = places[index]
        before = [other for other in range(len(places)) if _is_left(places[other], mine, comes_first=other < index)]
        found[index] = max((found[other][0] + sizes[other][0] for other in before), default=0), 0
    for index in sorted(range(len(places)), key=lambda index: places[index].y):
        above = [other for other, place in enumerate(places) if _is_above(place, places[index])]
        found[index] = found[index][0], max((found[other][1] + sizes[other][1] for other in above), default=0)
    return found


def _is_above(other: Place, mine: Place) -> bool:
    return other.y < mine.y and other.y + other.height <= mine.y


def _is_left(other: Place, mine: Place, *, comes_first: bool) -> bool:
    if other.x < mine.x and other.x + other.width <= mine.x:
        return True
    in_a_row = other.y < mine.y + mine.height and mine.y < other.y + other.height
    return in_a_row and (other.x < mine.x or (other.x == mine.x and comes_first))

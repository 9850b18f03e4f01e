"""Desktops with different scales, compared pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

from support.compositor import Compositor
from support.proxied import Proxied
from support.virtual_input import VirtualInput

SIZE = "1920x1200"
"""Size of an output in pixels, divisible by 1.5, 1.6 and 2."""
_AWAY = (960, 1170)
"""Position where the pointer rests."""
_NEAR = 2
"""Maximum length of a host's unit in pixels: coordinates that do not divide evenly may be off by this much."""


class Screen:
    """The looks of one program that fills a desktop's outputs.

    :param expected: the looks on another desktop without the proxy, one per step; None for that desktop itself.
    """

    def __init__(
        self,
        compositor: Compositor,
        given: VirtualInput,
        proxied: Proxied,
        expected: list[set[bytes]] | None = None,
    ) -> None:
        self.compositor = compositor
        self._given = given
        self._proxied = proxied
        self.looks: list[set[bytes]] = []
        self._expected = expected
        self._empty: set[bytes] = set()

    def start(self, argv: Sequence[str], *outputs: str) -> None:
        """Start a program and make it fill the first output.

        :param outputs: other outputs that the test moves the program to.
        """
        compositor = self.compositor
        for output in ("HEADLESS-1", *outputs):
            self._empty |= self._rest(output, set())
        self._proxied.program(*argv, through=self._expected is not None)
        compositor.wait("its window", compositor.windows)
        self._given.move(*_AWAY)
        before = self._rest("HEADLESS-1", set())
        compositor.sway("[app_id=.*] fullscreen enable")
        self.look(before=before)

    def click(self, x: int, y: int, button: int, times: int) -> None:
        """Click at a position, then move the pointer away."""
        self._given.click(x, y, button, times)
        self._given.move(*_AWAY)
        self.look()

    def click_opens(self, x: int, y: int, button: int) -> None:
        """Click at a position, which opens a menu. Its position must be as without a scale, but not its pixels."""
        before = self.looks[-1]
        self._given.click(x, y, button, 1)
        self._given.move(*_AWAY)
        if self._expected is None:
            self.look()
            return
        expected = self._expected[len(self.looks)]
        places = {_changed(one, other) for one in before for other in expected}

        def is_near() -> bool:
            shown = self._pixels("HEADLESS-1")
            found = {_changed(one, shown) for one in before}
            return any(_are_near(one, place) for one in found for place in places)

        self.compositor.wait("a menu where it is without a scale", is_near)
        self.looks.append(expected)

    def look(self, output: str = "HEADLESS-1", before: set[bytes] | None = None) -> None:
        """Wait until a program has finished drawing.

        :param before: the output's previous pictures, if these are not the last look.
        """
        if self._expected is None:
            self.looks.append(self._rest(output, self.looks[-1] if before is None else before))
            return
        expected = self._expected[len(self.looks)]
        self.compositor.wait("it looks as without a scale", lambda: self._pixels(output) in expected)
        self.looks.append(expected)

    def _pixels(self, output: str) -> bytes:
        """All rows except those under the resting pointer, whose size is not a whole number of units."""
        picture = self.compositor.pixels(output)
        return picture[: len(picture) * 11 // 12]

    def _rest(self, output: str, before: set[bytes]) -> set[bytes]:
        """The pictures of an output once it has changed and at most blinks."""
        last: list[bytes] = []

        def still() -> bool:
            last.append(self._pixels(output))
            recent = set(last[-8:])
            return len(last) >= 8 and len(recent) <= 2 and not recent & (before | self._empty)

        self.compositor.wait("it stands still", still)
        return set(last[-8:])


def _are_near(one: Sequence[int], other: Sequence[int]) -> bool:
    return all(abs(a - b) <= _NEAR for a, b in zip(one, other, strict=True))


def _changed(before: bytes, after: bytes) -> tuple[int, int, int, int]:
    """The rectangle in which two pictures differ: left, top, right and bottom; all 0 if they are equal."""
    row_size = 3 * int(SIZE.partition("x")[0])
    start = before.index(b"255\n") + 4
    rows = [
        (number, before[at : at + row_size], after[at : at + row_size])
        for number, at in enumerate(range(start, len(before) - row_size + 1, row_size))
        if before[at : at + row_size] != after[at : at + row_size]
    ]
    if not rows:
        return 0, 0, 0, 0
    left = min(_same(one, other) for _, one, other in rows)
    right = row_size - min(_same(one[::-1], other[::-1]) for _, one, other in rows)
    return left // 3, rows[0][0], (right + 2) // 3, rows[-1][0] + 1


def _same(one: bytes, other: bytes) -> int:
    """The number of leading bytes that two different rows have in common."""
    low, high = 0, len(one) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low

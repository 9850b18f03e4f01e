"""The same input to a program, once directly and once through the proxy: the pictures must be the same."""

from __future__ import annotations

import itertools
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from support.compositor import LIMIT, Compositor
from support.proxied import Proxied
from support.virtual_input import VirtualInput

_STILL = 5
"""Number of equal pictures in a row that show that a program has finished."""
_BLINKS = 12
"""Number of pictures that alternate between two contents, as a blinking caret makes them, and show the same."""
_INTERVAL = 0.2
_ATTEMPTS = 3
"""Number of tries, because a picture may show a program in the middle of drawing."""

_Look = frozenset[bytes]
"""The only picture of a program that does not change, or the two pictures of one with a caret."""

Act = Callable[[VirtualInput, int, int], None]
"""Sends input; the arguments are the input devices and the position of the window's upper left corner."""


class Step(NamedTuple):
    """Input to a program that changes its picture."""

    name: str
    act: Act


def click(x: int, y: int, *words: int) -> Act:
    """Click at a position in the window; ``words`` are the button and the number of clicks."""
    return lambda given, left, top: given.click(left + x, top + y, *words)


def point(x: int, y: int) -> Act:
    """Move the pointer to a position in the window."""
    return lambda given, left, top: given.move(left + x, top + y)


def drag(start: tuple[int, int], end: tuple[int, int]) -> Act:
    """Drag from one position in the window to another."""
    return lambda given, left, top: given.drag((left + start[0], top + start[1]), (left + end[0], top + end[1]))


def key(name: str, *modifiers: str) -> Act:
    """Press a key."""
    return lambda given, left, top: given.key(name, *modifiers)


def type_text(text: str) -> Act:
    """Type a string."""
    return lambda given, left, top: given.type(text)


class Replay:
    """Plays steps.

    :param compositor: the compositor that shows the programs.
    :param given: the compositor's keyboard and pointer.
    """

    def __init__(self, compositor: Compositor, given: VirtualInput, proxied: Proxied, pictures: Path) -> None:
        self._compositor = compositor
        self._given = given
        self._proxied = proxied
        self._pictures = pictures

    def compare(
        self,
        argv: Sequence[str],
        steps: Sequence[Step] = (),
        check: Callable[[], None] | None = None,
        **environ: str,
    ) -> None:
        """Play steps directly and through the proxy.

        :param check: called at the end of each run, while the program is still running.
        :raises AssertionError: the pictures differ; the message names the files that show both.
        """
        for _ in range(_ATTEMPTS):
            direct = self._play(argv, steps, None, check, environ)
            through = self._play(argv, steps, direct, check, environ)
            if len(through) == len(direct) and through[-1] == direct[-1]:
                return
        name = steps[len(through) - 2].name if len(through) > 1 else "start"
        raise AssertionError(f"after {name!r} the proxy shows something else: {self._pictures}/*.png")

    def _play(
        self,
        argv: Sequence[str],
        steps: Sequence[Step],
        expected: list[_Look] | None,
        check: Callable[[], None] | None,
        environ: dict[str, str],
    ) -> list[_Look]:
        """The looks after the start and after each step, up to the first that differs from ``expected``.

        :param expected: the looks of the direct run; if given, the program runs behind the proxy.
        """
        way = "direct" if expected is None else "through"
        compositor = self._compositor
        self._given.move(0, 0)
        looks: list[_Look] = []
        before = frozenset([compositor.picture()])
        program = self._proxied.program(*argv, through=expected is not None, **environ)
        try:
            self._proxied.wait(f"a window of {argv[0]}", compositor.windows)
            for number in range(len(steps) + 1):
                if number:
                    place = compositor.windows()[0]
                    left, top = (place["rect"][axis] + place["window_rect"][axis] for axis in "xy")
                    steps[number - 1].act(self._given, left, top)
                shown = self._settled(before) if expected is None else self._reached(expected[number])
                looks.append(shown if shown is not None else frozenset())
                picture = min(shown) if shown is not None else compositor.picture()
                (self._pictures / f"{number}-{way}.png").write_bytes(png(picture))
                if shown is None:
                    return looks
                before = shown
            if check is not None:
                check()
            return looks
        finally:
            self._proxied.end(program)
            self._proxied.wait("its window is gone", lambda: not compositor.windows())

    def _settled(self, before: _Look) -> _Look:
        """The look once the picture has changed and then either stays the same or only blinks."""
        last: list[bytes] = []
        deadline = time.monotonic() + LIMIT
        while True:
            last = [*last[1 - _BLINKS :], self._compositor.picture()]
            look = frozenset(last)
            changes = sum(a != b for a, b in itertools.pairwise(last))
            if last[-1] not in before and len(last) >= _STILL and len(set(last[-_STILL:])) == 1:
                return frozenset(last[-1:])
            if not look & before and len(last) == _BLINKS and len(look) == 2 and changes > 1:
                return look
            if time.monotonic() > deadline:
                (self._pictures / "unsettled.png").write_bytes(png(last[-1]))
                change = "change" if last[-1] in before else "stand still"
                raise AssertionError(f"the picture does not {change}: {self._pictures}/unsettled.png")
            time.sleep(_INTERVAL)

    def _reached(self, expected: _Look) -> _Look | None:
        """The expected look, or None if the compositor does not show it in time."""
        deadline = time.monotonic() + LIMIT / 2
        while self._compositor.picture() not in expected:
            if time.monotonic() > deadline:
                return None
            time.sleep(_INTERVAL)
        return expected


def png(ppm: bytes) -> bytes:
    """A PNG of a PPM."""
    _, size, _, pixels = ppm.split(b"\n", 3)
    width, height = map(int, size.split())
    rows = b"".join(b"\0" + pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    )

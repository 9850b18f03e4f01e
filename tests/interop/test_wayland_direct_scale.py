"""Direct scale, pixel by pixel: on outputs of any scale programs look as on an output that has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.needs import need
from support.proxied import FEATHERPAD, program_of
from support.virtual_input import LEFT

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

SIZE = "1920x1200"
"""Of an output in pixels: 1.5, 1.6 and 2 divide it."""
_AWAY = (960, 1170)
_PACKAGES = "foot featherpad gtk-3-examples weston"
_FOOT = ["foot", "sh", "-c", "printf 'Hello, World'; exec sleep 1000"]


class Case(NamedTuple):
    """A program on an output.

    :ivar clicks: places in pixels, with the button and how often, once it fills the screen.
    """

    argv: Sequence[str]
    scale: str
    clicks: Sequence[tuple[int, int, int, int]] = ()


CASES = {
    "foot: a word is selected": Case(_FOOT, "1.5", [(20, 8, LEFT, 2)]),
    "gtk3-demo: a list's entry": Case(["gtk3-demo"], "1.6", [(60, 165, LEFT, 1)]),
    "Qt 5: featherpad": Case(FEATHERPAD, "1.6"),
    "weston-terminal": Case(["weston-terminal", "--shell=/bin/cat"], "2"),
}


class Screen:
    """What a desktop's outputs show.

    :param expected: what another desktop has shown, look by look; None for the one that shows it.
    """

    def __init__(self, desktop: Desktop, expected: list[set[bytes]] | None = None) -> None:
        self.desktop = desktop
        self.looks: list[set[bytes]] = []
        self._expected = expected
        self._empty: set[bytes] = set()

    def start(self, argv: Sequence[str], *outputs: str) -> None:
        """Start a program and let it fill the first output.

        :param outputs: others that it will be on.
        """
        compositor = self.desktop.compositor
        for output in ("HEADLESS-1", *outputs):
            self._empty |= self._rest(output, set())
        self.desktop.proxied.program(*argv, through=self._expected is not None)
        compositor.wait("its window", compositor.windows)
        self.desktop.given.move(*_AWAY)
        before = self._rest("HEADLESS-1", set())
        compositor.sway("[app_id=.*] fullscreen enable")
        self.look(before=before)

    def click(self, x: int, y: int, button: int, times: int) -> None:
        """Click somewhere; the pointer rests elsewhere."""
        self.desktop.given.click(x, y, button, times)
        self.desktop.given.move(*_AWAY)
        self.look()

    def look(self, output: str = "HEADLESS-1", before: set[bytes] | None = None) -> None:
        """Wait until a program has done what it was told.

        :param before: what the output showed until then, if that was another look than the last.
        """
        if self._expected is None:
            self.looks.append(self._rest(output, self.looks[-1] if before is None else before))
            return
        expected = self._expected[len(self.looks)]
        self.desktop.compositor.wait("it looks as without a scale", lambda: self._pixels(output) in expected)
        self.looks.append(expected)

    def _pixels(self, output: str) -> bytes:
        """All rows but those that the pointer rests in: its picture is no whole number of units large."""
        picture = self.desktop.compositor.pixels(output)
        return picture[: len(picture) * 11 // 12]

    def _rest(self, output: str, before: set[bytes]) -> set[bytes]:
        """What an output shows once it has changed and does nothing but blink."""
        last: list[bytes] = []

        def still() -> bool:
            last.append(self._pixels(output))
            recent = set(last[-8:])
            return len(last) >= 8 and len(recent) <= 2 and not recent & (before | self._empty)

        self.desktop.compositor.wait("it stands still", still)
        return set(last[-8:])


@pytest.mark.parametrize("name", CASES)
def test_a_program_has_the_pixels_of_its_output(make_desktop: Callable[..., Desktop], name: str) -> None:
    argv, scale, clicks = CASES[name]
    need(program_of(argv), packages=_PACKAGES)

    def play(screen: Screen) -> list[set[bytes]]:
        screen.start(argv)
        for click in clicks:
            screen.click(*click)
        return screen.looks

    expected = play(Screen(make_desktop(size=SIZE)))
    scaled = make_desktop("--direct-scale", size=SIZE)
    scaled.compositor.sway(f"output HEADLESS-1 scale {scale}")
    play(Screen(scaled, expected))


def test_a_window_that_goes_to_another_output_has_the_pixels_there(make_desktop: Callable[..., Desktop]) -> None:
    need("foot", packages="foot")

    def play(screen: Screen, scale: str) -> list[set[bytes]]:
        compositor = screen.desktop.compositor
        compositor.sway("seat * hide_cursor 100")
        compositor.sway("create_output")
        compositor.sway(f"output HEADLESS-1 scale {scale} position 0 0")
        compositor.sway("output HEADLESS-2 resolution 1280x1000 position 1920 0")
        compositor.sway("focus output HEADLESS-1")
        screen.start(_FOOT, "HEADLESS-2")
        for output in ("HEADLESS-2", "HEADLESS-1"):
            compositor.sway(f"[app_id=.*] move container to output {output}")
            screen.look(output)
        return screen.looks

    expected = play(Screen(make_desktop(size=SIZE)), "1")
    play(Screen(make_desktop("--direct-scale", size=SIZE), expected), "1.6")

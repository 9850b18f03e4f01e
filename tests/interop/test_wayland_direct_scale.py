"""Direct scale, pixel by pixel: on outputs of any scale programs look as on an unscaled output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.needs import need
from support.proxied import FEATHERPAD, program_of
from support.screen import SIZE, Screen
from support.virtual_input import LEFT, RIGHT

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

_PACKAGES = "foot featherpad gtk-3-examples weston"
_TERMINAL = ["weston-terminal", "--shell=/bin/cat"]
_FOOT = ["foot", "sh", "-c", "printf 'Hello, World'; exec sleep 1000"]


class Case(NamedTuple):
    """A program on an output.

    :ivar clicks: clicks after the program fills the screen: position in pixels, button, number of clicks.
    """

    argv: Sequence[str]
    scale: str
    clicks: Sequence[tuple[int, int, int, int]] = ()


def _screen(desktop: Desktop, expected: list[set[bytes]] | None = None) -> Screen:
    return Screen(desktop.compositor, desktop.given, desktop.proxied, expected)


CASES = {
    "foot: a word is selected": Case(_FOOT, "1.5", [(20, 8, LEFT, 2)]),
    "gtk3-demo: a list's entry": Case(["gtk3-demo"], "1.6", [(60, 165, LEFT, 1)]),
    "Qt 5: featherpad": Case(FEATHERPAD, "1.6"),
    "weston-terminal": Case(_TERMINAL, "2"),
    # The menu's position and size are divisible by 1.5.
    "weston-terminal: a menu at the pointer": Case(_TERMINAL, "1.5", [(240, 240, RIGHT, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_program_has_the_pixels_of_its_output(make_desktop: Callable[..., Desktop], name: str) -> None:
    argv, scale, clicks = CASES[name]
    need(program_of(argv), packages=_PACKAGES)

    def play(screen: Screen) -> list[set[bytes]]:
        screen.start(argv)
        for click in clicks:
            screen.click(*click)
        return screen.looks

    expected = play(_screen(make_desktop(size=SIZE)))
    scaled = make_desktop("--direct-scale", size=SIZE)
    scaled.compositor.sway(f"output HEADLESS-1 scale {scale}")
    play(_screen(scaled, expected))


MENUS = {
    "gtk3-demo": Case(["gtk3-demo", "--run=menus"], "1.6", [(48, 24, LEFT, 1)]),
    "gtk4-demo": Case(["gtk4-demo", "--run=combobox"], "1.5", [(120, 57, LEFT, 1)]),
    "Qt 5: featherpad, at the pointer": Case(FEATHERPAD, "1.6", [(601, 483, RIGHT, 1)]),
}


@pytest.mark.parametrize("name", MENUS)
def test_a_menu_opens_where_it_does_without_a_scale(make_desktop: Callable[..., Desktop], name: str) -> None:
    argv, scale, ((x, y, button, _),) = MENUS[name]
    need(program_of(argv), packages=f"gtk-4-examples {_PACKAGES}")
    looks: list[set[bytes]] | None = None
    for desktop, output in ((make_desktop(size=SIZE), "1"), (make_desktop("--direct-scale", size=SIZE), scale)):
        desktop.compositor.sway(f"output HEADLESS-1 scale {output}")
        screen = _screen(desktop, looks)
        screen.start(argv)
        screen.click_opens(x, y, button)
        looks = screen.looks


def test_a_window_that_goes_to_another_output_has_the_pixels_there(make_desktop: Callable[..., Desktop]) -> None:
    need("foot", packages="foot")

    def play(screen: Screen, scale: str) -> list[set[bytes]]:
        compositor = screen.compositor
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

    expected = play(_screen(make_desktop(size=SIZE)), "1")
    play(_screen(make_desktop("--direct-scale", size=SIZE), expected), "1.6")

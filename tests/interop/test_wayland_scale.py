"""Scaling, pixel by pixel: a program with scaled units looks as if the host's output had another scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.needs import need
from support.proxied import FEATHERPAD, program_of
from support.screen import SIZE, Screen
from support.virtual_input import LEFT, RIGHT

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

PIXELS = "2048x1536"


class Case(NamedTuple):
    """A program without the proxy and behind it.

    :ivar direct: the scale of the output for the run without the proxy.
    :ivar through: the scale of the output for the run behind the proxy, and the proxy's switches.
    """

    direct: int
    through: int
    switch: str


CASES = {
    # Half as many client units as host units: programs draw twice as large, as on an output of scale 2.
    "low density": Case(2, 1, "--scale=0.5"),
    # Twice as many: one client unit per pixel of an output of scale 2.
    "every pixel": Case(1, 2, "--scale=2"),
}
PROGRAMS = {
    "gtk3-demo": ["gtk3-demo"],
    "gtk4-demo": ["gtk4-demo"],
    "foot": ["foot", "sh", "-c", "printf 'Hello, World'; exec sleep 1000"],
    "Qt 5: featherpad": FEATHERPAD,
    "weston-terminal": ["weston-terminal", "--shell=/bin/cat"],
    "weston-scaler": ["weston-scaler"],
    "weston-transformed": ["weston-transformed"],
}


def _show(desktop: Desktop, scale: int, argv: list[str], through: bool) -> set[bytes]:
    """The pictures of the window's contents, once they at most blink."""
    desktop.compositor.sway(f"output HEADLESS-1 scale {scale}")
    desktop.given.move(0, 0)
    desktop.proxied.program(*argv, through=through)
    desktop.compositor.wait("its window", desktop.compositor.windows)
    last: list[bytes] = []

    def still() -> bool:
        window = desktop.compositor.windows()[0]
        rect, inner = window["rect"], window["window_rect"]
        left, top = (rect[axis] + inner[axis] for axis in "xy")
        last.append(desktop.compositor.part(left, top, inner["width"], inner["height"], scale))
        recent = last[-8:]
        return len(recent) == 8 and len(set(recent)) <= 2 and len(set(recent[0])) > 4

    desktop.compositor.wait("it stands still", still)
    return set(last[-8:])


# An odd number of client units is not a whole number of host units: like the original, the proxy rounds the size
# up, and the host filters. So where the host has fewer units, only programs with even sizes look exactly the same.
@pytest.mark.parametrize(
    ("case", "name"),
    [("low density", name) for name in PROGRAMS]
    + [("every pixel", name) for name in ("foot", "Qt 5: featherpad", "weston-scaler", "weston-transformed")],
)
def test_a_scaled_program_looks_as_on_an_output_of_that_scale(
    make_desktop: Callable[..., Desktop], case: str, name: str
) -> None:
    need(program_of(PROGRAMS[name]), packages="gtk-3-examples gtk-4-examples foot featherpad weston")
    direct, through, switch = CASES[case]
    expected = _show(make_desktop(size=PIXELS), direct, PROGRAMS[name], through=False)
    shown = _show(make_desktop(switch, size=PIXELS), through, PROGRAMS[name], through=True)
    assert {len(picture) for picture in expected} == {len(picture) for picture in shown}, "another size"
    assert expected & shown


class Popup(NamedTuple):
    """A program with a menu.

    :ivar place: the position to click to open the menu, in pixels; :ivar button: the button to press there.
    """

    argv: list[str]
    place: tuple[int, int]
    button: int = LEFT


POPUPS = {
    "gtk3-demo": Popup(["gtk3-demo", "--run=menus"], (60, 24)),
    "gtk4-demo": Popup(["gtk4-demo", "--run=combobox"], (240, 114)),
    "Qt 5: featherpad": Popup(FEATHERPAD, (40, 20)),
    "Qt 5: featherpad, at the pointer": Popup(FEATHERPAD, (600, 500), RIGHT),
    "weston-terminal": Popup(["weston-terminal", "--shell=/bin/cat"], (400, 400), RIGHT),
}


@pytest.mark.parametrize("name", POPUPS)
def test_a_menu_of_a_scaled_program_is_where_it_is_on_an_output_of_that_scale(
    make_desktop: Callable[..., Desktop], name: str
) -> None:
    argv, place, button = POPUPS[name]
    need(program_of(argv), packages="gtk-3-examples gtk-4-examples featherpad weston")
    direct, through, switch = CASES["low density"]
    looks: list[set[bytes]] | None = None
    for scale, switches in ((direct, ()), (through, (switch,))):
        desktop = make_desktop(*switches, size=SIZE)
        desktop.compositor.sway(f"output HEADLESS-1 scale {scale}")
        screen = Screen(desktop.compositor, desktop.given, desktop.proxied, looks)
        screen.start(argv)
        screen.click(*place, button, 1)
        looks = screen.looks

"""The programs that people run: a window of each toolkit is shown, fills the output and closes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.compositor import LIMIT, Compositor, Headless
from support.needs import need
from support.other_compositors import Kwin, Mutter, Weston, missing
from support.proxied import FEATHERPAD
from support.x11_proxied import X11Proxied

pytestmark = pytest.mark.interop
SIZE = (1024, 768)
FIXED = "wm title . fixed; wm geometry . 320x240; wm resizable . 0 0\n"

PROGRAMS = {
    "Xt": (["xcalc"], "x11-apps"),
    "Xt with shapes": (["xeyes"], "x11-apps"),
    "Xt with a timer": (["xclock", "-update", "1"], "x11-apps"),
    "Tk": (["wish", "{script}"], "tk"),
    "GTK 3": (["gtk3-demo-application"], "gtk-3-examples"),
    "Qt 5": (FEATHERPAD, "featherpad"),
    "Qt 6": (["focuswriter"], "focuswriter"),
}
"""By toolkit: a program, and its package."""


class Screen:
    """A display, and what the usual tools say about its windows."""

    def __init__(self, proxied: X11Proxied) -> None:
        self.proxied = proxied

    def tool(self, *argv: str) -> str:
        """What a tool prints; a window may be gone by then."""
        done = subprocess.run(
            argv, env=self.proxied.variables(), capture_output=True, text=True, timeout=LIMIT, check=False
        )
        return done.stdout

    def windows(self) -> list[str]:
        """The managed windows."""
        return re.findall(r"0x[0-9a-f]+", self.tool("xprop", "-root", "-notype", "_NET_CLIENT_LIST"))

    def size(self, window: str) -> tuple[int, int]:
        """A window's width and height."""
        numbers = re.findall(r"(?:Width|Height): (\d+)", self.tool("xwininfo", "-id", window))
        return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else (0, 0)

    def fullscreen(self, window: str, action: str) -> None:
        """Ask the window manager, as a program does."""
        self.tool("wmctrl", "-i", "-r", window, "-b", f"{action},fullscreen")


@pytest.fixture
def desktop(short: Path) -> Iterator[tuple[Compositor, Screen]]:
    need("sway", "Xwayland", "wmctrl", "xprop", "xwininfo", packages="sway xwayland wmctrl x11-utils")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "x") as proxied:
        yield compositor, Screen(proxied)


def _is_shown(compositor: Compositor, screen: Screen, window: str) -> bool:
    """Whether sway shows the window in the size that X knows: what happens before is sway's choice."""
    places = [shown["window_rect"] for shown in compositor.windows()]
    return [(place["width"], place["height"]) for place in places] == [screen.size(window)]


@pytest.mark.parametrize("toolkit", PROGRAMS)
def test_a_window_is_shown_and_fills_the_output_and_closes(
    desktop: tuple[Compositor, Screen], toolkit: str
) -> None:
    compositor, screen = desktop
    wait = screen.proxied.wait
    argv, package = PROGRAMS[toolkit]
    need(argv[-2] if argv is FEATHERPAD else argv[0], packages=package)
    script = screen.proxied.home / "fixed.tcl"
    script.write_text(FIXED)
    program = screen.proxied.program(*(word.format(script=script) for word in argv))
    (window,) = wait("one window", screen.windows)
    wait("sway shows it", lambda: _is_shown(compositor, screen, window))
    if toolkit != "Qt 6":  # That one begins as fullscreen.
        screen.fullscreen(window, "add")
    wait("it fills the output", lambda: screen.size(window) == SIZE)
    wait("sway shows that", lambda: _is_shown(compositor, screen, window))
    screen.tool("wmctrl", "-i", "-c", window)
    wait("no window", lambda: not screen.windows())
    wait("the program's end", lambda: program.poll() is not None)


@pytest.mark.parametrize("kind", [Weston, Mutter, Kwin])
def test_a_window_of_one_size_fills_the_output(short: Path, kind: Callable[[Path], Headless]) -> None:
    """As games have it. Mutter takes the limits of a window as those of its fullscreen size."""
    assert isinstance(kind, type)
    need("Xwayland", "wmctrl", "xprop", "xwininfo", "wish", packages="xwayland wmctrl x11-utils tk")
    if lacks := missing(kind):
        need(*lacks, packages="weston mutter kwin-wayland dbus libglib2.0-bin")
    with kind(short / "compositor") as compositor, X11Proxied(compositor, short / "x") as proxied:
        screen = Screen(proxied)
        script = proxied.home / "fixed.tcl"
        script.write_text(FIXED)
        proxied.program("wish", str(script))
        (window,) = proxied.wait("one window", screen.windows)
        screen.fullscreen(window, "add")
        proxied.wait("it fills the output", lambda: screen.size(window) == SIZE)

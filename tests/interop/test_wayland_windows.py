"""The host desktop's actions on windows of programs behind the proxy, and these programs' own requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.compositor import Headless
from support.needs import need
from support.other_compositors import NestedMutter, Weston, missing
from support.proxied import FEATHERPAD, Proxied, program_of, same_pictures
from support.replay import Step
from support.virtual_input import VirtualInput

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop


def _window(desktop: Desktop) -> dict[str, Any]:
    (window,) = desktop.compositor.windows()
    return window


def _fills_the_screen(desktop: Desktop) -> bool:
    window = _window(desktop)
    return window["fullscreen_mode"] == 1 and window["rect"] == {"x": 0, "y": 0, "width": 1024, "height": 768}


def _corner(desktop: Desktop) -> bytes:
    """The colour of the screen's last pixel."""
    return desktop.compositor.part(1023, 767, 1, 1, 1)[-3:]


@pytest.mark.parametrize("program", [["foot"], ["gtk4-demo"], ["gtk3-demo"], FEATHERPAD])
def test_a_window_follows_the_size_that_the_desktop_gives(desktop: Desktop, program: list[str]) -> None:
    need(program_of(program), packages="foot gtk-4-examples gtk-3-examples featherpad")

    def resize(width: int, height: int) -> Step:
        def act(given: VirtualInput, left: int, top: int) -> None:
            desktop.compositor.sway(f"resize set {width} px {height} px, move position 60 px 40 px")

        return Step(f"{width}x{height}", act)

    desktop.replay.compare(program, [resize(900, 650), resize(820, 610), resize(870, 660)])


@pytest.mark.parametrize("program", [["foot"], ["gtk4-demo"]])
def test_a_window_fills_the_screen_and_comes_back(desktop: Desktop, program: list[str]) -> None:
    need(program[0], packages="foot gtk-4-examples")
    desktop.proxied.program(*program)
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")
    before = _window(desktop)["rect"]
    outside = _corner(desktop)
    desktop.compositor.sway("fullscreen enable")
    desktop.compositor.wait("it fills the screen", lambda: _fills_the_screen(desktop))
    # The program draws after sway's configure; sway takes the size of a late frame for the program's own.
    desktop.compositor.wait("it has drawn the whole screen", lambda: _corner(desktop) not in (outside, b"\0\0\0"))
    desktop.compositor.sway("fullscreen disable")
    desktop.compositor.wait("it is as before", lambda: _window(desktop)["rect"] == before)


def test_a_program_asks_for_the_whole_screen_by_itself(desktop: Desktop) -> None:
    need("foot", packages="foot")
    desktop.proxied.program("foot", "--fullscreen", "sh")
    desktop.compositor.wait("a window", desktop.compositor.windows)
    desktop.compositor.wait("it is fullscreen", lambda: _fills_the_screen(desktop))


def test_the_desktop_closes_a_window(desktop: Desktop) -> None:
    need("gtk3-demo", packages="gtk-3-examples")
    program = desktop.proxied.program("gtk3-demo")
    desktop.compositor.wait("a window", desktop.compositor.windows)
    desktop.compositor.sway("kill")
    desktop.proxied.wait("the program ends", lambda: program.poll() is not None)
    assert program.returncode == 0


def test_a_window_is_moved_by_its_own_title_bar(desktop: Desktop) -> None:
    need("gtk4-demo", packages="gtk-4-examples")
    desktop.proxied.program("gtk4-demo")
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")
    before = _window(desktop)["rect"]
    start = before["x"] + 300, before["y"] + 20
    desktop.given.drag(start, (start[0] + 40, start[1] + 30))
    # The toolkit starts a drag only after the pointer has moved some distance; the window moves from there.
    desktop.compositor.wait("it has moved", lambda: _window(desktop)["rect"]["x"] > before["x"] + 20)
    assert _window(desktop)["rect"]["y"] > before["y"] + 10
    assert _window(desktop)["rect"]["width"] == before["width"]


PROGRAMS = (
    ["weston-scaler"],
    ["weston-transformed"],
    ["weston-terminal", "--shell=/bin/cat"],
    ["gtk3-demo"],
    ["gtk4-demo"],
    [
        "mpv",
        "--vo=wlshm",
        "--no-config",
        "--no-audio",
        "--image-display-duration=inf",
        "--osd-level=0",
        "/usr/share/pixmaps/debian-logo.png",
    ],
)
CASES = [
    *((Weston, program) for program in (*PROGRAMS, FEATHERPAD, ["focuswriter"])),
    # Not with Qt: on Mutter its programs draw their own title bars, which sometimes differ between runs.
    *((NestedMutter, program) for program in PROGRAMS),
]


@pytest.mark.parametrize(
    ("kind", "program"), CASES, ids=lambda part: getattr(part, "__name__", "") or program_of(part)
)
def test_a_compositor_shows_the_same_through_the_proxy(
    short: Path, kind: type[Headless], program: list[str]
) -> None:
    need(*missing(kind), packages="weston mutter xvfb dbus libglib2.0-bin")
    need(program_of(program), packages="weston gtk-3-examples gtk-4-examples featherpad focuswriter mpv")
    same_pictures(kind, short, program)


@pytest.mark.parametrize("program", ["weston-simple-shm", "weston-simple-damage", "weston-flower", "weston-smoke"])
def test_a_program_that_draws_by_itself_is_shown_on_weston(short: Path, program: str) -> None:
    need(program, packages="weston")
    with _weston(short) as compositor, Proxied(compositor, short / "container") as proxied:
        empty = compositor.picture()
        proxied.program(program)
        proxied.wait("it is shown", lambda: compositor.picture() != empty)
        if program.startswith("weston-simple"):
            seen: set[bytes] = set()
            proxied.wait("it moves", lambda: seen.add(compositor.picture()) or len(seen) > 5)


def _weston(directory: Path) -> Weston:
    need(*missing(Weston), packages="weston")
    return Weston(directory / "compositor")

"""X11 programs in windows of a real compositor: keys, menus, and an Xwayland that dies."""

from __future__ import annotations

import struct
import subprocess
from functools import partial
from pathlib import Path

import pytest

from sommelier_shim.xwayland.x11.messages import (
    CreateWindow,
    DestroyWindow,
    EventMask,
    InternAtom,
    InternAtomReply,
    MapWindow,
    SendEvent,
    WindowClass,
)
from support.compositor import LIMIT, Compositor
from support.needs import need, need_status_0
from support.virtual_input import WlrootsInput
from support.x11_proxied import X11Proxied
from support.x_server import XClient

pytestmark = pytest.mark.interop
RED, GREEN = b"\xff\0\0", b"\0\xff\0"
SUPPORT = Path(__file__).resolve().parents[1] / "support"


def _shows(compositor: Compositor, title: str) -> bool:
    return _titles(compositor) == [title]


def _shows_nothing(compositor: Compositor) -> bool:
    return _titles(compositor) == []


def _titles(compositor: Compositor) -> list[str]:
    return [window["name"] for window in compositor.windows()]


def test_xterm_hears_the_keyboard_and_has_its_title(short: Path) -> None:
    need("sway", "grim", "Xwayland", "xterm", packages="sway grim xwayland xterm")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        proxied.program("xterm", "-title", "Shell in a box", "-e", "sh")
        compositor.wait("xterm's window", lambda: _titles(compositor) == ["Shell in a box"])
        written = proxied.home / "typed"
        with WlrootsInput(compositor.socket, compositor.size) as devices:

            def typed() -> bool:
                devices.type(f"echo a-line>{written}")
                devices.key("Return")
                devices.rest()
                return written.exists() and written.read_text() == "a-line\n"

            proxied.wait("what was typed", typed)


def test_a_title_that_is_too_long_for_wayland_is_cut(short: Path) -> None:
    need("sway", "grim", "Xwayland", "xterm", packages="sway grim xwayland xterm")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        proxied.program("xterm", "-title", "x" * 5000, "-e", "sh")
        compositor.wait("xterm's window", lambda: _titles(compositor) == ["x" * 4000])


def test_lies_about_surfaces_end_nobodys_windows(short: Path) -> None:
    """Any program can tell the window manager which surface belongs to which window."""
    need("sway", "grim", "Xwayland", "xterm", packages="sway grim xwayland xterm")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        proxied.program("xterm", "-title", "honest", "-e", "sh")
        compositor.wait("xterm's window", lambda: _titles(compositor) == ["honest"])
        liar = XClient(proxied.display, Path(proxied.authority).read_bytes()[-16:])
        atom = liar.call(InternAtom(False, b"WL_SURFACE_ID"), InternAtomReply).atom
        for surface in range(1, 100):
            window = liar.wire.new_id()
            create = CreateWindow(0, window, liar.root, 0, 0, 10, 10, 0, WindowClass.INPUT_OUTPUT, 0, {})
            liar.wire.request(create)
            said = struct.pack("<BBHII5I", 33, 32, 0, window, atom, surface, 0, 0, 0, 0)
            mask = EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT
            liar.wire.request(SendEvent(False, liar.root, mask, said))
            liar.wire.request(MapWindow(window))
            assert liar.sync() == []
            if surface % 2:
                liar.wire.request(DestroyWindow(window))
        assert liar.sync() == []
        liar.close()
        compositor.wait("xterm's window alone", lambda: _titles(compositor) == ["honest"])


def test_who_has_no_cookie_is_refused(short: Path) -> None:
    need("sway", "Xwayland", "xwininfo", packages="sway xwayland x11-utils")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        argv = ["xwininfo", "-root"]
        for authority, status in ((proxied.authority, 0), ("/nonexistent", 1)):
            environ = proxied.variables() | {"XAUTHORITY": authority, "HOME": "/nonexistent"}
            done = subprocess.run(argv, env=environ, capture_output=True, timeout=LIMIT, check=False)
            assert done.returncode == status, done.stderr


def test_a_menu_opens_where_the_program_put_it(short: Path) -> None:
    need("sway", "grim", "Xwayland", packages="sway grim xwayland")
    need_status_0("/usr/bin/python3", "-c", "import gi", packages="python3-gi gir1.2-gtk-3.0")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        proxied.program("/usr/bin/python3", str(SUPPORT / "x11_menu.py"))
        compositor.wait("the window", lambda: _titles(compositor) == ["menu"])
        with WlrootsInput(compositor.socket, compositor.size) as devices:

            def pressed() -> bool:
                if "pressed" not in proxied.said():
                    devices.click(500, 300)
                    devices.rest()
                return "places" in proxied.said()

            proxied.wait("the menu", pressed)
        menu_x, menu_y, width, height, x, y = map(int, proxied.said().split("places ")[1].split()[:6])

        def is_there() -> bool:
            picture = compositor.pixels()
            window, menu = _bounds(picture, RED), _bounds(picture, GREEN)
            return menu == (window[0] + menu_x - x, window[1] + menu_y - y, width, height)

        compositor.wait("the menu in its place", is_there)


def test_a_program_of_the_user_changes_states(short: Path) -> None:
    """wmctrl and xdotool, which scripts use, find a window manager that they know."""
    need("sway", "Xwayland", "xterm", "wmctrl", "xdotool", packages="sway xwayland xterm wmctrl xdotool")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:

        def tool(*argv: str) -> str:
            done = subprocess.run(
                argv, env=proxied.variables(), capture_output=True, text=True, timeout=LIMIT, check=True
            )
            return done.stdout

        def size() -> str:
            return tool("xdotool", "search", "--name", "states", "getwindowgeometry").split("Geometry: ")[1].strip()

        def becomes(mode: int, wanted: str) -> bool:
            return (compositor.windows()[0]["fullscreen_mode"], size()) == (mode, wanted)

        def is_tiled() -> bool:
            tile = compositor.windows()[0]["window_rect"]
            return size() == f"{tile['width']}x{tile['height']}"

        proxied.program("xterm", "-title", "states")
        compositor.wait("xterm's window", partial(_shows, compositor, "states"))
        compositor.wait("xterm's window has its tile's size", is_tiled)
        before = size()
        for action, mode, wanted in (("add", 1, "1024x768"), ("remove", 0, before)):
            tool("wmctrl", "-r", "states", "-b", f"{action},fullscreen")
            compositor.wait(f"{action} fullscreen", partial(becomes, mode, wanted))
        tool("wmctrl", "-c", "states")
        compositor.wait("no window", partial(_shows_nothing, compositor))


def test_xwayland_dies_and_the_next_program_starts_it_again(short: Path) -> None:
    need("sway", "grim", "Xwayland", "xterm", "pgrep", packages="sway grim xwayland xterm procps")
    with Compositor(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        for title in ("first", "second", "third"):
            proxied.program("xterm", "-title", title)
            compositor.wait("xterm's window", partial(_shows, compositor, title))
            proxied.kill_xwayland()
            compositor.wait("no window", lambda: _titles(compositor) == [])


@pytest.mark.parametrize("size", [5, 100_000, 3_000_000])
@pytest.mark.parametrize("kind", ["text/plain;charset=utf-8", "image/png"])
def test_the_clipboard_in_both_directions(short: Path, size: int, kind: str) -> None:
    need("sway", "Xwayland", "xterm", "xclip", "wl-copy", packages="sway xwayland xterm xclip wl-clipboard")
    with (
        Compositor(short / "compositor") as compositor,
        WlrootsInput(compositor.socket, compositor.size) as devices,
        X11Proxied(compositor, short / "container") as proxied,
    ):
        proxied.program("xterm", "-title", "focused")
        compositor.wait("xterm's window", partial(_shows, compositor, "focused"))
        devices.key("Return")  # Compositors let only a program that has heard the user set the clipboard.
        content = (b"\x89PNG" if kind == "image/png" else b"text") + bytes(97 + at % 26 for at in range(size))
        target = "UTF8_STRING" if kind != "image/png" else kind
        host = compositor.environ_of_its_user() | compositor.environ
        paste = ["wl-paste", "--no-newline", "--type", kind]
        # From X to the host.
        subprocess.run(
            ["xclip", "-selection", "clipboard", "-t", target, "-i"],
            input=content, env=proxied.variables(), timeout=LIMIT, check=True,
        )  # fmt: skip

        def pasted() -> bool:
            done = subprocess.run(paste, env=host, capture_output=True, timeout=LIMIT, check=False)
            return done.stdout == content

        compositor.wait("the host pastes", pasted)
        # From the host to X.
        content = content[::-1]
        copy = subprocess.run(["wl-copy", "--type", kind], input=content, env=host, timeout=LIMIT, check=False)
        assert copy.returncode == 0

        def taken() -> bool:
            argv = ["xclip", "-selection", "clipboard", "-t", target, "-o"]
            done = subprocess.run(argv, env=proxied.variables(), capture_output=True, timeout=LIMIT, check=False)
            return done.stdout == content

        compositor.wait("an X program pastes", taken)


def _bounds(pixels: bytes, color: bytes) -> tuple[int, int, int, int]:
    """Left, top, width and height of all pixels of a color in a PPM of the whole output."""
    magic, size, _, raw = pixels.split(b"\n", 3)
    assert magic == b"P6"
    columns = int(size.split()[0])
    found = [at // 3 for at in range(0, len(raw), 3) if raw[at : at + 3] == color]
    if not found:
        return 0, 0, 0, 0
    xs, ys = [at % columns for at in found], [at // columns for at in found]
    return min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1

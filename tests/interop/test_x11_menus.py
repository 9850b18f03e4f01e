"""Menus of real toolkits are where Xvfb with openbox has them, relative to their window, and the host shows them
there."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.compositor import LIMIT, Compositor
from support.needs import need, need_status_0
from support.virtual_input import WlrootsInput
from support.x11_proxied import X11Proxied
from support.x_server import x_server
from support.xwd import window_picture

pytestmark = pytest.mark.interop
PROGRAM = Path(__file__).resolve().parents[1] / "support" / "x11_menus.py"
BINDINGS = {"gtk3": "import gi", "tk": "import tkinter", "qt5": "import PyQt5", "qt6": "import PyQt6"}
TOOLS = "sway grim xwayland xvfb openbox xdotool x11-utils x11-apps"
PACKAGES = "python3-gi gir1.2-gtk-3.0 python3-tk python3-pyqt5 python3-pyqt6"
_FIRST_MENU = (15, 12)
"""A place in the window that is on the menu bar's first menu in every toolkit."""

Place = tuple[int, int, int, int]
"""Left, top, width, height."""


class _Menus:
    """What a program has opened on an X display.

    :param environ: of an X program there.
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ

    def tool(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self._environ, capture_output=True, text=True, timeout=LIMIT, check=False)
        return done.stdout

    def window(self) -> tuple[str, Place] | None:
        """The program's window and its place."""
        number = self.tool("xdotool", "search", "--onlyvisible", "--name", "^menus$").strip().partition("\n")[0]
        found = self._place(number) if number else None
        return (number, found) if found is not None else None

    def opened(self) -> dict[str, Place]:
        """The menus that are open, relative to the window, by the X window; the leftmost first."""
        if (window := self.window()) is None:
            return {}
        _, (left, top, _, _) = window
        found: dict[str, Place] = {}
        for row in self.tool("xwininfo", "-root", "-children").splitlines():
            number = row.split()[0] if row.split() else ""
            if not number.startswith("0x"):
                continue
            said = self.tool("xwininfo", "-id", number)
            if "Override Redirect State: yes" in said and "Map State: IsViewable" in said:
                place = self._place(number)
                if place is not None and place[2] > 40 and place[3] > 20:
                    found[number] = (place[0] - left, place[1] - top, place[2], place[3])
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def _place(self, number: str) -> Place | None:
        said = self.tool("xwininfo", "-id", number)
        names = ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")
        found = [re.search(rf"{name}: +(-?\d+)", said) for name in names]
        if None in found:
            return None
        x, y, width, height = (int(one.group(1)) for one in found if one is not None)
        return x, y, width, height


def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.1)


@contextlib.contextmanager
def _on_openbox(directory: Path, toolkit: str) -> Iterator[_Menus]:
    """The program under Xvfb with openbox."""
    directory.mkdir()
    with x_server(directory) as display, contextlib.ExitStack() as stack:
        environ = {"PATH": os.environ["PATH"], "DISPLAY": display, "HOME": str(directory), "LANG": "C.UTF-8"}
        environ |= {"NO_AT_BRIDGE": "1", "QT_QPA_PLATFORM": "xcb", "GDK_BACKEND": "x11"}
        menus = _Menus(environ)
        # The same density as behind the proxy: the sizes of menus depend on it.
        menus.tool("xprop", "-root", "-f", "RESOURCE_MANAGER", "8s", "-set", "RESOURCE_MANAGER", "Xft.dpi:\t96\n")
        for argv in (["openbox"], ["/usr/bin/python3", str(PROGRAM), toolkit]):
            child = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(child.wait, LIMIT)
            stack.callback(child.kill)
        yield menus


def _menus_of_openbox(directory: Path, toolkit: str) -> list[Place]:
    with _on_openbox(directory, toolkit) as menus:
        _until("the window", lambda: menus.window() is not None)

        def point(x: int, y: int, *more: str) -> None:
            found = menus.window()
            assert found is not None
            _, (left, top, _, _) = found
            menus.tool("xdotool", "mousemove", str(left + x), str(top + y), *more)

        return list(_open(menus, lambda x, y: point(x, y, "click", "1"), point).values())


def _open(menus: _Menus, click: Callable[[int, int], None], move: Callable[[int, int], None]) -> dict[str, Place]:
    """Open the first menu and the one in it."""

    def first() -> bool:
        if not menus.opened():
            click(*_FIRST_MENU)
            time.sleep(0.5)
        return len(menus.opened()) == 1

    _until("the menu", first)
    x, y, width, height = next(iter(menus.opened().values()))

    def nested() -> bool:
        # The third of three items opens the nested menu when the pointer rests there.
        for near in (-2, 0):
            move(x + width // 2 + near, y + height - height // 6)
        time.sleep(0.5)
        return len(menus.opened()) == 2

    _until("the nested menu", nested)
    return menus.opened()


@pytest.mark.parametrize("toolkit", list(BINDINGS))
def test_menus_are_where_openbox_has_them(short: Path, toolkit: str) -> None:
    need("sway", "grim", "Xwayland", "Xvfb", "openbox", "xdotool", "xwininfo", "xwd", packages=TOOLS)
    need_status_0("/usr/bin/python3", "-c", BINDINGS[toolkit], packages=PACKAGES)
    expected = _menus_of_openbox(short / "openbox", toolkit)
    with (
        Compositor(short / "compositor", "800x600") as compositor,
        X11Proxied(compositor, short / "container") as proxied,
        WlrootsInput(compositor.socket, compositor.size) as devices,
    ):
        proxied.program("/usr/bin/python3", str(PROGRAM), toolkit)
        menus = _Menus(proxied.variables())
        compositor.wait("the window", lambda: compositor.windows() and menus.window())

        def origin() -> tuple[int, int]:
            window = compositor.windows()[0]
            return (
                window["rect"]["x"] + window["window_rect"]["x"],
                window["rect"]["y"] + window["window_rect"]["y"],
            )

        def click(x: int, y: int) -> None:
            left, top = origin()
            devices.click(left + x, top + y)
            devices.rest()

        def move(x: int, y: int) -> None:
            left, top = origin()
            devices.move(left + x, top + y)
            devices.rest()

        opened = _open(menus, click, move)
        for place, other in zip(opened.values(), expected, strict=True):
            assert max(abs(one - two) for one, two in zip(place, other, strict=True)) <= 1, (opened, expected)

        def is_shown() -> bool:
            """The host shows every menu at its place: the screen has the pixels of the X window there."""
            left, top = origin()
            screen = compositor.part(0, 0, 800, 600, 1).split(b"\n", 3)[3]
            # Menus overlap by two pixels, and the pointer is above one.
            return all(
                window_picture(proxied.variables(), "-id", number).is_at(screen, 800, left + x, top + y, most=0.02)
                for number, (x, y, _, _) in menus.opened().items()
            )

        compositor.wait("the menus on the screen", is_shown)

"""Drag and drop between X11 programs and the host's, with real toolkits on sway."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.compositor import LIMIT, Compositor
from support.needs import need, need_status_0
from support.virtual_input import LEFT, WlrootsInput
from support.x11_proxied import X11Proxied

pytestmark = pytest.mark.interop

PYTHON = "/usr/bin/python3"
PROGRAM = str(Path(__file__).with_name("drag_program.py"))


class Windows:
    """Drag programs at places of their own.

    :param backends: GDK's backend of each: ``x11`` for a program of the container, ``wayland`` for the host's.
    """

    def __init__(self, compositor: Compositor, proxied: X11Proxied, *backends: str) -> None:
        need_status_0(
            PYTHON, "-c", "import gi; gi.require_version('Gtk', '3.0')", packages="python3-gi gir1.2-gtk-3.0"
        )
        self.programs: list[subprocess.Popen[bytes]] = []
        self._compositor = compositor
        self._proxied = proxied
        for number, backend in enumerate(backends):
            name = f"program{number}"
            environ = {"GDK_BACKEND": backend, "WAYLAND_DISPLAY": str(compositor.socket)}
            self.programs.append(proxied.program(PYTHON, PROGRAM, name, **environ))
            compositor.wait(f"the window of {name}", lambda name=name: self._rect(name))
            compositor.sway(f'[title="^{name}$"] move position {20 + 500 * number} px {80 + 300 * number} px')
        compositor.wait_for_window(proxied.directory / "windows.png")

    def place(self, number: int, part: float) -> tuple[int, int]:
        """A position in a window, at this fraction of its width."""
        x, y, width, height = self._rect(f"program{number}")
        return x + int(width * part), y + height // 2

    def is_raised(self, number: int) -> bool:
        """Whether X has a window above the others, as the host has."""
        stacking = self._xprop("-root", "_NET_CLIENT_LIST_STACKING").split()[-1]
        return f'"program{number}"' in self._xprop("-id", stacking, "WM_NAME")

    def _xprop(self, *words: str) -> str:
        argv, environ = ["xprop", *words], self._proxied.variables()
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=LIMIT, check=True).stdout

    def got(self, number: int) -> list[str]:
        """The texts dropped on a program."""
        return self._proxied.said(number + 1).splitlines()

    def _rect(self, name: str) -> tuple[int, int, int, int]:
        for window in self._compositor.windows():
            if window["name"] == name:
                rect, inner = window["rect"], window["window_rect"]
                return rect["x"] + inner["x"], rect["y"] + inner["y"], inner["width"], inner["height"]
        return ()  # type: ignore[return-value]


@pytest.mark.parametrize(
    "backends",
    [("wayland", "x11"), ("x11", "wayland"), ("x11", "x11"), ("x11",)],
    ids=["from the host", "to the host", "between two", "within a program"],
)
def test_what_is_dragged_is_dropped(short: Path, backends: tuple[str, ...]) -> None:
    need("sway", "grim", "Xwayland", "xprop", packages="sway grim xwayland x11-utils")
    with (
        Compositor(short / "compositor") as compositor,
        WlrootsInput(compositor.socket, compositor.size) as devices,
        X11Proxied(compositor, short / "container") as proxied,
    ):
        windows = Windows(compositor, proxied, *backends)
        last = len(backends) - 1
        start, end = windows.place(0, 0.2), windows.place(last, 0.8)
        devices.move(*start)
        if backends[0] == "x11":
            compositor.wait("the window below the pointer in X", lambda: windows.is_raised(0))
        devices.drag(start, end, steps=30)
        proxied.wait("it is dropped", lambda: f"program{last} got from program0" in windows.got(last))


@pytest.mark.parametrize("dies", [False, True], ids=["refused", "the source dies"])
def test_a_drag_that_ends_nowhere_leaves_the_next_one(short: Path, dies: bool) -> None:
    need("sway", "grim", "Xwayland", "xprop", packages="sway grim xwayland x11-utils")
    with (
        Compositor(short / "compositor") as compositor,
        WlrootsInput(compositor.socket, compositor.size) as devices,
        X11Proxied(compositor, short / "container") as proxied,
    ):
        windows = Windows(compositor, proxied, "x11", "x11")
        start, nowhere = windows.place(0, 0.2), (900, 100)
        devices.move(*start)
        compositor.wait("the window below the pointer in X", lambda: windows.is_raised(0))
        devices.move(*start)
        devices.button(LEFT, True)
        devices.pull(start, nowhere, 30)
        if dies:
            proxied.end(windows.programs[0])
        devices.button(LEFT, False)
        start, end = windows.place(1, 0.2), windows.place(1, 0.8)
        devices.move(*start)
        compositor.wait("the other window below the pointer in X", lambda: windows.is_raised(1))

        def is_dropped() -> bool:
            if not windows.got(1):
                devices.drag(start, end, steps=30)
                devices.rest()
            return "program1 got from program1" in windows.got(1)

        proxied.wait("it is dropped", is_dropped)
        assert not windows.got(0)

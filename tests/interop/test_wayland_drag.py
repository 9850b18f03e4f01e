"""Drag and drop within a program, and between programs behind the proxy and the host's programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.needs import need_status_0

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

PYTHON = "/usr/bin/python3"
PROGRAM = str(Path(__file__).with_name("drag_program.py"))


class Windows:
    """Two or more drag programs side by side.

    :param ways: for each program, whether it runs behind the proxy.
    """

    def __init__(self, desktop: Desktop, *ways: bool) -> None:
        need_status_0(
            PYTHON, "-c", "import gi; gi.require_version('Gtk', '3.0')", packages="python3-gi gir1.2-gtk-3.0"
        )
        self.desktop = desktop
        for number, through in enumerate(ways):
            name = f"program{number}"
            desktop.proxied.program(PYTHON, PROGRAM, name, through=through)
            desktop.compositor.wait(f"the window of {name}", lambda name=name: self._find(name))
            desktop.compositor.sway(
                f'[title="^{name}$"] move position {20 + 500 * number} px {80 + 300 * number} px'
            )
        desktop.compositor.wait_for_window(desktop.proxied.directory / "windows.png")

    def drag(self, start: int, end: int) -> None:
        """Drag one program's text to another program, or to itself."""
        self.desktop.given.drag(self._place(start, 0.2), self._place(end, 0.8), steps=30)

    def got(self, number: int) -> list[str]:
        """The texts dropped on a program."""
        return self.desktop.proxied.said(number + 1).splitlines()

    def _find(self, name: str) -> bool:
        return any(window["name"] == name for window in self.desktop.compositor.windows())

    def _place(self, number: int, part: float) -> tuple[int, int]:
        """A position in a window, at this fraction of its width."""
        (window,) = (w for w in self.desktop.compositor.windows() if w["name"] == f"program{number}")
        rect, inner = window["rect"], window["window_rect"]
        return (
            rect["x"] + inner["x"] + int(inner["width"] * part),
            rect["y"] + inner["y"] + inner["height"] // 2,
        )


@pytest.mark.parametrize(
    ("ways", "start", "end"),
    [
        ((True,), 0, 0),
        ((True, True), 0, 1),
        ((True, False), 0, 1),
        ((False, True), 0, 1),
    ],
    ids=["within a program", "between two", "to the host", "from the host"],
)
@pytest.mark.parametrize("switches", [[], ["--scale=0.5"]], ids=["unscaled", "low density"])
def test_what_is_dragged_is_dropped(
    make_desktop: Callable[..., Desktop], ways: tuple[bool, ...], start: int, end: int, switches: list[str]
) -> None:
    windows = Windows(make_desktop(*switches), *ways)
    windows.drag(start, end)
    windows.desktop.proxied.wait(
        "it is dropped", lambda: f"program{end} got from program{start}" in windows.got(end)
    )


@pytest.mark.parametrize(
    ("policy", "ways"),
    [
        ("to-host", (True, False)),
        ("to-host", (False, True)),
        ("to-guest", (True, False)),
        ("to-guest", (False, True)),
        ("off", (True, False)),
        ("off", (False, True)),
    ],
)
def test_a_policy_holds_for_drags(
    make_desktop: Callable[..., Desktop], policy: str, ways: tuple[bool, ...]
) -> None:
    windows = Windows(make_desktop(f"--clipboard={policy}"), *ways)
    windows.drag(0, 1)
    crosses = (policy == "to-host" and ways[0]) or (policy == "to-guest" and ways[1])
    if crosses:
        windows.desktop.proxied.wait("it is dropped", lambda: "program1 got from program0" in windows.got(1))
        return
    # The host's program then drags to itself; when that drop arrives, the refused drop would have arrived too.
    host = ways.index(False)
    windows.drag(host, host)
    windows.desktop.proxied.wait(
        "the host's own drag is dropped", lambda: f"program{host} got from program{host}" in windows.got(host)
    )
    assert "program1 got from program0" not in windows.got(1)

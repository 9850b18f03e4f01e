"""Games under X11: a pointer that is locked, and motion without a place, by SDL 2 on sway."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.compositor import Compositor
from support.needs import need, need_status_0
from support.virtual_input import WlrootsInput
from support.x11_proxied import X11Proxied

pytestmark = pytest.mark.interop

PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).resolve().parents[1] / "support" / "sdl_relative.py"


def test_a_game_turns_on_while_its_pointer_is_locked(short: Path) -> None:
    need("sway", "grim", "Xwayland", packages="sway grim xwayland")
    load = 'import ctypes; ctypes.CDLL("libSDL2-2.0.so.0")'
    need_status_0(PYTHON, "-c", load, packages="libsdl2-2.0-0")
    with Compositor(short / "compositor") as compositor:
        # Sway locks no pointer of a seat that no setting names.
        compositor.sway("seat * pointer_constraint enable")
        with (
            WlrootsInput(compositor.socket, compositor.size) as devices,
            X11Proxied(compositor, short / "container") as proxied,
        ):
            proxied.program(PYTHON, str(PROGRAM))
            compositor.wait("the window", lambda: [one["name"] for one in compositor.windows()] == ["game"])
            rect = compositor.windows()[0]["rect"]
            x, y = rect["x"] + rect["width"] // 2, rect["y"] + rect["height"] // 2

            def is_pressed() -> bool:
                devices.click(x, y)
                devices.rest()
                return "relative 0" in proxied.said()

            proxied.wait("the relative mode", is_pressed)

            def turned() -> int:
                """Move to the same place again: a pointer that is locked has never come there."""
                devices.move(x + 50, y)
                devices.rest()
                moved = [line.split() for line in proxied.said().splitlines() if line.startswith("motion")]
                return int(moved[-1][1]) if moved else 0

            proxied.wait("more motion than the screen has room for", lambda: turned() > 1500)

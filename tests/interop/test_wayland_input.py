"""Keys and clicks through the proxy on KWin and Mutter; every other test covers sway."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from support.needs import need, need_status_0
from support.other_compositors import Kwin, Mutter, OnABus, missing
from support.proxied import Proxied

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("kind", [Kwin, Mutter])
def test_a_program_hears_keys_and_the_pointer(short: Path, kind: type[OnABus]) -> None:
    need("weston-eventdemo", "stdbuf", *missing(kind), packages="weston kwin-wayland mutter dbus libglib2.0-bin")
    need_status_0("/usr/bin/python3", "-c", "import gi", packages="python3-gi")
    with kind(short / "compositor") as compositor, Proxied(compositor, short / "container") as proxied:
        proxied.program("stdbuf", "-oL", "weston-eventdemo")

        # The desktop chooses the window's position.
        places = itertools.cycle([(512, 384), (200, 150), (800, 150), (200, 600), (800, 600)])

        def heard() -> bool:
            # A program whose window is not open yet, or that has not bound the devices yet, misses some events.
            compositor.click_and_type(*next(places), 30)
            said = proxied.said()
            return all(f"state: {state}" in said for state in ("pressed", "released")) and all(
                word in said for word in ("button: 272", "key key: 30, unicode: 97")
            )

        proxied.wait("a click and a key", heard)

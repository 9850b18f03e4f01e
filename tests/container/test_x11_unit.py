"""The X11 unit in a booted container that has Xwayland: it publishes the display, and a launch shows a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import missing_tools
from support.needs import absent
from support.pair import Pair, booted_pair, write

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def pair(packages: Path) -> Iterator[Pair]:
    if missing := missing_tools():
        absent(f"a container needs {', '.join(missing)}")
    with booted_pair("bookworm", packages, "xwayland,x11-apps") as made:
        write(
            made.machine,
            "/usr/share/applications/xclock.desktop",
            "[Desktop Entry]\nType=Application\nName=Clock\nExec=xclock\nStartupWMClass=XClock\n",
        )
        done = made.machine.root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        assert done.returncode == 0, done.stdout + done.stderr
        made.stage.wait_registered()
        yield made


def _shows_the_clock(pair: Pair) -> bool:
    """Whether there is a window with the name of its launcher, by which docks find the launcher."""
    return "guestlink-guest-xclock" in [window["app_id"] for window in pair.compositor.windows()]


def test_the_unit_publishes_its_display_and_xwayland_waits_for_a_program(pair: Pair) -> None:
    assert pair.machine.user("systemctl", "--user", "is-active", "guestlink-sommelier-x@0").stdout == "active\n"
    published = pair.machine.check_user("systemctl", "--user", "show-environment").splitlines()
    assert "DISPLAY=:0" in published
    assert "XAUTHORITY=/run/user/1000/guestlink/Xauthority-0" in published
    shown = pair.machine.user("systemctl", "--user", "status", "guestlink-sommelier-x@0").stdout
    assert "Xwayland" not in shown.replace("Guestlink: X11", "")
    skipped = pair.machine.user("systemctl", "--user", "show", "-p", "Result", "guestlink-sommelier-x@1").stdout
    assert skipped == "Result=exec-condition\n"


def test_a_launch_shows_an_x11_programs_window(pair: Pair) -> None:
    pair.host("launch", "guest", "xclock")
    pair.machine.wait("its window is shown", lambda: _shows_the_clock(pair))
    pair.machine.check_user("systemctl", "--user", "stop", "app-guestlink-xclock@*.service")
    pair.machine.wait("its window has gone", lambda: not _shows_the_clock(pair))

"""X11 programs on outputs of several scales: places, sizes and sharp contents."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sommelier_shim.xwayland.x11.messages import RandRGetMonitors, RandRGetMonitorsReply
from support.compositor import LIMIT, ScaledOutputs
from support.needs import need
from support.x11_proxied import X11Proxied
from support.x_server import XClient
from support.xwd import window_picture

pytestmark = pytest.mark.interop
TOOLS = "sway grim xwayland xterm xdotool x11-apps x11-utils"
XTERM = ["xterm", "-title", "text", "-fa", "DejaVu Sans Mono", "-fs", "9", "-e", "sh", "-c", "seq 999; sleep 999"]


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("sway", "grim", "Xwayland", "xterm", "xdotool", "xwd", "xprop", packages=TOOLS)


def _tool(proxied: X11Proxied, *argv: str) -> bytes:
    done = subprocess.run(argv, env=proxied.variables(), capture_output=True, timeout=LIMIT, check=True)
    return done.stdout


def _window(proxied: X11Proxied) -> tuple[int, int, int, int]:
    """Where the X server has xterm's window."""
    said = _tool(proxied, "xdotool", "search", "--name", "^text$", "getwindowgeometry", "--shell").decode()
    found = dict(line.split("=") for line in said.split())
    return int(found["X"]), int(found["Y"]), int(found["WIDTH"]), int(found["HEIGHT"])


@pytest.mark.parametrize(("scale", "factor"), [("1.5", 1.5), ("2", 2.0), ("1.25", 1.25)])
def test_text_is_sharp_on_a_scaled_output(short: Path, scale: str, factor: float) -> None:
    """Each pixel that xterm has drawn is a pixel of the screen."""
    outputs = [f"resolution 1800x1200 position 0 0 scale {scale}"]
    with (
        ScaledOutputs(short / "compositor", *outputs) as compositor,
        X11Proxied(compositor, short / "container") as proxied,
    ):
        proxied.program(*XTERM)
        compositor.wait("xterm's window", compositor.windows)
        # A place that is a whole number of pixels.
        compositor.sway('[app_id=".*"]', "border", "none")
        compositor.sway('[app_id=".*"]', "move", "position", "40", "20")

        def is_sharp() -> bool:
            rect = compositor.windows()[0]["rect"]
            if (rect["x"], rect["y"]) != (40, 20):
                return False
            screen = compositor.pixels().split(b"\n", 3)[3]
            picture = window_picture(proxied.variables(), "-name", "text")
            return picture.is_at(screen, 1800, round(40 * factor), round(20 * factor))

        compositor.wait("the pixels of xterm", is_sharp)
        assert _tool(proxied, "xprop", "-root", "RESOURCE_MANAGER").count(f"{round(96 * factor)}".encode()) == 1


def test_windows_are_where_the_host_shows_them_on_three_outputs(short: Path) -> None:
    outputs = [
        "resolution 1280x720 position 0 0 scale 1",
        "resolution 2560x1440 position 1280 0 scale 2",
        "resolution 1920x1080 position -1280 0 scale 1.5",
    ]
    areas = {"HEADLESS-3": 0, "HEADLESS-1": 2560, "HEADLESS-2": 5120}
    with (
        ScaledOutputs(short / "compositor", *outputs) as compositor,
        X11Proxied(compositor, short / "container") as proxied,
    ):
        proxied.program(*XTERM)
        compositor.wait("xterm's window", compositor.windows)
        client = XClient(proxied.display, Path(proxied.authority).read_bytes()[-16:])
        monitors = client.call(RandRGetMonitors(client.root, True), RandRGetMonitorsReply).monitors
        client.close()
        assert sorted((one.x, one.y, one.width, one.height) for one in monitors) == [
            (left, 0, 2560, 1440) for left in sorted(areas.values())
        ]
        for output, left in areas.items():
            compositor.sway('[app_id=".*"]', "move", "to", "output", output)

            def is_there(left: int = left) -> bool:
                x, y, width, height = _window(proxied)
                return left <= x and x + width < left + 2560 and y >= 0 and y + height < 1440

            compositor.wait(f"xterm's window on {output}", is_there)
            compositor.sway('[app_id=".*"]', "fullscreen", "enable")
            compositor.wait(f"fullscreen on {output}", lambda left=left: _window(proxied) == (left, 0, 2560, 1440))
            compositor.sway('[app_id=".*"]', "fullscreen", "disable")
            compositor.wait(f"a window on {output}", is_there)


def test_a_program_that_draws_every_pixel_can_be_twice_as_large(short: Path) -> None:
    """``--scale=0.5``, ChromeOS's low density."""
    outputs = ["resolution 1600x1200 position 0 0 scale 2"]
    with (
        ScaledOutputs(short / "compositor", *outputs) as compositor,
        X11Proxied(compositor, short / "container", "--scale=0.5") as proxied,
    ):
        proxied.program(*XTERM)
        compositor.wait("xterm's window", compositor.windows)
        compositor.sway('[app_id=".*"]', "border", "none")

        def is_as_large_as_on_the_host() -> bool:
            rect = compositor.windows()[0]["rect"]
            return _window(proxied)[2:] == (rect["width"], rect["height"])

        compositor.wait("a unit of X is one of the host", is_as_large_as_on_the_host)

"""An output of scale 1.5 under KWin: programs draw the same behind the proxy as without it."""

from __future__ import annotations

import functools
import socket
from pathlib import Path

import pytest

from support.needs import need, need_status_0
from support.other_compositors import Kwin, missing
from support.proxied import FEATHERPAD, Proxied, program_of, same_pictures
from support.wayland_peers import Client

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def _tools() -> None:
    need(*missing(Kwin), packages="kwin-wayland dbus libglib2.0-bin")
    need_status_0("/usr/bin/python3", "-c", "import gi", packages="python3-gi")


@pytest.mark.parametrize(
    "argv",
    [["gtk4-demo"], ["gtk3-demo"], FEATHERPAD],
    ids=program_of,
)
def test_kwin_shows_the_same_through_the_proxy(short: Path, argv: list[str]) -> None:
    need(program_of(argv), packages="gtk-4-examples gtk-3-examples featherpad")
    shown = same_pictures(functools.partial(Kwin, scale="1.5"), short, argv)
    assert all(picture.startswith(b"P6\n1536 1152\n") for picture in shown)


@pytest.mark.parametrize(("switch", "expected"), [("--scale=1", 180), ("--scale=1.5", 120), ("--scale=0.5", 360)])
def test_programs_hear_of_the_fraction(short: Path, switch: str, expected: int) -> None:
    """In 120ths; with ``--scale`` the preferred scale refers to the client's units."""
    with (
        Kwin(short / "compositor", scale="1.5") as compositor,
        Proxied(compositor, short / "container", switch) as proxied,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.connect(str(proxied.runtime / "wayland-0"))
        client = Client(sock)
        client.start()
        surface = client.create(client.bind("wl_compositor", 4), "create_surface")
        fractional = client.create(client.bind("wp_fractional_scale_manager_v1"), "get_fractional_scale", surface)
        shell = client.bind("xdg_wm_base", 2)
        xdg_surface = client.create(shell, "get_xdg_surface", surface)
        client.create(xdg_surface, "get_toplevel")
        client.request(surface, "commit")

        def preferred() -> list[int]:
            client.sync()
            return [m.arguments[0] for m in client.events if m.object_id == fractional]

        assert proxied.wait("the fraction", preferred)[-1] == expected
        client.close()

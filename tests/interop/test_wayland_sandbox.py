"""Compositors of Debian 13 hide globals from programs in a security context: scales are right inside it, too."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guestlink.control import ControlClient
from sommelier_shim.tables import INTERFACES
from support.compositor import LIMIT, Headless
from support.needs import need
from support.newer_compositors import Labwc, NewSway, need_debian_13
from support.proxied import Proxied
from support.wayland_peers import Client

pytestmark = pytest.mark.interop

XDG_OUTPUT = "zxdg_output_manager_v1"
_ATTACH, _COMMIT = 1, 6
"""Opcodes of wl_surface."""
_ACK_CONFIGURE = 4
"""Opcode of xdg_surface."""
_SET_APP_ID = 3
"""Opcode of xdg_toplevel."""


class Window:
    """A toplevel of a program behind the proxy, which draws itself in every size that it is told."""

    def __init__(self, client: Client) -> None:
        self.client = client
        client.start()
        self._shm = client.bind("wl_shm", 1)
        self._surface = client.create(client.bind("wl_compositor", 4), 0)
        self._xdg_surface = client.create(client.bind("xdg_wm_base", 2), 2, "no", self._surface)
        self.toplevel = client.create(self._xdg_surface, 1)
        client.request(self.toplevel, _SET_APP_ID, "s", "pixels")
        client.request(self._surface, _COMMIT)

    def told(self) -> list[int]:
        """The last size that it was told."""
        heard = self.client.sync()
        events = self.client.events
        sizes = [m.arguments("iia")[:2] for m in events if (m.object_id, m.opcode) == (self.toplevel, 0)]
        serials = [m.arguments("u")[0] for m in heard if (m.object_id, m.opcode) == (self._xdg_surface, 0)]
        if serials:
            self.client.request(self._xdg_surface, _ACK_CONFIGURE, "u", serials[-1])
            self._draw(*(size or 300 for size in sizes[-1]))
        return sizes[-1] if sizes else []

    def _draw(self, width: int, height: int) -> None:
        size = width * height * 4
        descriptor = os.memfd_create("pool")
        os.ftruncate(descriptor, size)
        pool = self.client.create(self._shm, 0, "nhi", size, fds=[descriptor])
        os.close(descriptor)
        buffer = self.client.create(pool, 0, "niiiiu", 0, width, height, width * 4, 0)
        self.client.request(self._surface, _ATTACH, "oii", buffer, 0, 0)
        self.client.request(self._surface, _COMMIT)


@contextmanager
def _client(proxied: Proxied) -> Iterator[Client]:
    with socket.socket(socket.AF_UNIX) as sock:
        _status(proxied)  # its socket listens
        sock.connect(str(proxied.runtime / "wayland-0"))
        client = Client(sock)
        try:
            yield client
        finally:
            client.close()


def _status(proxied: Proxied) -> Any:
    path = proxied.runtime / "guestlink/sommelier-0.sock"
    proxied.wait("its control socket", path.exists)
    control = ControlClient(str(path), daemon="sommelier")

    def known() -> Any:
        status = control.call("status", timeout=LIMIT)
        return status if status["host_known"] else None

    return proxied.wait("the host is known", known)


@pytest.fixture(autouse=True)
def _tools() -> None:
    need_debian_13()
    need("swaymsg", packages="sway")


def test_a_window_has_the_pixels_of_its_output_whatever_the_scale_becomes(short: Path) -> None:
    with (
        NewSway(short / "compositor", "1280x800") as compositor,
        Proxied(compositor, short / "container", "--direct-scale") as proxied,
        _client(proxied) as client,
    ):
        compositor.sway("output HEADLESS-1 scale 1.5")
        assert XDG_OUTPUT in {one["interface"] for one in _status(proxied)["globals"] if one["hidden"]}
        window = Window(client)
        assert XDG_OUTPUT not in client.names
        proxied.wait("its first size", window.told)
        proxied.wait("it is shown", lambda: window.told() and compositor.windows())
        compositor.sway("[app_id=pixels] fullscreen enable")
        for scale, width in (("1.5", 853), ("1.25", 1024), ("2", 640), ("1.5", 853)):
            compositor.sway(f"output HEADLESS-1 scale {scale}")
            (output,) = json.loads(compositor.sway("-t", "get_outputs"))
            assert output["rect"]["width"] == width
            proxied.wait("all pixels of the output", lambda: window.told() == [1280, 800])
        assert not _status(proxied)["limits"]


def test_what_is_allowed_and_hidden_by_the_compositor_is_named(short: Path) -> None:
    with (
        NewSway(short / "compositor") as compositor,
        Proxied(compositor, short / "container", "--allow=zwlr_screencopy_*") as proxied,
    ):
        (limit,) = _status(proxied)["limits"]
        assert limit["sentence"].startswith("zwlr_screencopy_manager_v1 is allowed, but the host keeps")
        assert "--security-context=no" in limit["advice"]
        assert proxied.log().count(limit["sentence"]) == 1


@pytest.mark.parametrize("kind", [NewSway, Labwc])
def test_the_status_says_which_globals_programs_get(short: Path, kind: type[Headless]) -> None:
    with (
        kind(short / "compositor") as compositor,
        Proxied(compositor, short / "container") as proxied,
        _client(proxied) as client,
    ):
        client.start()
        known = _status(proxied)["globals"]
        unknown = {one["interface"] for one in known} - INTERFACES.keys()
        assert {one["interface"] for one in known if not one["hidden"]} - unknown == client.names.keys()
        assert {one["interface"] for one in known if "sandboxed" in one["hidden"]}

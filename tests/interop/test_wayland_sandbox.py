"""Debian 13's compositors hide globals from programs in a security context; scales must be right inside it, too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guestlink.control import ControlClient, DaemonNotRunning
from sommelier_shim.core.tables import INTERFACES
from support.compositor import LIMIT, Compositor, Headless
from support.needs import need
from support.newer_compositors import Labwc, NewSway, need_debian_13
from support.proxied import Proxied, Sandboxed
from support.replay import Replay, Step, click, type_text
from support.toplevel import APP_ID, MAGENTA, Toplevel, client_of
from support.virtual_input import WlrootsInput
from support.wayland_peers import Client

pytestmark = pytest.mark.interop

XDG_OUTPUT = "zxdg_output_manager_v1"
"""Opcodes of wl_output's events."""

PROGRAMS = {
    "gtk4-demo": (["gtk4-demo"], [Step("a menu in a popup", click(729, 23))]),
    "focuswriter": (["focuswriter", "text.txt"], [Step("text is typed", type_text("Hello"))]),
}
"""Programs of GTK 4 and Qt 6, and input for them."""


@contextmanager
def _client(proxied: Proxied) -> Iterator[Client]:
    _status(proxied)  # the proxy's socket is listening
    with client_of(proxied.runtime / "wayland-0") as client:
        yield client


def _status(proxied: Proxied) -> Any:
    control = ControlClient(str(proxied.runtime / "guestlink/sommelier-0.sock"), daemon="sommelier")

    def known() -> Any:
        try:
            status = control.call("status", timeout=LIMIT)
        except DaemonNotRunning:
            return None
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
        window = Toplevel(client)
        assert XDG_OUTPUT not in client.names
        proxied.wait("its first size", window.told)
        proxied.wait("it is shown", lambda: window.told() and compositor.windows())
        # Sway takes a floating window's size from its last contents, which may belong to an older configure.
        compositor.sway(f"[app_id={APP_ID}] floating disable, fullscreen enable")
        for scale, width in (("1.5", 853), ("1.25", 1024), ("2", 640), ("1.5", 853)):
            compositor.sway(f"output HEADLESS-1 scale {scale}")
            (output,) = json.loads(compositor.sway("-t", "get_outputs"))
            assert output["rect"]["width"] == width
            proxied.wait("all pixels of the output", lambda: window.told() == [1280, 800])
        assert not _status(proxied)["limits"]


def test_a_window_that_only_answers_fills_the_output_whatever_the_scale_becomes(short: Path) -> None:
    """A tiled window with a shadow, which only acks: it has the same pixels at every scale, and draws once."""
    with (
        NewSway(short / "compositor", "1280x800") as compositor,
        Proxied(compositor, short / "container", "--direct-scale") as proxied,
        _client(proxied) as client,
    ):
        compositor.sway("output HEADLESS-1 scale 1.5")
        window = Toplevel(client, shadow=20)
        proxied.wait("it is shown", lambda: window.told() and compositor.windows())
        compositor.sway(f"[app_id={APP_ID}] floating disable, border none")
        for scale in ("1.5", "1.25", "1.5", "2", "1", "1.6", "1.5"):
            compositor.sway(f"output HEADLESS-1 scale {scale}")
            proxied.wait("its size", lambda: window.told() == [1280, 800])
            proxied.wait("every pixel is the window's", lambda: window.told() and _is_filled(compositor))


@pytest.mark.parametrize("switch", ["--scale=0.5", "--direct-scale", "--dpi=72"])
def test_outputs_look_alike_inside_the_sandbox_and_outside(short: Path, switch: str) -> None:
    with NewSway(short / "compositor", "1280x800") as compositor:
        compositor.sway("output HEADLESS-1 scale 1.6")
        described = []
        for number, more in enumerate(([], ["--security-context=no"])):
            with (
                Proxied(compositor, short / f"container-{number}", switch, *more) as proxied,
                _client(proxied) as client,
            ):
                client.start()
                assert (XDG_OUTPUT in client.names) == bool(more)
                described.append(proxied.wait("the output is described", lambda: _described(client)))
        assert described[0] == described[1]


def _described(client: Client) -> list[tuple[str, bytes]]:
    """The last events that describe the output: names and bytes; empty until the description is complete.

    The proxy describes an output again when its own connection has learnt more about it.
    """
    output = client.bind("wl_output", 3)
    client.sync()
    heard = client.sync()
    events = [m for m in client.events if m.object_id == output]
    assert not [m for m in heard if m.object_id == output]
    ends = [number for number, m in enumerate(events) if m.name == "done"]
    if not ends:
        return []
    start = ends[-2] + 1 if len(ends) > 1 else 0
    return [(m.name, m.data[8:]) for m in events[start : ends[-1]]]


def _is_filled(compositor: Compositor) -> bool:
    """Whether a window fills the output, ignoring the filtered pixels at its edges."""
    picture = compositor.pixels()
    rows = picture[picture.index(b"255\n") + 4 :]
    middle = rows[400 * 1280 * 3 : 401 * 1280 * 3]
    column = b"".join(rows[(row * 1280 + 640) * 3 : (row * 1280 + 641) * 3] for row in range(800))
    return all(line[6:-6] == MAGENTA * (len(line) // 3 - 4) for line in (middle, column))


def test_what_is_allowed_and_hidden_by_the_compositor_is_named(short: Path) -> None:
    with (
        NewSway(short / "compositor") as compositor,
        Proxied(compositor, short / "container", "--allow=zwlr_screencopy_*") as proxied,
    ):
        (limit,) = _status(proxied)["limits"]
        assert limit["sentence"].startswith("zwlr_screencopy_manager_v1 is allowed, but the host keeps")
        assert "--security-context=no" in limit["advice"]
        assert proxied.log().count(limit["sentence"]) == 1
        program = "import sys; from garcon.client.cli import main; sys.exit(main())"
        said = proxied.run(sys.executable, "-c", program, "status", check=False).decode()
        assert f"  {limit['sentence']}\n    {limit['advice']}\n" in said


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


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_shows_the_same_in_a_security_context(short: Path, name: str, tmp_path: Path) -> None:
    need("gtk4-demo", "focuswriter", packages="gtk-4-examples focuswriter")
    with (
        NewSway(short / "compositor") as compositor,
        WlrootsInput(compositor.socket, compositor.size) as given,
        Sandboxed(compositor, short / "container") as sandboxed,
    ):
        (sandboxed.home / "text.txt").write_text("one two\n")
        Replay(compositor, given, sandboxed, tmp_path).compare(*PROGRAMS[name])

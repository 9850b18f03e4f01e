"""ICCCM and EWMH as toolkits rely on them, as a table: one Xwayland on a headless sway for all cases.

Each row is what a program and the user do, and what the program and the host see then.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sommelier_shim.xwayland.window_manager.window import READ
from support import debian_13
from support.compositor import Compositor, Headless
from support.needs import need
from support.newer_compositors import need_debian_13
from support.other_compositors import Kwin, Mutter, Weston
from support.virtual_input import WlrootsInput
from support.x11_proxied import X11Proxied
from support.x_cases import (
    MAIN,
    OTHER,
    TRAY,
    Step,
    XDesk,
    configures,
    counts,
    creates,
    destroys,
    docks,
    drags,
    draws,
    flashes,
    gets_size,
    grabs,
    has,
    hears,
    host,
    includes,
    is_at,
    is_disconnected,
    is_focused,
    lacks,
    maps,
    sees,
    sets,
    shows,
    tells,
    unmaps,
    unmaps_quietly,
)
from support.x_server import XClient

pytestmark = pytest.mark.interop
REMOVE, ADD, TOGGLE = 0, 1, 2
STATE = "_NET_WM_STATE"
FULLSCREEN, HIDDEN, ATTENTION = f"{STATE}_FULLSCREEN", f"{STATE}_HIDDEN", f"{STATE}_DEMANDS_ATTENTION"
VERTICALLY, HORIZONTALLY = f"{STATE}_MAXIMIZED_VERT", f"{STATE}_MAXIMIZED_HORZ"
FOCUSED, ABOVE, MODAL = f"{STATE}_FOCUSED", f"{STATE}_ABOVE", f"{STATE}_MODAL"
SYNC = "_NET_WM_SYNC_REQUEST"
TYPE = "_NET_WM_WINDOW_TYPE"
NORMAL, ICONIC, WITHDRAWN = 1, 3, 0


def _class(name: str, of: str = MAIN) -> Step:
    return sets("WM_CLASS", "STRING", f"{name.lower()}\0{name}\0".encode(), of=of)


def _hints(*, takes_input: bool = True, is_iconic: bool = False, group: str = "", is_urgent: bool = False,
           of: str = MAIN) -> Step:  # fmt: skip
    flags = 1 | (2 if is_iconic else 0) | (64 if group else 0) | (256 if is_urgent else 0)
    state = ICONIC if is_iconic else NORMAL
    return sets("WM_HINTS", "WM_HINTS", flags, int(takes_input), state, 0, 0, 0, 0, 0, group or 0, of=of)


def _sizes(*, minimum: tuple[int, int] = (0, 0), maximum: tuple[int, int] = (0, 0), step: tuple[int, int] = (0, 0),
           base: tuple[int, int] = (0, 0), aspect: tuple[int, int] = (0, 0)) -> Step:  # fmt: skip
    given = ((4, (1, 1)), (16, minimum), (32, maximum), (64, step), (128, aspect), (256, base))
    flags = sum(bit for bit, pair in given if any(pair))
    numbers = (40, 50, 300, 200, *minimum, *maximum, *step, *aspect, *aspect, *base, 1)
    return sets("WM_NORMAL_HINTS", "WM_SIZE_HINTS", flags, *numbers)


def _protocols(*names: str, of: str = MAIN) -> Step:
    return sets("WM_PROTOCOLS", "ATOM", *names, of=of)


FLOATS = _class("Case")
"""sway lets a window with an application id float, so the program decides its size."""

READ_NAMES = [name for name in READ if name != "_NET_WM_NAME"]
"""The properties that the window manager reads, without the one by which the table finds windows."""

CASES: dict[str, list[Step]] = {
    # What the window manager says about itself.
    "the root window names what is supported": [
        maps(),
        includes("_NET_SUPPORTED", STATE, FULLSCREEN, "_NET_WM_MOVERESIZE", "_NET_ACTIVE_WINDOW", of="root"),
        has("_NET_NUMBER_OF_DESKTOPS", 1, of="root"),
        has("_NET_CURRENT_DESKTOP", 0, of="root"),
        has("_NET_DESKTOP_GEOMETRY", 1024, 768, of="root"),
        has("_NET_WORKAREA", 0, 0, 1024, 768, of="root"),
    ],
    "lists contain every window": [
        maps(), maps(OTHER), has("_NET_CLIENT_LIST", MAIN, OTHER, of="root"),
        has("_NET_CLIENT_LIST_STACKING", MAIN, OTHER, of="root"),
        unmaps(OTHER), has("_NET_CLIENT_LIST", MAIN, of="root"),
    ],
    # Titles, classes, icons.
    # Identity.
    "the class is the application id": [_class("Case"), maps(), sees("app_id", "Case")],
    "a new class": [_class("Case"), maps(), _class("Changed"), sees("app_id", "Changed")],
    "the desktop entry names the class": [_class("Entered"), maps(), sees("app_id", "guestlink-box-the-entry")],
    "the instance is a desktop entry's name": [
        sets("WM_CLASS", "STRING", b"by-instance\0By Instance\0"), maps(),
        sees("app_id", "guestlink-box-by-instance"),
    ],
    # Mapping.
    "a mapped window is normal, and withdrawn when it is unmapped": [
        maps(), includes("WM_STATE", NORMAL), includes(STATE, FOCUSED), has("_NET_FRAME_EXTENTS", 0, 0, 0, 0),
        unmaps(), includes("WM_STATE", WITHDRAWN), has(STATE),
    ],
    "a window that is not mapped yet learns its frame": [
        tells("_NET_REQUEST_FRAME_EXTENTS"), has("_NET_FRAME_EXTENTS", 0, 0, 0, 0),
    ],
    "a window comes back": [maps(), unmaps(), maps(), includes("WM_STATE", NORMAL)],
    # States.
    "fullscreen by message": [
        FLOATS, maps(), tells(STATE, ADD, FULLSCREEN), sees("fullscreen_mode", 1), includes(STATE, FULLSCREEN),
        gets_size(1024, 768), is_at(0, 0), tells(STATE, REMOVE, FULLSCREEN), sees("fullscreen_mode", 0),
        lacks(STATE, FULLSCREEN), gets_size(300, 200),
    ],
    "fullscreen before the window is mapped": [
        FLOATS, sets(STATE, "ATOM", FULLSCREEN), maps(), sees("fullscreen_mode", 1), gets_size(1024, 768),
    ],
    "fullscreen by toggle": [
        FLOATS, maps(), tells(STATE, TOGGLE, FULLSCREEN), sees("fullscreen_mode", 1), includes(STATE, FULLSCREEN),
        tells(STATE, TOGGLE, FULLSCREEN), sees("fullscreen_mode", 0),
    ],
    "an ADD of what is, and a REMOVE of what is not": [
        FLOATS, maps(), tells(STATE, REMOVE, FULLSCREEN), tells(STATE, ADD, FULLSCREEN),
        includes(STATE, FULLSCREEN),
        tells(STATE, ADD, FULLSCREEN), tells(STATE, REMOVE, VERTICALLY), sees("fullscreen_mode", 1),
        gets_size(1024, 768),
    ],
    "the host makes a window fullscreen": [
        FLOATS, maps(), host("fullscreen enable"), includes(STATE, FULLSCREEN), gets_size(1024, 768),
        host("fullscreen disable"), lacks(STATE, FULLSCREEN), gets_size(300, 200),
    ],
    "states that only programs know are kept": [
        maps(), tells(STATE, ADD, ABOVE, MODAL), includes(STATE, ABOVE, MODAL), tells(STATE, REMOVE, ABOVE),
        lacks(STATE, ABOVE), includes(STATE, MODAL),
    ],
    "attention by EWMH, until the user comes": [
        maps(), maps(OTHER), is_focused(OTHER), tells(STATE, ADD, ATTENTION), sees("urgent", True),
        includes(STATE, ATTENTION), host("focus"), lacks(STATE, ATTENTION), sees("urgent", False),
    ],
    "attention by ICCCM": [
        maps(), maps(OTHER), is_focused(OTHER), _hints(is_urgent=True), sees("urgent", True),
    ],
    "a program wants to be in the foreground": [
        maps(), maps(OTHER), is_focused(OTHER), tells("_NET_ACTIVE_WINDOW", 1, 0, OTHER), sees("urgent", True),
    ],
    "a launch that nobody knows": [
        sets("_NET_STARTUP_ID", "UTF8_STRING", b"x" * 4000), maps(), sets("_NET_STARTUP_ID", "UTF8_STRING", b"y"),
        is_focused(MAIN),
    ],
    # Sizes.
    "a program resizes its window": [FLOATS, maps(), configures(width=333, height=222), gets_size(333, 222)],
    "a program resizes its window by EWMH": [
        FLOATS, maps(), tells("_NET_MOVERESIZE_WINDOW", 0xC00, 0, 0, 331, 221), gets_size(331, 221),
    ],
    "the host resizes a window": [FLOATS, maps(), host("400x350"), gets_size(400, 350)],
    "steps and a base size": [
        FLOATS, _sizes(step=(50, 40), base=(11, 7)), maps(), host("400x350"), gets_size(361, 327),
    ],
    "a smallest size": [
        FLOATS, _sizes(minimum=(250, 150)), maps(), host("100x100"), gets_size(250, 150),
    ],
    "a largest size": [
        FLOATS, _sizes(maximum=(350, 250)), maps(), host("600x600"), gets_size(350, 250),
    ],
    "a ratio": [FLOATS, _sizes(aspect=(2, 1)), maps(), host("500x400"), gets_size(500, 250)],
    "a fullscreen window has the host's size, whatever its hints": [
        FLOATS, _sizes(step=(50, 40), maximum=(350, 250)), maps(), tells(STATE, ADD, FULLSCREEN),
        gets_size(1024, 768), configures(width=100), gets_size(1024, 768),
    ],
    "a program draws before the host shows a size": [
        FLOATS, _protocols(SYNC), counts(), maps(), host("400x350"), hears(SYNC), draws(), gets_size(400, 350),
        has("_XWAYLAND_ALLOW_COMMITS", 1), host("410x360"), hears(SYNC, times=2), draws(), gets_size(410, 360),
    ],
    "a program that never draws": [
        FLOATS, _protocols(SYNC), counts(), maps(), host("400x350"), hears(SYNC), host("410x360"),
        gets_size(410, 360), host("420x370"), gets_size(420, 370), has("_XWAYLAND_ALLOW_COMMITS", 1),
    ],
    "a program whose counter is none": [
        FLOATS, _protocols(SYNC), sets(f"{SYNC}_COUNTER", "CARDINAL", 77), maps(), host("400x350"),
        gets_size(400, 350),
    ],
    # The program's own title bar.
    "a program's title bar moves the window": [
        FLOATS, maps(), drags("_NET_WM_MOVERESIZE", 8), gets_size(300, 200),
    ],
    "a program's corner resizes the window": [
        FLOATS, maps(), drags("_NET_WM_MOVERESIZE", 4), gets_size(),
    ],
    # Frames.
    "a window with a title bar": [FLOATS, maps(), sees("border", "normal")],
    "Motif's hint for no title bar": [
        FLOATS, sets("_MOTIF_WM_HINTS", "_MOTIF_WM_HINTS", 2, 0, 0, 0, 0), maps(), sees("border", "csd"),
        sets("_MOTIF_WM_HINTS", "_MOTIF_WM_HINTS", 2, 0, 1, 0, 0), sees("border", "normal"),
    ],
    "a splash screen has no title bar": [
        FLOATS, sets(TYPE, "ATOM", f"{TYPE}_SPLASH"), maps(), sees("border", "csd"),
    ],
    # Dialogs and groups. Without an application id only a window with a parent floats.
    "a window without a parent does not float": [maps(), sees("type", "con")],
    "a dialog of a window": [
        maps(), sets("WM_TRANSIENT_FOR", "WINDOW", MAIN, of=OTHER), maps(OTHER),
        sees("type", "floating_con", of=OTHER),
    ],
    "a dialog of a group": [
        _hints(group=MAIN), maps(), _hints(group=MAIN, of=OTHER),
        sets("WM_TRANSIENT_FOR", "WINDOW", "root", of=OTHER), maps(OTHER), sees("type", "floating_con", of=OTHER),
    ],
    "a dialog of another group": [
        _hints(group=MAIN), maps(), _hints(group=OTHER, of=OTHER),
        sets("WM_TRANSIENT_FOR", "WINDOW", "root", of=OTHER), maps(OTHER), sees("type", "con", of=OTHER),
    ],
    "a program's leader stands for a group": [
        sets("WM_CLIENT_LEADER", "WINDOW", MAIN), maps(), sets("WM_CLIENT_LEADER", "WINDOW", MAIN, of=OTHER),
        sets("WM_TRANSIENT_FOR", "WINDOW", 0, of=OTHER), maps(OTHER), sees("type", "floating_con", of=OTHER),
    ],
    # Focus: the four input models.
    "passive": [maps(), is_focused(MAIN), has("_NET_ACTIVE_WINDOW", MAIN, of="root")],
    "locally active": [_protocols("WM_TAKE_FOCUS"), maps(), is_focused(MAIN), hears("WM_TAKE_FOCUS")],
    "globally active": [
        _hints(takes_input=False), _protocols("WM_TAKE_FOCUS"), maps(), hears("WM_TAKE_FOCUS"), is_focused("none"),
    ],
    "no input": [
        maps(OTHER), is_focused(OTHER), _hints(takes_input=False), maps(),
        has("_NET_ACTIVE_WINDOW", MAIN, of="root"), is_focused("none"), host("focus", of=OTHER), is_focused(OTHER),
    ],
    # The system tray.
    "tray icons share a window": [
        docks(), shows(TRAY, 24, 24), docks(OTHER), shows(TRAY, 48, 24), destroys(OTHER), shows(TRAY, 24, 24),
        unmaps_quietly(), shows(TRAY),
    ],
    "a tray icon that wants to be seen later": [
        sets("_XEMBED_INFO", "_XEMBED_INFO", 0, 0), docks(), docks(OTHER), shows(TRAY, 24, 24),
        sets("_XEMBED_INFO", "_XEMBED_INFO", 0, 1), shows(TRAY, 48, 24), sets("_XEMBED_INFO", "_XEMBED_INFO", 0, 0),
        shows(TRAY, 24, 24),
    ],
    "the tray's window is closed, and comes back with the next icon": [
        docks(), shows(TRAY, 24, 24), host("kill", of=TRAY), shows(TRAY), docks(OTHER), shows(TRAY, 48, 24),
    ],
    "lies about tray icons": [
        docks("root"), docks(TRAY), docks(0), docks(0xFFFFFFFF), maps(OTHER), docks(), shows(TRAY, 24, 24),
        sets("_XEMBED_INFO", "_XEMBED_INFO", 0), sets("_XEMBED_INFO", "STRING", b"x" * 40),
        host("focus", of=OTHER), is_focused(OTHER),
    ],
    # Bad input.
    "properties of wrong types": [
        *(sets(name, "STRING", b"\xff\0" * 99) for name in READ_NAMES), maps(), is_focused(MAIN),
        *(sets(name, "INTEGER", 0xFFFFFFFF, 0x80000000) for name in READ_NAMES), gets_size(),
    ],
    "properties that are too short": [
        *(sets(name, kind, 0xFFFFFFFF) for name in READ_NAMES for kind in (name, "ATOM", "WINDOW", "CARDINAL")),
        maps(), is_focused(MAIN),
    ],
    "endless properties": [
        *(sets(name, "ATOM", *[0xFFFFFFFF] * 50_000) for name in ("WM_PROTOCOLS", STATE, TYPE)), maps(),
        sets("WM_CLASS", "STRING", b"x" * 200_000), is_focused(MAIN),
    ],
    "a window far away": [
        FLOATS, configures(x=-32768, y=-32768, width=32767, height=1), maps(), gets_size(),
        configures(width=1, height=1), gets_size(), is_focused(MAIN),
    ],
    "windows that are gone before they are shown": [flashes(100), maps(), is_focused(MAIN)],
    "a program that grabs the server": [grabs, maps(), is_focused(MAIN)],
    # Closing.
    "a window is closed by a message": [
        _protocols("WM_DELETE_WINDOW"), maps(), host("kill"), hears("WM_DELETE_WINDOW"),
    ],
    "a program closes a window by EWMH": [
        _protocols("WM_DELETE_WINDOW"), maps(), tells("_NET_CLOSE_WINDOW"), hears("WM_DELETE_WINDOW"),
    ],
    "a program that knows no such message is disconnected": [maps(), host("kill"), is_disconnected],
}  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="guestlink-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def compositor(place: Path) -> Iterator[Compositor]:
    need("sway", "grim", "Xwayland", packages="sway grim xwayland")
    with Compositor(place / "compositor") as compositor:
        yield compositor


@pytest.fixture(scope="module")
def devices(compositor: Compositor) -> Iterator[WlrootsInput]:
    with WlrootsInput(compositor.socket, compositor.size) as devices:
        yield devices


@pytest.fixture(scope="module")
def proxied(compositor: Compositor, devices: WlrootsInput, place: Path) -> Iterator[X11Proxied]:
    with X11Proxied(compositor, place / "container", "--container=box") as proxied:
        entries = proxied.home / ".local/share/applications"
        entries.mkdir(parents=True)
        (entries / "the-entry.desktop").write_text("[Desktop Entry]\nStartupWMClass=Entered\n")
        (entries / "by-instance.desktop").write_text("[Desktop Entry]\n")
        first = XClient(proxied.display, Path(proxied.authority).read_bytes()[-16:])
        with contextlib.closing(first):  # It starts Xwayland.
            yield proxied


@pytest.mark.parametrize("name", CASES)
def test_the_window_manager(name: str, compositor: Compositor, devices: WlrootsInput, proxied: X11Proxied) -> None:
    desk = XDesk(compositor, proxied, name)
    desk.devices = devices
    with contextlib.closing(desk):
        for step in CASES[name]:
            step(desk)


STRICT: dict[str, tuple[type[Headless], tuple[str, ...], str]] = {
    "weston": (Weston, ("weston",), "weston"),
    "mutter": (Mutter, ("mutter", "dbus-daemon"), "mutter dbus"),
    "kwin": (Kwin, ("kwin_wayland", "dbus-daemon"), "kwin-wayland dbus"),
}


@pytest.mark.parametrize("name", STRICT)
def test_compositors_that_end_a_connection_for_every_mistake(name: str, short: Path) -> None:
    """They check the size of every commit of a maximized or fullscreen window, and the order of every role."""
    kind, programs, packages = STRICT[name]
    need(*programs, "Xwayland", packages=f"{packages} xwayland")
    steps = [
        _protocols(SYNC), counts(), maps(), includes("WM_STATE", NORMAL), has("_NET_CLIENT_LIST", MAIN, of="root"),
        tells(STATE, ADD, FULLSCREEN), includes(STATE, FULLSCREEN), is_at(0, 0), hears(SYNC), draws(),
        tells(STATE, REMOVE, FULLSCREEN), lacks(STATE, FULLSCREEN), hears(SYNC, times=2), draws(),
        tells(STATE, ADD, VERTICALLY, HORIZONTALLY), includes(STATE, VERTICALLY, HORIZONTALLY),
        configures(width=70, height=60), configures(width=700, height=600),
        tells(STATE, REMOVE, VERTICALLY, HORIZONTALLY), lacks(STATE, VERTICALLY), configures(width=250, height=150),
        sets("WM_TRANSIENT_FOR", "WINDOW", MAIN, of=OTHER), sets(STATE, "ATOM", FULLSCREEN, MODAL, of=OTHER),
        maps(OTHER), includes(STATE, FULLSCREEN, of=OTHER), destroys(OTHER),
        has("_NET_CLIENT_LIST", MAIN, of="root"), unmaps(), maps(), has("_NET_CLIENT_LIST", MAIN, of="root"),
        creates(OTHER, override_redirect=1), maps(OTHER), configures(OTHER, x=99, width=55), unmaps(OTHER),
        maps(OTHER), destroys(), destroys(OTHER), maps(), includes("WM_STATE", NORMAL),
    ]  # fmt: skip
    with kind(short / "compositor") as compositor, X11Proxied(compositor, short / "container") as proxied:
        with contextlib.closing(XDesk(compositor, proxied, name)) as desk:
            for step in steps:
                step(desk)
        assert "Xwayland is disconnected" not in proxied.log()
        assert "Xwayland has ended" not in proxied.log()


def test_a_newer_xwayland_names_surfaces_by_serials(short: Path) -> None:
    """Xwayland since 23.1 uses xwayland_shell_v1, which is offered to it alone."""
    need("sway", packages="sway")
    need_debian_13()
    newer = short / "Xwayland"
    start = shlex.join(debian_13.inside("Xwayland"))
    newer.write_text(f'#!/bin/sh\nWAYLAND_DEBUG=1 exec {start} "$@"\n')  # libwayland logs what Xwayland says
    newer.chmod(0o755)
    steps = [
        FLOATS, maps(), sees("app_id", "Case"), tells(STATE, ADD, FULLSCREEN), gets_size(1024, 768),
        tells(STATE, REMOVE, FULLSCREEN), gets_size(300, 200), unmaps(), maps(), gets_size(300, 200),
    ]  # fmt: skip
    switch = f"--xwayland-path={newer}"
    with (
        Compositor(short / "compositor") as compositor,
        X11Proxied(compositor, short / "container", switch) as proxied,
        contextlib.closing(XDesk(compositor, proxied, "newer")) as desk,
    ):
        for step in steps:
            step(desk)
        requests = [line for line in proxied.log().splitlines() if "xwayland_surface_v1" in line]
        assert [line for line in requests if "set_serial(" in line], "Xwayland has named no surface"

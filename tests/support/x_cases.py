"""A vocabulary for tables of X11 window cases: what a program does, and what it and the host see then.

A case is a list of steps on an :class:`XDesk`: a real Xwayland with our window manager on a headless sway. The
first steps set properties of a window that is not mapped yet; :func:`maps` shows it. An expectation waits until it
holds.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from sommelier_shim.xwayland.x11.connection import Error
from sommelier_shim.xwayland.x11.layout import Message, encode
from sommelier_shim.xwayland.x11.messages import (
    LAYOUTS,
    ButtonPress,
    ChangeProperty,
    ClientMessage,
    ConfigureWindow,
    CreateWindow,
    DestroyWindow,
    EnterNotify,
    EventMask,
    GetAtomName,
    GetAtomNameReply,
    GetGeometry,
    GetGeometryReply,
    GetInputFocus,
    GetInputFocusReply,
    GetProperty,
    GetPropertyReply,
    GetSelectionOwner,
    GetSelectionOwnerReply,
    GrabServer,
    InternAtom,
    InternAtomReply,
    MapWindow,
    PropMode,
    SendEvent,
    SyncCreateCounter,
    SyncInt64,
    SyncSetCounter,
    TranslateCoordinates,
    TranslateCoordinatesReply,
    UngrabServer,
    UnmapWindow,
    WindowClass,
)
from support.compositor import LIMIT, Compositor, Headless
from support.virtual_input import LEFT, WlrootsInput
from support.x11_proxied import X11Proxied
from support.x_server import XClient

Step: TypeAlias = "Callable[[XDesk], None]"
Value: TypeAlias = "int | str | bytes"
MAIN, OTHER, TRAY = "main", "other", "tray"
"""Names of a case's windows, and of the tray's; the table says which one a step is about."""
_REQUESTED = EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT
_OWN_EVENTS = EventMask.BUTTON_PRESS | EventMask.ENTER_WINDOW | EventMask.STRUCTURE_NOTIFY


class XDesk:
    """The windows of one program, and the desktop that shows them.

    :param compositor: sway, for all steps; those that only send requests and look at properties do with any other.
    :param title: the title of the main window; others append their names.
    """

    def __init__(self, compositor: Headless, proxied: X11Proxied, title: str) -> None:
        self.host = compositor
        self.title = title
        self.client = XClient(proxied.display, Path(proxied.authority).read_bytes()[-16:])
        self.devices: WlrootsInput | None = None
        self.windows: dict[str, int] = {}
        self.counter = 0
        self.heard: list[tuple[int, tuple[int, ...]]] = []
        self._atoms: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def close(self) -> None:
        """Close the windows, and wait until sway has closed them."""
        self.client.close()
        if isinstance(self.host, Compositor):
            self.until("the windows are closed", lambda: not self._of_case())

    @property
    def compositor(self) -> Compositor:
        """Sway."""
        assert isinstance(self.host, Compositor)
        return self.host

    def atom(self, name: str) -> int:
        """The atom of a name."""
        if name not in self._atoms:
            self._atoms[name] = self.client.call(InternAtom(False, name.encode()), InternAtomReply).atom
        return self._atoms[name]

    def window(self, which: str = MAIN, **values: int) -> int:
        """The number of a window; creates it, 300 × 200 and white, if it does not exist."""
        if which not in self.windows:
            number = self.windows[which] = self.client.wire.new_id()
            values = {"background_pixel": 0xFFFFFF, "event_mask": _OWN_EVENTS} | values
            place = (40, 50, 300, 200)
            self.ask(CreateWindow(0, number, self.client.root, *place, 0, WindowClass.INPUT_OUTPUT, 0, values))
            self.change(which, "_NET_WM_NAME", "UTF8_STRING", self.name(which).encode())
        return self.windows[which]

    def name(self, which: str) -> str:
        """The title of a window."""
        if which == TRAY:
            return "Tray icons"
        return self.title if which == MAIN else f"{self.title} {which}"

    def ask(self, request: Message) -> None:
        """Send a request; it must succeed."""
        self.client.wire.request(request)
        assert self.client.sync() == []

    def change(self, which: str, name: str, kind: str, *values: Value) -> None:
        """Set a property: bytes, or 32-bit numbers, atoms by their names, and windows by theirs."""
        window, kind_atom = self.window(which), self.atom(kind)
        if values and isinstance(values[0], bytes):
            form, data, count = 8, values[0], len(values[0])
        else:
            form, count = 32, len(values)
            data = struct.pack(f"<{count}I", *map(self.number, values))
        self.ask(ChangeProperty(PropMode.REPLACE, window, self.atom(name), kind_atom, form, count, data))

    def number(self, value: Value) -> int:
        """The number of a value: a window by its name, another name's atom."""
        if isinstance(value, int):
            return value & 0xFFFFFFFF
        assert isinstance(value, str)
        if value == "root":
            return self.client.root
        return self.window(value) if value in (MAIN, OTHER) else self.atom(value)

    def property(self, name: str, window: int) -> list[Value]:
        """The value of a property: names of atoms, other numbers, or bytes; empty if there is none."""
        number = self.client.wire.request(GetProperty(False, window, self.atom(name), 0, 0, 1024))
        found = self.client.answer(number)
        if isinstance(found, Error):
            return []
        assert isinstance(found, GetPropertyReply)
        if found.format == 8:
            return [found.value]
        numbers = struct.unpack(f"<{len(found.value) // 4}I", found.value)
        return [self._named(one) for one in numbers] if found.type == self.atom("ATOM") else list(numbers)

    def node(self, which: str = MAIN) -> dict[str, Any]:
        """The window as sway describes it; empty if there is no such window."""
        title = self.name(which)
        return next((one for one in self.compositor.windows() if one["name"] == title), {})

    def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until a condition holds, which returns what it has found; an empty value means that it does not."""
        self.host.wait(f"{self.title}: {what}", condition)

    def messages(self, which: str = MAIN) -> list[tuple[int, ...]]:
        """The numbers of all messages of WM_PROTOCOLS that a window has got so far."""
        assert self.client.sync() == []
        events, self.client.events = self.client.events, []
        kind = self.atom("WM_PROTOCOLS")
        for event in events:
            message = event.message
            if isinstance(message, ClientMessage) and message.type == kind:
                self.heard.append((message.window, struct.unpack("<5I", message.data)))
        return [numbers for window, numbers in self.heard if window == self.windows[which]]

    def press(self, which: str) -> tuple[int, int]:
        """Press the mouse in the middle of a window; returns the position when the program has heard it."""
        place, devices = self.node(which)["rect"], self.devices
        assert devices is not None
        x, y = place["x"] + place["width"] // 2, place["y"] + place["height"] // 2

        def is_entered() -> bool:
            for at in (x - 1, x):
                devices.move(at, y)
            return self._has_event(EnterNotify)

        self.until("the program hears the pointer", is_entered)
        devices.button(LEFT, True)
        self.until("the program hears the button", lambda: self._has_event(ButtonPress))
        self.client.events.clear()
        return x, y

    def _has_event(self, kind: type[Message]) -> bool:
        assert self.client.sync() == []
        return any(isinstance(event.message, kind) for event in self.client.events)

    def _named(self, atom: int) -> str:
        if atom not in self._names:
            self._names[atom] = self.client.call(GetAtomName(atom), GetAtomNameReply).name.decode()
        return self._names[atom]

    def _of_case(self) -> list[dict[str, Any]]:
        return [
            one
            for one in self.compositor.windows()
            if (one["name"] or "").startswith((self.title, self.name(TRAY)))
        ]


# -- what a program does -----------------------------------------------------------------------------------------


def sets(name: str, kind: str, *values: Value, of: str = MAIN) -> Step:
    """Set a property."""
    return lambda desk: desk.change(of, name, kind, *values)


def creates(of: str = MAIN, **values: int) -> Step:
    """Create a window with attributes."""

    def step(desk: XDesk) -> None:
        desk.window(of, **values)

    return step


def maps(of: str = MAIN) -> Step:
    """Map a window, and wait until the host shows it; hosts other than sway show it some time later."""

    def step(desk: XDesk) -> None:
        desk.ask(MapWindow(desk.window(of)))
        if isinstance(desk.host, Compositor):
            desk.until("the host shows the window", lambda: desk.node(of))

    return step


def unmaps(of: str = MAIN) -> Step:
    """Unmap a window, as ICCCM §4.1.4 demands, and wait until the host does not show it."""

    def step(desk: XDesk) -> None:
        desk.ask(UnmapWindow(desk.window(of)))
        if isinstance(desk.host, Compositor):
            desk.until("the host shows no window", lambda: not desk.node(of))

    return step


def unmaps_quietly(of: str = MAIN) -> Step:
    """Unmap a window that the host does not show by itself."""
    return lambda desk: desk.ask(UnmapWindow(desk.window(of)))


def destroys(of: str = MAIN) -> Step:
    """Destroy a window."""
    return lambda desk: desk.ask(DestroyWindow(desk.windows.pop(of)))


def configures(of: str = MAIN, **values: int) -> Step:
    """Request a place or a size."""
    return lambda desk: desk.ask(ConfigureWindow(desk.window(of), values))


def flashes(times: int) -> Step:
    """Create, map and destroy many windows at once."""

    def step(desk: XDesk) -> None:
        for number in range(times):
            which = f"flash {number}"
            desk.client.wire.request(MapWindow(desk.window(which)))
            desk.client.wire.request(DestroyWindow(desk.windows.pop(which)))
        assert desk.client.sync() == []

    return step


def grabs(desk: XDesk) -> None:
    """Keep the server from everybody else while a window is mapped."""
    desk.window()
    desk.ask(GrabServer())
    desk.ask(MapWindow(desk.window()))
    desk.ask(UngrabServer())


def tells(kind: str, *words: Value, of: str = MAIN) -> Step:
    """Send the window manager a message about a window, as programs do."""

    def step(desk: XDesk) -> None:
        numbers = [desk.number(word) for word in words]
        data = struct.pack("<5I", *numbers, *(0,) * (5 - len(numbers)))
        body = bytes(encode(ClientMessage(32, desk.window(of), desk.atom(kind), data), LAYOUTS))
        event = bytes([33]) + body[:1] + bytes(2) + body[1:]
        desk.ask(SendEvent(False, desk.client.root, _REQUESTED, event))

    return step


def counts(of: str = MAIN) -> Step:
    """Create a counter for _NET_WM_SYNC_REQUEST, and name it."""

    def step(desk: XDesk) -> None:
        desk.counter = desk.client.wire.new_id()
        desk.ask(SyncCreateCounter(desk.counter, SyncInt64(0, 0)))
        desk.change(of, "_NET_WM_SYNC_REQUEST_COUNTER", "CARDINAL", desk.counter)

    return step


def draws(of: str = MAIN) -> Step:
    """Set the counter to the value of the last _NET_WM_SYNC_REQUEST."""

    def step(desk: XDesk) -> None:
        kind = desk.atom("_NET_WM_SYNC_REQUEST")
        low, high = [numbers[2:4] for numbers in desk.messages(of) if numbers[0] == kind][-1]
        desk.ask(SyncSetCounter(desk.counter, SyncInt64(high, low)))

    return step


def docks(which: Value = MAIN) -> Step:
    """Ask the system tray for room for an icon: a window, or any number."""

    def step(desk: XDesk) -> None:
        owner = GetSelectionOwner(desk.atom("_NET_SYSTEM_TRAY_S0"))
        desk.until("there is a tray", lambda: desk.client.call(owner, GetSelectionOwnerReply).owner)
        tray = desk.client.call(owner, GetSelectionOwnerReply).owner
        icon = tray if which == TRAY else desk.number(which)
        data = struct.pack("<BBHII5I", 33, 32, 0, tray, desk.atom("_NET_SYSTEM_TRAY_OPCODE"), 0, 0, icon, 0, 0)
        desk.ask(SendEvent(False, tray, EventMask.NO_EVENT, data))

    return step


# -- what the user does ------------------------------------------------------------------------------------------


def host(command: str, of: str = MAIN) -> Step:
    """Run a command of sway on a window; ``WIDTHxHEIGHT`` gives its contents a size."""
    if command[0].isdigit():
        command = f"border none, resize set {command.replace('x', ' ')}"

    def step(desk: XDesk) -> None:
        desk.compositor.sway(f"[con_id={desk.node(of)['id']}]", command)

    return step


def drags(kind: str, direction: int, *, of: str = MAIN) -> Step:
    """Press the mouse in the middle of a window; the program answers with a message of _NET_WM_MOVERESIZE; move."""

    def step(desk: XDesk) -> None:
        x, y = desk.press(of)
        before, steps, devices = desk.node(of)["rect"], itertools.count(1), desk.devices
        assert devices is not None
        tells(kind, x, y, direction, 1, 1, of=of)(desk)

        def has_changed() -> bool:
            # The host begins where the pointer is when it hears of it, so each try moves on.
            by = next(steps) * 9 % 200
            devices.move(x + by, y + by)
            return bool(desk.node(of)["rect"] != before)

        desk.until("the host moves or resizes the window", has_changed)
        devices.button(LEFT, False)

    return step


# -- what they see -----------------------------------------------------------------------------------------------


def has(name: str, *values: Value, of: str = MAIN) -> Step:
    """A property becomes exactly these values; atoms in any order. ``root`` is the root window's."""

    def step(desk: XDesk) -> None:
        window = desk.number(of)
        wanted = [desk.number(one) if one in (MAIN, OTHER) else one for one in values]
        last: list[list[Value]] = []

        def holds() -> bool:
            last[:] = [desk.property(name, window)]
            return sorted(last[0], key=str) == sorted(wanted, key=str)

        try:
            desk.until(f"{name} is {values}", holds)
        except AssertionError as error:
            error.args = (f"it is {last}", *error.args)
            raise

    return step


def includes(name: str, *values: Value, of: str = MAIN) -> Step:
    """A property comes to contain these values."""

    def step(desk: XDesk) -> None:
        window = desk.number(of)
        wanted = {desk.number(one) if one in (MAIN, OTHER) else one for one in values}
        desk.until(f"{name} includes {values}", lambda: wanted <= set(desk.property(name, window)))

    return step


def lacks(name: str, *values: Value, of: str = MAIN) -> Step:
    """A property comes to contain none of these values."""

    def step(desk: XDesk) -> None:
        window = desk.number(of)
        wanted = {desk.number(one) if one in (MAIN, OTHER) else one for one in values}
        desk.until(f"{name} has no {values}", lambda: not wanted & set(desk.property(name, window)))

    return step


def sees(field: str, value: object, of: str = MAIN) -> Step:
    """A field of sway's description of the window gets a value."""

    def step(desk: XDesk) -> None:
        desk.until(f"the host's {field} is {value!r}, not {desk.node(of).get(field)!r}",
                   lambda: desk.node(of).get(field) == value)  # fmt: skip

    return step


def shows(which: str, *size: int) -> Step:
    """The host shows a window, if a size is given in this size; without one, it shows no such window."""

    def step(desk: XDesk) -> None:
        def holds() -> bool:
            node = desk.node(which)
            place = node.get("window_rect", {})
            return (place.get("width"), place.get("height")) == size if size else not node

        desk.until(f"the host shows the {which} window with the size {size}", holds)

    return step


def gets_size(*size: int, of: str = MAIN) -> Step:
    """The X window and its contents on the host get a size; without one, they get the same."""

    def step(desk: XDesk) -> None:
        found: list[tuple[int, ...]] = []

        def holds() -> bool:
            geometry = desk.client.call(GetGeometry(desk.window(of)), GetGeometryReply)
            place = desk.node(of)["window_rect"]
            found[:] = [(geometry.width, geometry.height), (place["width"], place["height"])]
            return found == [size or found[0]] * 2

        try:
            desk.until(f"the size is {size}", holds)
        except AssertionError as error:
            error.args = (f"X and the host have {found}", *error.args)
            raise

    return step


def is_at(x: int, y: int, of: str = MAIN) -> Step:
    """The X window gets a place on the root window."""

    def step(desk: XDesk) -> None:
        ask = TranslateCoordinates(desk.window(of), desk.client.root, 0, 0)

        def holds() -> bool:
            found = desk.client.call(ask, TranslateCoordinatesReply)
            return (found.dst_x, found.dst_y) == (x, y)

        desk.until(f"the window is at {x}, {y}", holds)

    return step


def hears(protocol: str, of: str = MAIN, times: int = 1) -> Step:
    """The window gets a message of WM_PROTOCOLS, counted from the beginning of the case."""

    def step(desk: XDesk) -> None:
        atom = desk.atom(protocol)
        desk.until(
            f"the program hears {protocol}",
            lambda: len([numbers for numbers in desk.messages(of) if numbers[0] == atom]) >= times,
        )

    return step


def is_focused(which: str) -> Step:
    """X's focus goes to a window, or to ``none``."""

    def step(desk: XDesk) -> None:
        wanted = desk.window(which) if which != "none" else 0
        desk.until(
            f"the focus goes to {which}",
            lambda: desk.client.call(GetInputFocus(), GetInputFocusReply).focus == wanted,
        )

    return step


def is_disconnected(desk: XDesk) -> None:
    """The X server closes the program's connection."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            desk.client.sync()
        except (AssertionError, OSError):
            return
        time.sleep(0.02)
    raise AssertionError("the program still has its connection")

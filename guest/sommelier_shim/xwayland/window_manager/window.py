"""One X window as the window manager knows it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from sommelier_shim.xwayland.window_manager.actions import Toplevel
from sommelier_shim.xwayland.window_manager.properties import (
    MISSING,
    Property,
    SizeHints,
    WindowClass,
    WindowHints,
    atoms,
    cardinal,
    size_hints,
    text,
    wants_decorations,
    window,
    window_class,
    window_hints,
)

READ = (
    "_NET_WM_NAME", "WM_NAME", "WM_CLASS", "WM_TRANSIENT_FOR", "WM_NORMAL_HINTS", "WM_HINTS", "WM_CLIENT_LEADER",
    "WM_PROTOCOLS", "_MOTIF_WM_HINTS", "_NET_WM_STATE", "_NET_WM_WINDOW_TYPE", "_NET_STARTUP_ID",
    "_NET_WM_SYNC_REQUEST_COUNTER",
)  # fmt: skip
"""The properties that the window manager reads, before it shows a window and whenever one changes."""

_POPUP_TYPES = {
    "_NET_WM_WINDOW_TYPE_DROPDOWN_MENU", "_NET_WM_WINDOW_TYPE_POPUP_MENU", "_NET_WM_WINDOW_TYPE_TOOLTIP",
    "_NET_WM_WINDOW_TYPE_COMBO", "_NET_WM_WINDOW_TYPE_DND", "_NET_WM_WINDOW_TYPE_NOTIFICATION",
}  # fmt: skip
_UNDECORATED_TYPES = {
    "_NET_WM_WINDOW_TYPE_SPLASH", "_NET_WM_WINDOW_TYPE_DOCK", "_NET_WM_WINDOW_TYPE_DESKTOP",
}  # fmt: skip


class Rectangle(NamedTuple):
    """A place and a size, in X's units."""

    x: int
    y: int
    width: int
    height: int

    def contains(self, x: int, y: int) -> bool:
        """Whether a point is in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def meets(self, other: Rectangle) -> bool:
        """Whether the two have a point in common."""
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


class Window:
    """A child of the root window.

    :ivar place: where its outer corner is, and its size without its border.
    :ivar border: the width of its border.
    :ivar is_override_redirect: whether it wants no window manager: menus, tooltips.
    :ivar is_managed: whether the program has asked the window manager to map it.
    :ivar is_mapped: whether the server has mapped it.
    :ivar surface: its surface on Xwayland's connection, 0 for none yet.
    :ivar serial: xwayland_shell_v1's number of the surface that it waits for, 0 for none.
    :ivar role: what the host has made of it: ``""``, ``toplevel`` or ``popup``.
    :ivar parent: the surface that the popup belongs to.
    :ivar areas: the outputs on which the host shows the toplevel, the last entered one last.
    :ivar refused: where the program wanted the popup, if the host has put it somewhere else.
    :ivar shown: what the host knows of the toplevel.
    :ivar states: of :data:`~sommelier_shim.xwayland.window_manager.atoms.STATES`.
    :ivar fills_output: whether it is or wants to be fullscreen or maximized, and its size limits do not count.
    :ivar is_restored: whether the host's last configure event has ended that.
    :ivar size: the size that the server has told last.
    :ivar restored: its place before it became fullscreen or maximized, ``None`` if it is neither.
    :ivar group_parent: the window of its group that it is a dialog of, if it names none itself; 0 for none.
    :ivar is_urgent: whether its hint for the user's attention has reached the host.
    :ivar is_minimizing: whether the host has been asked to minimize it, and has not answered.
    :ivar awaits: the size that the host has given it and that it does not have yet.
    """

    def __init__(self, number: int, place: Rectangle, *, is_override_redirect: bool) -> None:
        self.number = number
        self.place = place
        self.size = (place.width, place.height)
        self.restored: Rectangle | None = None
        self.is_override_redirect = is_override_redirect
        self.is_managed = False
        self.is_mapped = False
        self.surface = 0
        self.serial = 0
        self.role = ""
        self.parent = 0
        self.border = 0
        self.areas: tuple[Rectangle, ...] = ()
        self.refused: tuple[int, int] | None = None
        self.shown = Toplevel()
        self.states: set[str] = set()
        self.group_parent = 0
        self.is_minimizing = False
        self.fills_output = self.is_restored = False
        self.is_urgent = False
        self.awaits: tuple[int, int] | None = None
        self._properties: dict[str, Property] = {}
        self._types: frozenset[str] = frozenset()
        self._protocols: frozenset[str] = frozenset()

    def set_property(self, name: str, found: Property, names: frozenset[str] = frozenset()) -> None:
        """Keep a property.

        :param names: of its atoms, if it is a list of atoms.
        """
        self._properties[name] = found
        if name == "_NET_WM_WINDOW_TYPE":
            self._types = names
        elif name == "WM_PROTOCOLS":
            self._protocols = names

    @property
    def title(self) -> str:
        """Its title."""
        return text(self._properties.get("_NET_WM_NAME", MISSING), self._properties.get("WM_NAME", MISSING))

    @property
    def class_(self) -> WindowClass:
        """Its class, by which launchers know it."""
        return window_class(self._properties.get("WM_CLASS", MISSING))

    @property
    def sizes(self) -> SizeHints:
        """The sizes that it may have."""
        return size_hints(self._properties.get("WM_NORMAL_HINTS", MISSING))

    @property
    def hints(self) -> WindowHints:
        """Its focus, start and group."""
        return window_hints(self._properties.get("WM_HINTS", MISSING))

    @property
    def transient_for(self) -> int:
        """The window that it is a dialog of, 0 for none."""
        return window(self._properties.get("WM_TRANSIENT_FOR", MISSING))

    @property
    def names_group(self) -> bool:
        """Whether it is a dialog of its whole group: WM_TRANSIENT_FOR is there and names no window."""
        return self._properties.get("WM_TRANSIENT_FOR", MISSING).kind == "WINDOW" and not self.transient_for

    @property
    def group(self) -> int:
        """What the windows of its program have in common: the leader of its group, else WM_CLIENT_LEADER; 0 if
        the program has named neither."""
        return self.hints.group or self.leader

    @property
    def leader(self) -> int:
        """WM_CLIENT_LEADER, 0 for none."""
        return window(self._properties.get("WM_CLIENT_LEADER", MISSING))

    @property
    def startup_id(self) -> str:
        """The launch that it says it belongs to, ``""`` for none (freedesktop's startup notification)."""
        return text(self._properties.get("_NET_STARTUP_ID", MISSING))

    @property
    def sync_counter(self) -> int:
        """The counter of its program for resizes, 0 for none (EWMH, _NET_WM_SYNC_REQUEST). A second counter, for
        every frame, has another protocol."""
        return self.number_of("_NET_WM_SYNC_REQUEST_COUNTER") or 0

    def number_of(self, name: str) -> int | None:
        """A property that is a number, ``None`` for none."""
        return cardinal(self._properties.get(name, MISSING))

    @property
    def owner(self) -> int:
        """The window that it is a dialog of, 0 for none."""
        return self.group_parent or self.transient_for

    @property
    def is_decorated(self) -> bool:
        """Whether it wants a title bar."""
        return wants_decorations(self._properties.get("_MOTIF_WM_HINTS", MISSING)) and not (
            self._types & _UNDECORATED_TYPES
        )

    @property
    def is_popup(self) -> bool:
        """Whether it is a menu, a tooltip or the like: shown at its place, without focus."""
        return self.is_override_redirect or bool(self._types & _POPUP_TYPES)

    @property
    def is_dragged(self) -> bool:
        """Whether it shows what the user drags: it follows the pointer out of every output."""
        return "_NET_WM_WINDOW_TYPE_DND" in self._types

    def speaks(self, protocol: str) -> bool:
        """Whether it has a protocol in WM_PROTOCOLS."""
        return protocol in self._protocols

    @property
    def wanted_states(self) -> tuple[int, ...]:
        """The atoms of _NET_WM_STATE that the program has set before it was mapped."""
        return atoms(self._properties.get("_NET_WM_STATE", MISSING))

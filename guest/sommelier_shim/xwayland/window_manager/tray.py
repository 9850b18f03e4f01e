"""The system tray of X11: icons that programs embed into a window of the tray (freedesktop's System Tray Protocol
0.2 and XEmbed 0.5). Pure.

Hosts have no tray for X11's icons, so the icons share a small window of their own, which is there while there are
icons. The window manager shows it as any other window.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.window_manager.properties import Property
from sommelier_shim.xwayland.window_manager.root_window import RootWindow
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    ChangeWindowAttributes,
    ClientMessage,
    ConfigureWindow,
    CreateWindow,
    DestroyNotify,
    EventMask,
    MapNotify,
    MapWindow,
    ReparentNotify,
    ReparentWindow,
    SetSelectionOwner,
    UnmapNotify,
    UnmapWindow,
    WindowClass,
)

ICON_SIZE = 24
"""Width and height of an icon on an output with the usual density."""
ICON_LIMIT = 64
"""Icons that find room; programs with further ones are not answered."""
TITLE = "Tray icons"
_BACKGROUND = 0x303030
_REQUEST_DOCK = 0
"""The message _NET_SYSTEM_TRAY_OPCODE that asks for room; the others are about texts beside icons."""
_EMBEDDED_NOTIFY = 0
_MAPPED = 1
"""The flag of _XEMBED_INFO: the icon wants to be seen."""


class Tray:
    """The tray of one X server.

    :param is_child: whether a window is a program's child of the root window: the root window, and the window
        manager's own, would lose the events that the window manager has selected on them.
    :param size: returns the width and height of an icon now, in the server's pixels.
    :ivar window: the icons' window; 0 before :meth:`start`.
    """

    def __init__(
        self, x: X11Connection, atoms: Atoms, is_child: Callable[[int], bool], size: Callable[[], int]
    ) -> None:
        self.window = 0
        self._is_child = is_child
        self._size = size
        self._x = x
        self._atoms = atoms
        self._root: RootWindow | None = None
        self._icons: dict[int, bool] = {}
        self._is_dismissed = False

    @property
    def is_wanted(self) -> bool:
        """Whether the window has to be seen: there are icons, and nobody has closed it since the last one came."""
        return any(self._icons.values()) and not self._is_dismissed

    def start(self, root: RootWindow) -> None:
        """Become the tray of the screen."""
        self._root = root
        self.window = self._x.new_id()
        values = {
            "background_pixel": _BACKGROUND,
            "event_mask": EventMask.SUBSTRUCTURE_NOTIFY | EventMask.PROPERTY_CHANGE,
        }
        place = (0, 0, self._size(), self._size())
        self._x.request(CreateWindow(0, self.window, root.number, *place, 0, WindowClass.INPUT_OUTPUT, 0, values))
        root.set_text("_NET_WM_NAME", TITLE, self.window)
        root.set_string("WM_CLASS", b"guestlink-tray\0Guestlink-tray\0", self.window)
        root.set_numbers("_NET_WM_WINDOW_TYPE", "ATOM", [self._atoms["_NET_WM_WINDOW_TYPE_UTILITY"]], self.window)
        takes_no_input = (1, 0, 0, 0, 0, 0, 0, 0, 0)
        root.set_numbers("WM_HINTS", "WM_HINTS", takes_no_input, self.window)
        root.set_numbers("_NET_SYSTEM_TRAY_ORIENTATION", "CARDINAL", [0], self.window)
        self._lay_out()
        selection = self._atoms["_NET_SYSTEM_TRAY_S0"]
        self._x.request(SetSelectionOwner(self.window, selection, 0))
        data = struct.pack("<5I", 0, selection, self.window, 0, 0)
        announcement = ClientMessage(32, root.number, self._atoms["MANAGER"], data)
        send_event(self._x, root.number, EventMask.STRUCTURE_NOTIFY, announcement)

    def dismiss(self) -> None:
        """The user closes the window; the next icon brings it back."""
        self._is_dismissed = True

    def receive(self, event: Message) -> int:
        """Take any event.

        :returns: an icon whose _XEMBED_INFO has to be read for :meth:`informed`, 0 for none.
        """
        match event:
            case ClientMessage(window=self.window) if self._atoms.name(event.type) == "_NET_SYSTEM_TRAY_OPCODE":
                opcode, icon = struct.unpack("<4xII", event.data[:12])
                has_room = len(self._icons) < ICON_LIMIT
                if opcode == _REQUEST_DOCK and has_room and icon != self.window and self._is_child(icon):
                    self._dock(icon)
            case ReparentNotify(parent=self.window) if event.window not in self._icons:
                if len(self._icons) < ICON_LIMIT:
                    self._icons[event.window] = self._is_dismissed = False
                    self._embed(event.window)
                    return event.window
            case ReparentNotify() | DestroyNotify() if event.window in self._icons:
                if not (isinstance(event, ReparentNotify) and event.parent == self.window):
                    del self._icons[event.window]
                    self._lay_out()
            case MapNotify() | UnmapNotify() if event.window in self._icons:
                self._icons[event.window] = isinstance(event, MapNotify)
                self._lay_out()
            case _:
                pass
        return 0

    def has(self, icon: int) -> bool:
        """Whether a window is an icon here."""
        return icon in self._icons

    def informed(self, icon: int, info: Property) -> None:
        """An icon says whether it wants to be seen; one that says nothing does."""
        if icon in self._icons:
            numbers = info.numbers("_XEMBED_INFO", 2)
            is_seen = not numbers or bool(numbers[1] & _MAPPED)
            self._x.request(MapWindow(icon) if is_seen else UnmapWindow(icon))

    def _dock(self, icon: int) -> None:
        mask = EventMask.STRUCTURE_NOTIFY | EventMask.PROPERTY_CHANGE
        self._x.request(ChangeWindowAttributes(icon, {"event_mask": mask}))
        self._x.request(ReparentWindow(icon, self.window, 0, 0))

    def _embed(self, icon: int) -> None:
        size = self._size()
        self._x.request(ConfigureWindow(icon, {"width": size, "height": size, "border_width": 0}))
        data = struct.pack("<5I", 0, _EMBEDDED_NOTIFY, 0, self.window, 0)
        send_event(self._x, icon, EventMask.NO_EVENT, ClientMessage(32, icon, self._atoms["_XEMBED"], data))

    def _lay_out(self) -> None:
        """Put the visible icons side by side, in a window of their size."""
        if self._root is None:
            return
        seen = [icon for icon, is_seen in self._icons.items() if is_seen]
        side = self._size()
        for at, icon in enumerate(seen):
            self._x.request(ConfigureWindow(icon, {"x": at * side, "y": 0, "width": side, "height": side}))
        size = (max(len(seen), 1) * side, side)
        minimum_and_maximum, unused = 16 | 32, (0,) * 4
        hints = (minimum_and_maximum, *unused, *size, *size, *unused, *unused, 0)
        self._root.set_numbers("WM_NORMAL_HINTS", "WM_SIZE_HINTS", hints, self.window)
        self._x.request(ConfigureWindow(self.window, {"width": size[0], "height": size[1]}))

"""What the window manager writes about itself and all windows on the root window (ICCCM §4.3, EWMH). Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sommelier_shim.xwayland.window_manager.atoms import SUPPORTED, Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.window_manager.desktop_settings import DesktopSettings
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.messages import (
    ChangeProperty,
    ChangeWindowAttributes,
    ClientMessage,
    CompositeRedirect,
    CompositeRedirectSubwindows,
    CreateWindow,
    EventMask,
    InputFocus,
    PropMode,
    SetInputFocus,
    SetSelectionOwner,
    WindowClass,
)

NAME = "LG3D"
"""Java knows from this name that windows are not put into frames (chromeos-sommelier.md §2.7 has another name)."""
TIME_PROPERTY = "_GUESTLINK_TIME"
"""The property whose change brings the server's time."""
_MASK = EventMask.STRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_NOTIFY | EventMask.SUBSTRUCTURE_REDIRECT


class RootWindow:
    """The root window's properties.

    :param x: the connection, which is ready.
    :param atoms: are known.
    :ivar number: the root window.
    :ivar check: the window manager's own window, which owns its selections; 0 before :meth:`manage`.
    """

    def __init__(self, x: X11Connection, atoms: Atoms, number: int) -> None:
        self.number = number
        self.atoms = atoms
        self.check = 0
        self._x = x

    def manage(self) -> int:
        """Become the window manager.

        :returns: the number of the request that fails if there is one already.
        """
        request = self._x.request(ChangeWindowAttributes(self.number, {"event_mask": _MASK}))
        self._x.request(CompositeRedirectSubwindows(self.number, CompositeRedirect.MANUAL))
        check = self.check = self._x.new_id()
        values = {"event_mask": EventMask.PROPERTY_CHANGE}
        self._x.request(CreateWindow(0, check, self.number, -1, -1, 1, 1, 0, WindowClass.INPUT_ONLY, 0, values))
        for window in (check, self.number):
            self.set_numbers("_NET_SUPPORTING_WM_CHECK", "WINDOW", [check], window)
        self.set_text("_NET_WM_NAME", NAME, check)
        self.set_numbers("_NET_SUPPORTED", "ATOM", [self.atoms[name] for name in SUPPORTED])
        self.set_numbers("_NET_NUMBER_OF_DESKTOPS", "CARDINAL", [1])
        self.set_numbers("_NET_CURRENT_DESKTOP", "CARDINAL", [0])
        self.set_numbers("_NET_DESKTOP_VIEWPORT", "CARDINAL", [0, 0])
        self.set_windows([], [])
        self.set_active(0)
        # The host composes all windows with their transparency, so programs find a compositing manager (EWMH).
        for selection in ("WM_S0", "_NET_WM_CM_S0"):
            self._x.request(SetSelectionOwner(check, self.atoms[selection], 0))
        self._x.request(SetInputFocus(InputFocus.NONE, 0, 0))
        return request

    def set_windows(self, by_age: Sequence[int], by_stacking: Sequence[int]) -> None:
        """List the managed windows, the oldest and the lowest first."""
        self.set_numbers("_NET_CLIENT_LIST", "WINDOW", by_age)
        self.set_numbers("_NET_CLIENT_LIST_STACKING", "WINDOW", by_stacking)

    def set_active(self, window: int) -> None:
        """Name the window that has the focus, 0 for none."""
        self.set_numbers("_NET_ACTIVE_WINDOW", "WINDOW", [window])

    def set_area(self, area: Rectangle) -> None:
        """Write the size of the whole desktop."""
        self.set_numbers("_NET_DESKTOP_GEOMETRY", "CARDINAL", [area.width, area.height])
        self.set_numbers("_NET_WORKAREA", "CARDINAL", area)

    def ask_time(self) -> None:
        """Let the server send a PropertyNotify event of :attr:`check` with its time."""
        self._change(self.check, TIME_PROPERTY, self.atoms["CARDINAL"], 32, 0, b"")

    def set_settings(self, settings: DesktopSettings) -> None:
        """Tell programs the settings of the desktop, after :meth:`manage`."""
        resources = settings.resources().encode("latin-1", "replace")
        self._change(0, "RESOURCE_MANAGER", self.atoms["STRING"], 8, len(resources), resources)
        data, kind = settings.xsettings(), self.atoms["_XSETTINGS_SETTINGS"]
        self._change(self.check, "_XSETTINGS_SETTINGS", kind, 8, len(data), data)
        selection = self.atoms["_XSETTINGS_S0"]
        self._x.request(SetSelectionOwner(self.check, selection, 0))
        # Programs that run already look for the manager then (xsettings-spec 0.5).
        data = struct.pack("<5I", 0, selection, self.check, 0, 0)
        message = ClientMessage(32, self.number, self.atoms["MANAGER"], data)
        send_event(self._x, self.number, EventMask.STRUCTURE_NOTIFY, message)

    def set_numbers(self, name: str, kind: str, numbers: Sequence[int], window: int = 0) -> None:
        """Write a property of 32-bit numbers, by default of the root window."""
        data = struct.pack(f"<{len(numbers)}I", *(number & 0xFFFFFFFF for number in numbers))
        self._change(window, name, self.atoms[kind], 32, len(numbers), data)

    def set_text(self, name: str, text: str, window: int = 0) -> None:
        """Write a property of UTF-8, by default of the root window."""
        data = text.encode()
        self._change(window, name, self.atoms["UTF8_STRING"], 8, len(data), data)

    def set_string(self, name: str, text: bytes, window: int) -> None:
        """Write a property of Latin-1."""
        self._change(window, name, self.atoms["STRING"], 8, len(text), text)

    def _change(self, window: int, name: str, kind: int, form: int, count: int, data: bytes) -> None:
        target = window or self.number
        self._x.request(ChangeProperty(PropMode.REPLACE, target, self.atoms[name], kind, form, count, data))

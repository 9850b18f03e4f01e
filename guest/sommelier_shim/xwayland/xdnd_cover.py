"""A window over all others that takes the drags of X programs which the pointer takes to the host's windows. Pure.

A program that drags looks for a window below the pointer that takes drops (XDND 5, freedesktop.org), and asks it.
It finds this one where no X window is.
"""

from __future__ import annotations

import struct

from sommelier_shim.xwayland.selections import TYPE_LIMIT, XSelection
from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    Atom,
    ChangeProperty,
    ClientMessage,
    ConfigureWindow,
    CreateWindow,
    EventMask,
    GetProperty,
    GetPropertyReply,
    MapWindow,
    PropMode,
    StackMode,
    UnmapWindow,
    WindowClass,
)
from sommelier_shim.xwayland.xdnd import ACTIONS, COPY, VERSION

_SIZE = 32767
"""The largest size of a window."""


class XdndCover:
    """The window, and the drag that it has taken.

    :param selection: XdndSelection; it offers the types of the drag to the caller.
    :ivar window: its number.
    :ivar source: the window that drags, 0 for none; :ivar action: what its program suggests, 0 before it has.
    :ivar is_dropped: whether the program has dropped here and awaits the end.
    """

    def __init__(self, x: X11Connection, atoms: Atoms, root: int, selection: XSelection) -> None:
        self.window = x.new_id()
        self.source = 0
        self.action = 0
        self.is_dropped = self.is_mapped = False
        self._x = x
        self._atoms = atoms
        self._selection = selection
        self._asked = 0
        self._is_accepted = False
        self._allowed = COPY
        values = {"override_redirect": 1}
        place = (0, 0, _SIZE, _SIZE)
        x.request(CreateWindow(0, self.window, root, *place, 0, WindowClass.INPUT_ONLY, 0, values))
        version = struct.pack("<I", VERSION)
        x.request(ChangeProperty(PropMode.REPLACE, self.window, atoms["XdndAware"], Atom.ATOM, 32, 1, version))

    def show(self) -> None:
        """Cover all windows."""
        self.is_mapped = True
        self._x.request(ConfigureWindow(self.window, {"stack_mode": StackMode.ABOVE}))
        self._x.request(MapWindow(self.window))

    def hide(self) -> None:
        """Uncover them."""
        if self.is_mapped:
            self.is_mapped = False
            self._x.request(UnmapWindow(self.window))

    def allow(self, *, is_accepted: bool, action: int) -> None:
        """Tell the program whether the host's program would take a drop, and what it would do."""
        if (is_accepted, action) != (self._is_accepted, self._allowed):
            self._is_accepted, self._allowed = is_accepted, action
            if self.source and not self.is_dropped:
                self._send_status()

    def finish(self, *, is_done: bool) -> None:
        """The host's program has taken the data, or will not."""
        if self.is_dropped:
            done = (1, self._atoms[ACTIONS[self._allowed]]) if is_done else (0, 0)
            self._send("XdndFinished", *done)
        self.source = self.action = 0
        self.is_dropped = self._is_accepted = False

    def message(self, event: ClientMessage) -> None:
        """Take a message that a program has sent to the window."""
        if event.format != 32:
            return
        kind = self._atoms.name(event.type)
        source, flags, *types = struct.unpack("<5I", event.data)
        if kind == "XdndEnter" and not self.is_dropped:
            self.source, self.action = source, 0
            if flags & 1:
                name = self._atoms["XdndTypeList"]
                self._asked = self._x.request(GetProperty(False, source, name, 0, 0, TYPE_LIMIT))
            else:
                self._selection.list_types([atom for atom in types if atom])
        elif not source or source != self.source:
            return
        elif kind == "XdndPosition":
            action = next((one for one, name in ACTIONS.items() if self._atoms[name] == types[2]), COPY)
            self.action = action
            self._send_status()
        elif kind == "XdndLeave":
            self.source = self.action = 0
        elif kind == "XdndDrop":
            self._selection.dropped_at(types[0])
            self.is_dropped = True

    def reply(self, number: int, message: Message | None) -> None:
        """Take a reply of the server's, ``None`` for an error."""
        if number == self._asked and isinstance(message, GetPropertyReply) and message.format == 32:
            count = len(message.value) // 4
            self._selection.list_types(list(struct.unpack(f"<{count}I", message.value[: 4 * count])))

    def _send_status(self) -> None:
        action = self._atoms[ACTIONS[self._allowed]] if self._is_accepted else 0
        # The second bit asks for every position.
        self._send("XdndStatus", 2 | self._is_accepted, 0, 0, action)

    def _send(self, name: str, *numbers: int) -> None:
        data = struct.pack("<5I", self.window, *numbers, *(0,) * (4 - len(numbers)))
        message = ClientMessage(32, self.source, self._atoms[name], data)
        send_event(self._x, self.source, EventMask.NO_EVENT, message)

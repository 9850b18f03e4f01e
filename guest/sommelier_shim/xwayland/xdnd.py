"""A drag over an X window: the host's drag for the window's program, by the XDND protocol. Pure.

XDND 5 (freedesktop.org): the source sends XdndEnter, XdndPosition and XdndDrop or XdndLeave to the window; the
window's program answers positions with XdndStatus and a drop with XdndFinished. It gets the data as a selection.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from sommelier_shim.xwayland.selections import XSelection
from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    Atom,
    ChangeProperty,
    ClientMessage,
    EventMask,
    GetProperty,
    GetPropertyReply,
    PropMode,
)

VERSION, _OLDEST = 5, 3
"""Versions of XDND that we speak."""
COPY, MOVE, ASK = 1, 2, 4
"""Actions, as in wl_data_device_manager.dnd_action."""
ACTIONS = {COPY: "XdndActionCopy", MOVE: "XdndActionMove", ASK: "XdndActionAsk"}


def final_action(done: int, offered: int) -> int:
    """The action with which a drag ends whose program had to ask the user.

    :param done: what the program says that it has done.
    :param offered: the actions that the host's source offers. The host disconnects who ends with another one.
    :returns: :data:`COPY` or :data:`MOVE`; 0 if the source offers neither.
    """
    possible = offered & (COPY | MOVE)
    return done & possible or possible & COPY or possible


class DragAnswer(NamedTuple):
    """What the program would do with a drop where the pointer is.

    :ivar is_accepted: whether it would take the data; :ivar action: :data:`COPY`, :data:`MOVE` or :data:`ASK`.
    """

    is_accepted: bool
    action: int


class DragFinished(NamedTuple):
    """The drag is over for this window.

    :ivar is_done: whether the program has taken the data; :ivar action: what it has done.
    """

    is_done: bool
    action: int


DragAction: TypeAlias = DragAnswer | DragFinished


class XdndDrag:
    """A drag of the host's over one X window.

    :param selection: XdndSelection, which offers the drag's types already; its window is the drag's source.
    :param window: the window under the pointer.
    :ivar actions: what the caller has to do, in this order; the caller empties the list.
    :ivar action: what the host suggests to do.
    """

    def __init__(self, x: X11Connection, atoms: Atoms, selection: XSelection, window: int) -> None:
        self.actions: list[DragAction] = []
        self.action = COPY
        self.window = window
        self._x = x
        self._atoms = atoms
        self._selection = selection
        self._asked: dict[int, str] = {}
        self._to = window
        self._version = 0
        self._is_entered = self._is_dropped = self._is_sent = self._is_over = False
        self._is_waiting = self._is_accepted = False
        self._place: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None
        self._answered = COPY
        self._read(window, "XdndProxy")

    # -- the host ------------------------------------------------------------------------------------------------

    def moved(self, x: int, y: int) -> None:
        """The pointer is at a place, in the root window's coordinates."""
        self._place = (x, y)
        self.proceed()

    def suggested(self, action: int) -> None:
        """The host suggests an action, which the user's modifiers have chosen."""
        if action in ACTIONS and action != self.action:
            self.action = action
            if self._last is not None and self._place is None:
                self.moved(*self._last)

    def left(self) -> None:
        """The pointer has left the window."""
        if not self._is_dropped:
            self._finish(is_done=False)

    def dropped(self) -> None:
        """The user has dropped here."""
        self._is_dropped = True
        self.proceed()

    def proceed(self) -> None:
        """Send what can be sent: after the program's answers and the server's."""
        if self._is_over or not self._version or not self._selection.is_named:
            return
        if not self._is_entered:
            self._enter()
        if self._is_waiting:
            return
        if self._place is not None:
            (x, y), self._place = self._place, None
            self._last = (x, y)
            self._is_waiting = True
            place = (x & 0xFFFF) << 16 | y & 0xFFFF
            self._send("XdndPosition", 0, place, self._selection.time, self._atoms[ACTIONS[self.action]])
        elif self._is_dropped and self._is_accepted:
            if not self._is_sent:
                self._is_sent = True
                self._send("XdndDrop", 0, self._selection.time)
        elif self._is_dropped:
            self._finish(is_done=False)

    # -- the program ---------------------------------------------------------------------------------------------

    def message(self, event: ClientMessage) -> None:
        """Take a message that a program has sent to the source window."""
        kind = self._atoms.name(event.type)
        if event.format != 32 or kind not in ("XdndStatus", "XdndFinished"):
            return
        target, flags, first, _, last = struct.unpack("<5I", event.data)
        if target != self.window or not self._is_entered or self._is_over:
            return
        if kind == "XdndStatus":
            self._is_waiting, self._is_accepted = False, bool(flags & 1)
            self._answered = self._named(last)
            self.actions.append(DragAnswer(self._is_accepted, self._answered))
            self.proceed()
        elif self._is_sent:
            is_done = self._version < VERSION or bool(flags & 1)
            self._over(is_done=is_done, action=self._named(first) if self._version >= VERSION else self._answered)

    def window_gone(self, window: int) -> None:
        """A window is destroyed."""
        if window in (self.window, self._to):
            self.actions.append(DragAnswer(False, COPY))
            self._over(is_done=False, action=0)

    def give_up(self) -> None:
        """The program does not answer."""
        self._finish(is_done=False)

    def reply(self, number: int, message: Message | None) -> None:
        """Take a reply of the server's, ``None`` for an error."""
        name = self._asked.pop(number, "")
        value = message.value if isinstance(message, GetPropertyReply) and message.format == 32 else b""
        found = struct.unpack("<I", value[:4])[0] if len(value) >= 4 else 0
        if name == "XdndProxy" and found and self._to == self.window != found:
            # A proxy names itself, or it is a leftover of a program that has ended (XDND, XdndProxy).
            self._to = found
            self._read(found, "XdndProxy")
        elif name == "XdndProxy":
            if self._to not in (self.window, found):
                self._to = self.window
            self._read(self._to, "XdndAware")
        elif name == "XdndAware" and found >= _OLDEST:
            self._version = min(found, VERSION)
            self.proceed()
        elif name == "XdndAware":
            self.actions.append(DragAnswer(False, COPY))
            self._over(is_done=False, action=0)

    # -- requests ------------------------------------------------------------------------------------------------

    def _read(self, window: int, name: str) -> None:
        self._asked[self._x.request(GetProperty(False, window, self._atoms[name], 0, 0, 1))] = name

    def _named(self, atom: int) -> int:
        name = self._atoms.name(atom)
        return next((action for action, each in ACTIONS.items() if each == name), COPY)

    def _enter(self) -> None:
        self._is_entered = True
        types = self._selection.offered_atoms()
        count = len(types)
        data = struct.pack(f"<{count}I", *types)
        of_types, ours = self._atoms["XdndTypeList"], self._selection.window
        self._x.request(ChangeProperty(PropMode.REPLACE, ours, of_types, Atom.ATOM, 32, count, data))
        self._send("XdndEnter", self._version << 24 | (count > 3), *[*types, 0, 0, 0][:3])

    def _send(self, name: str, *numbers: int) -> None:
        data = struct.pack("<5I", self._selection.window, *numbers, *(0,) * (4 - len(numbers)))
        message = ClientMessage(32, self.window, self._atoms[name], data)
        send_event(self._x, self._to, EventMask.NO_EVENT, message)

    def _finish(self, *, is_done: bool) -> None:
        if self._is_entered and not self._is_sent and not self._is_over:
            self._send("XdndLeave")
        self._over(is_done=is_done, action=0)

    def _over(self, *, is_done: bool, action: int) -> None:
        if not self._is_over:
            self._is_over = True
            self.actions.append(DragFinished(is_done, action))

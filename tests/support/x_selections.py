"""One selection of the proxy's on a real X server, and X programs. The test plays the Wayland side."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from sommelier_shim.xwayland.selections import (
    Offer,
    SelectionAction,
    XSelection,
)
from sommelier_shim.xwayland.window_manager.atoms import NAMES, Atoms
from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import encode
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    LAYOUTS,
    ChangeProperty,
    ChangeWindowAttributes,
    ClientMessage,
    ConvertSelection,
    CreateWindow,
    DestroyNotify,
    EventMask,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    PropertyNotify,
    PropMode,
    SelectionNotify,
    SelectionRequest,
    SendEvent,
    SetSelectionOwner,
    WindowClass,
    XFixesSelectionEvent,
    XFixesSelectionEventMask,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)
from sommelier_shim.xwayland.xdnd import XdndDrag
from sommelier_shim.xwayland.xdnd_cover import XdndCover
from support.x_server import LIMIT, XClient

PLAIN = "text/plain;charset=utf-8"
"""A type of text."""


class Host:
    """A selection of a host whose programs are the test.

    :param name: the X selection.
    :ivar drag: the drag of the host's over an X window; :ivar covering: what takes drags of X programs.
    """

    def __init__(self, display: str, name: str = "CLIPBOARD") -> None:
        self._name = name
        self.display = display
        self.covering: XdndCover | None = None
        self.drag: XdndDrag | None = None
        self._x = X11Connection()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(LIMIT)
        self._socket.connect(f"/tmp/.X11-unix/X{display[1:]}")
        self._asked: dict[int, str] = {}
        self.atoms = Atoms()
        self.selection: XSelection | None = None
        self.done: list[SelectionAction] = []
        self.until(lambda: self.selection is not None)

    def close(self) -> None:
        self._socket.close()

    def cover(self) -> None:
        """Make the window that takes the drags of X programs."""
        assert self._x.setup is not None
        self.covering = XdndCover(self._x, self.atoms, self._x.setup.roots[0].root, self.ours)
        self.settle()

    def enter(self, window: int, *types: str) -> XdndDrag:
        """Drag into an X window."""
        self.ours.host_offers(types)
        self.drag = XdndDrag(self._x, self.atoms, self.ours, window)
        return self.drag

    @property
    def ours(self) -> XSelection:
        assert self.selection is not None
        return self.selection

    def actions(self, kind: type[SelectionAction]) -> list[SelectionAction]:
        self.done += self.ours.actions
        self.ours.actions.clear()
        return [one for one in self.done if isinstance(one, kind)]

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._socket.sendall(self._x.data_to_send())
            received = self._socket.recv(65536)
            assert received, "the server has closed the connection"
            for message in self._x.receive(received):
                self._take(message)
        self._socket.sendall(self._x.data_to_send())

    def settle(self) -> None:
        """Work until everything that the server has said so far is taken."""
        number = self._x.request(InternAtom(False, b"settled"))
        self._asked[number] = "settled"
        self.until(lambda: number not in self._asked)

    def _take(self, message: Ready | Reply | Event | Error) -> None:
        if isinstance(message, Ready):
            for name in NAMES:
                self._asked[self._x.request(InternAtom(False, name.encode()))] = name
        elif isinstance(message, Reply) and message.number in self._asked:
            assert isinstance(message.message, InternAtomReply)
            self.atoms.add(self._asked.pop(message.number), message.message.atom)
            if self.atoms.are_known and self.selection is None:
                self._begin()
        elif self.selection is not None and isinstance(message, Reply):
            if self.covering is not None:
                self.covering.reply(message.number, message.message)
            if not self.selection.reply(message.number, message.message) and self.drag is not None:
                self.drag.reply(message.number, message.message)
            elif self.drag is not None:
                self.drag.proceed()
        elif self.drag is not None and isinstance(message, Error):
            self.drag.reply(message.number, None)
        elif self.selection is not None and isinstance(message, Event):
            self._event(self.selection, message)

    def _event(self, selection: XSelection, event: Event) -> None:
        match event.message:
            case XFixesSelectionNotify() as one:
                is_gone = one.subtype != XFixesSelectionEvent.SET_SELECTION_OWNER
                selection.owner_changed(one.owner, one.selection_timestamp, is_gone=is_gone)
            case SelectionNotify() as one:
                selection.notified(one)
            case SelectionRequest() as one:
                selection.requested(one)
            case DestroyNotify() as one:
                selection.window_gone(one.window)
                if self.drag is not None:
                    self.drag.window_gone(one.window)
            case ClientMessage() as one if self.covering is not None:
                self.covering.message(one)
            case ClientMessage() as one if self.drag is not None:
                self.drag.message(one)
            case PropertyNotify() as one:
                selection.property_changed(one.atom, is_deleted=one.state == 1, window=one.window)

    def _begin(self) -> None:
        assert self._x.setup is not None
        window, root = self._x.new_id(), self._x.setup.roots[0].root
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self._x.request(CreateWindow(0, window, root, -1, -1, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        self._x.request(ChangeWindowAttributes(root, {"event_mask": EventMask.SUBSTRUCTURE_NOTIFY}))
        masks = XFixesSelectionEventMask
        watched = masks.SET_SELECTION_OWNER | masks.SELECTION_WINDOW_DESTROY | masks.SELECTION_CLIENT_CLOSE
        self._x.request(XFixesSelectSelectionInput(window, self.atoms[self._name], watched))
        self.selection = XSelection(self._x, self.atoms, self._name, window)


class Program(XClient):
    """An X program with one window."""

    def __init__(self, display: str) -> None:
        super().__init__(display)
        self.window = self.wire.new_id()
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self.wire.request(CreateWindow(0, self.window, self.root, 0, 0, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        assert self.sync() == []

    def atom(self, name: str) -> int:
        return self.call(InternAtom(False, name.encode()), InternAtomReply).atom

    def read(self, name: str) -> GetPropertyReply:
        return self.call(GetProperty(True, self.window, self.atom(name), 0, 0, 1 << 22), GetPropertyReply)

    def write(self, window: int, into: int, kind: int, form: int, data: bytes) -> None:
        count = len(data) * 8 // form
        self.wire.request(ChangeProperty(PropMode.REPLACE, window, into, kind, form, count, data))

    def tell(self, window: int, name: str, data: bytes) -> None:
        """Send a client message of 20 bytes to a window's creator."""
        body = bytes(encode(ClientMessage(32, window, self.atom(name), data), LAYOUTS))
        packet = bytes([EVENTS[ClientMessage].code]) + body[:1] + bytes(2) + body[1:]
        self.wire.request(SendEvent(False, window, 0, packet.ljust(32, b"\0")))
        assert self.sync() == []

    def convert(self, target: str, into: str, selection: str = "CLIPBOARD") -> None:
        names = self.atom(selection), self.atom(target), self.atom(into)
        self.wire.request(ConvertSelection(self.window, *names, 0))
        assert self.sync() == []

    def own(self) -> None:
        self.wire.request(SetSelectionOwner(self.window, self.atom("CLIPBOARD"), 0))
        assert self.sync() == []

    def answer_to(self, request: SelectionRequest, into: int) -> None:
        notify = SelectionNotify(request.time, request.requestor, request.selection, request.target, into)
        body = bytes(encode(notify, LAYOUTS))
        packet = bytes([EVENTS[SelectionNotify].code]) + body[:1] + bytes(2) + body[1:]
        self.wire.request(SendEvent(False, request.requestor, 0, packet.ljust(32, b"\0")))
        assert self.sync() == []

    def offer(self, host: Host, *names: str) -> None:
        """Own the selection, and answer the request for its targets."""
        self.own()
        host.until(lambda: host.ours._time)
        request = self.event(SelectionRequest)
        data = struct.pack(f"<{len(names)}I", *map(self.atom, names))
        self.write(request.requestor, request.property, self.atom("ATOM"), 32, data)
        self.answer_to(request, request.property)
        host.until(lambda: host.actions(Offer))

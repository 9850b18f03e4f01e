"""Drags of the host's over X windows: the host's events on Xwayland's connection, and the drop's pipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.daemon.loop import Loop, Timer
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.xwayland.clipboard import CLIPBOARD, Clipboard
from sommelier_shim.xwayland.selections import Offer, Receive, XSelection
from sommelier_shim.xwayland.transfers import Transfers
from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.window import Rectangle
from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.messages import (
    ClientMessage,
    CreateWindow,
    DestroyNotify,
    EventMask,
    PropertyNotify,
    SelectionRequest,
    WindowClass,
    XFixesSelectionEventMask,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)
from sommelier_shim.xwayland.xdnd import ASK, COPY, MOVE, DragAnswer, DragFinished, XdndDrag

DROP_TIME = 30.0
"""Seconds that a program may take for a drop while no data moves."""
_ACTIONS = COPY | MOVE | ASK
_HAS_ACTIONS = 3
"""The version of wl_data_device_manager since which drags have actions."""
_DELETED = 1

_read_enter = event("wl_data_device", "enter").reader("surface", "x", "y", "id")
_read_serial = event("wl_data_device", "enter").reader("serial")
_read_motion = event("wl_data_device", "motion").reader("x", "y")
_read_source_actions = event("wl_data_offer", "source_actions").reader("source_actions")
_read_action = event("wl_data_offer", "action").reader("dnd_action")
_ACCEPT = request("wl_data_offer", "accept")
_SET_ACTIONS = request("wl_data_offer", "set_actions")
_RECEIVE = request("wl_data_offer", "receive")
_FINISH = request("wl_data_offer", "finish")
_DESTROY = request("wl_data_offer", "destroy")


class Places(Protocol):
    """Where the X windows are."""

    def window_of(self, surface: int, /) -> tuple[int, Rectangle] | None:
        """The window that a surface shows, and its place."""


class _HostDrag:
    """A drag of the host's over one of Xwayland's surfaces.

    :ivar offer: its wl_data_offer; :ivar origin: the window's place.
    :ivar action: the host's choice; :ivar is_accepted: whether the program has accepted last.
    """

    def __init__(self, xdnd: XdndDrag, offer: int, serial: int, types: tuple[str, ...], origin: Rectangle) -> None:
        self.xdnd = xdnd
        self.offer = offer
        self.serial = serial
        self.types = types
        self.origin = origin
        self.source_actions = COPY
        self.action = 0
        self.is_accepted = False
        self.is_dropped = False


class Drags:
    """The drags of one Xwayland.

    :param clipboard: the host's clipboard; its device gets the drags, too.
    :param places: where the X windows are.
    :param factor: returns X's units per host unit.
    :param send: sends requests to the X server.
    """

    def __init__(
        self,
        loop: Loop,
        x: X11Connection,
        clipboard: Clipboard,
        places: Places,
        factor: Callable[[], float],
        send: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._x = x
        self._clipboard = clipboard
        self._places = places
        self._factor = factor
        self._send_requests = send
        self._atoms: Atoms | None = None
        self._selection: XSelection | None = None
        self._transfers: Transfers | None = None
        self._relay: TranslatingRelay | None = None
        self._drag: _HostDrag | None = None
        self._timer: Timer | None = None
        self._source_actions: dict[int, int] = {}

    def start(self, atoms: Atoms, root: int) -> None:
        """Make the window that is the source of the host's drags; the atoms are known."""
        window = self._x.new_id()
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self._x.request(CreateWindow(0, window, root, -1, -1, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        self._atoms = atoms
        self._selection = XSelection(self._x, atoms, "XdndSelection", window)
        self._transfers = Transfers(self._loop, self._selection, self._after)
        watched = XFixesSelectionEventMask.SET_SELECTION_OWNER
        self._x.request(XFixesSelectSelectionInput(window, atoms["XdndSelection"], watched))

    def close(self) -> None:
        """Close the pipes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transfers is not None:
            self._transfers.close()

    # -- the X server --------------------------------------------------------------------------------------------

    def receive(self, message: Ready | Reply | Event | Error) -> None:
        """Take a message of the X server; other parts get the same one."""
        selection = self._selection
        if selection is None or isinstance(message, Ready):
            return
        if isinstance(message, Reply | Error):
            found = message.message if isinstance(message, Reply) else None
            if not selection.reply(message.number, found) and self._drag is not None:
                self._drag.xdnd.reply(message.number, found)
            elif self._drag is not None:
                self._drag.xdnd.proceed()
            return
        match message.message:
            case XFixesSelectionNotify(window=selection.window, owner=selection.window) as taken:
                selection.owner_changed(taken.owner, taken.selection_timestamp)
            case SelectionRequest(owner=selection.window) as requested:
                selection.requested(requested)
            case PropertyNotify() as changed:
                is_deleted = changed.state == _DELETED
                selection.property_changed(changed.atom, is_deleted=is_deleted, window=changed.window)
            case DestroyNotify(window=window):
                selection.window_gone(window)
                if self._drag is not None:
                    self._drag.xdnd.window_gone(window)
            case ClientMessage(window=selection.window) as sent:
                if self._drag is not None:
                    self._drag.xdnd.message(sent)
            case _:
                pass

    def apply(self) -> None:
        """Do what the drag and its selection want, while no message is being handled."""
        selection, transfers = self._selection, self._transfers
        if selection is None or transfers is None or self._relay is None:
            return
        self._answer(self._relay)
        while selection.actions:
            actions, selection.actions = selection.actions, []
            for action in actions:
                match action:
                    case Receive(transfer=transfer, type=kind):
                        if self._drag is None:
                            selection.cancel(transfer)
                        else:
                            pipe = transfers.receive(transfer)
                            self._relay.to_host(_RECEIVE.encode(self._drag.offer, kind.encode()), [pipe])
                    case Offer():
                        pass
                    case _:
                        transfers.apply(action)
        transfers.read_on()

    def _answer(self, relay: TranslatingRelay) -> None:
        """Tell the host what the program has answered."""
        while (drag := self._drag) is not None and drag.xdnd.actions:
            match drag.xdnd.actions.pop(0):
                case DragAnswer(is_accepted=is_accepted, action=action):
                    drag.is_accepted = is_accepted
                    mime_type = drag.types[0].encode() if is_accepted else None
                    requests = _ACCEPT.encode(drag.offer, drag.serial, mime_type)
                    if self._has_actions(relay):
                        wanted = action if is_accepted else 0
                        allowed = drag.source_actions & _ACTIONS if is_accepted else 0
                        requests += _SET_ACTIONS.encode(drag.offer, allowed | wanted, wanted)
                    relay.to_host(requests, None)
                case DragFinished(is_done=is_done, action=action):
                    self._end(relay, drag, is_done=is_done, action=action)

    def _end(self, relay: TranslatingRelay, drag: _HostDrag, *, is_done: bool, action: int) -> None:
        if not drag.is_dropped and drag.offer:
            # Without a target the host still has the drag here; its leave or drop event destroys the offer.
            drag.is_accepted = False
            return
        requests = b""
        if is_done and drag.is_accepted and drag.action and self._has_actions(relay):
            if drag.action == ASK:
                requests += _SET_ACTIONS.encode(drag.offer, action & ~ASK or COPY, action & ~ASK or COPY)
            requests += _FINISH.encode(drag.offer)
        relay.to_host(requests, None)
        self._forget(relay, drag)

    def _forget(self, relay: Relay, drag: _HostDrag) -> None:
        """The host's offer is not needed any more."""
        self._drag = None
        if self._timer is not None:
            self._timer.cancel()
        relay.to_host(_DESTROY.encode(drag.offer), None)
        relay.events.objects.remove(drag.offer)
        self._source_actions.pop(drag.offer, None)
        if self._selection is not None:
            self._selection.host_offers(())

    def _has_actions(self, relay: Relay) -> bool:
        return OWN_GLOBALS.of(relay).versions.get(CLIPBOARD.manager, 0) >= _HAS_ACTIONS

    # -- the host ------------------------------------------------------------------------------------------------

    def install(self, hooks: Hooks) -> None:
        """Install the hooks on Xwayland's connection."""
        hooks.at_start.append(self._start)
        for interface, name, hook in (
            ("wl_data_device", "enter", self._entered),
            ("wl_data_device", "motion", self._moved),
            ("wl_data_device", "leave", self._left),
            ("wl_data_device", "drop", self._dropped),
            ("wl_data_offer", "source_actions", self._offered_actions),
            ("wl_data_offer", "action", self._chosen),
        ):
            hooks.on_own_event(interface, name, hook)

    def _start(self, relay: Relay) -> None:
        self._relay = translating(relay)

    def _entered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        surface, x, y, offer = _read_enter(flow.buffer, at)
        (serial,) = _read_serial(flow.buffer, at)
        if self._drag is not None:
            self._drag.xdnd.give_up()
            self._forget(flow.relay, self._drag)
        if not offer or self._atoms is None or self._selection is None:
            return
        types = self._clipboard.take_offer(offer)
        found = self._places.window_of(flow.relay.client_id(surface))
        if found is None or not types:
            flow.relay.to_host(_ACCEPT.encode(offer, serial, None) + _DESTROY.encode(offer), None)
            flow.relay.events.objects.remove(offer)
            return
        window, origin = found
        self._selection.host_offers(types)
        xdnd = XdndDrag(self._x, self._atoms, self._selection, window)
        self._drag = _HostDrag(xdnd, offer, serial, types, origin)
        self._drag.source_actions = self._source_actions.get(offer, COPY)
        self._move(x, y)

    def _moved(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        self._move(*_read_motion(flow.buffer, at))

    def _move(self, x: int, y: int) -> None:
        if self._drag is not None:
            factor, origin = self._factor(), self._drag.origin
            self._drag.xdnd.moved(origin.x + int(x * factor) // 256, origin.y + int(y * factor) // 256)
            self._later()

    def _left(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        # Some hosts send it after a drop, too.
        if (drag := self._drag) is not None and not drag.is_dropped:
            drag.xdnd.left()
            self._forget(flow.relay, drag)
            self._later()

    def _dropped(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if (drag := self._drag) is not None and not drag.is_dropped:
            drag.is_dropped = True
            drag.xdnd.dropped()
            if any(isinstance(one, DragFinished) for one in drag.xdnd.actions) or not drag.is_accepted:
                drag.xdnd.give_up()
            self._watch()
            self._later()

    def _offered_actions(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (actions,) = _read_source_actions(flow.buffer, at)
        if self._drag is not None and self._drag.offer == object_id:
            self._drag.source_actions = actions
        else:
            self._source_actions = {object_id: actions}

    def _chosen(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if (drag := self._drag) is not None and drag.offer == object_id:
            (drag.action,) = _read_action(flow.buffer, at)
            drag.xdnd.suggested(drag.action)
            self._later()

    # -- time ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Give up when a program takes nothing of a drop and does not say that it is finished."""
        self._timer = self._loop.call_later(DROP_TIME, self._waited)

    def _waited(self) -> None:
        if self._transfers is not None and not self._transfers.are_done:
            self._watch()
        elif self._drag is not None:
            self._drag.xdnd.give_up()
            self._after()

    def _later(self) -> None:
        self._loop.call_later(0, self._after)

    def _after(self) -> None:
        """Do what follows, and tell the X server."""
        self.apply()
        self._send_requests()

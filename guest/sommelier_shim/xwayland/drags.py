"""Drags of the host's over X windows, and of X programs: the host's events on Xwayland's connection, and pipes."""

from __future__ import annotations

import os
from collections.abc import Callable

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.core.wire import Buffer
from sommelier_shim.daemon.loop import Loop, Timer
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.xwayland.clipboard import CLIPBOARD, Clipboard
from sommelier_shim.xwayland.program_drag import Places, Press, ProgramDrag
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
    MapNotify,
    PropertyNotify,
    SelectionNotify,
    SelectionRequest,
    UnmapNotify,
    WindowClass,
    XFixesSelectionEventMask,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)
from sommelier_shim.xwayland.xdnd import ASK, COPY, MOVE, DragAnswer, DragFinished, XdndDrag, final_action
from sommelier_shim.xwayland.xdnd_cover import XdndCover

DROP_TIME = 30.0
"""Seconds that a program may take for a drop while no data moves."""
_ACTIONS = COPY | MOVE | ASK
_HAS_ACTIONS = 3
"""The version of wl_data_device_manager since which drags have actions."""
_UNCOVER_TIME = 1.0
"""Seconds after a drag in which its program may still look for a target."""
_DELETED = 1

_read_enter = event("wl_data_device", "enter").reader("surface", "x", "y", "id")
_read_serial = event("wl_data_device", "enter").reader("serial")
_read_motion = event("wl_data_device", "motion").reader("x", "y")
_read_source_actions = event("wl_data_offer", "source_actions").reader("source_actions")
_read_action = event("wl_data_offer", "action").reader("dnd_action")
_read_target = event("wl_data_source", "target").decoder("mime_type")
_read_chosen = event("wl_data_source", "action").reader("dnd_action")
_read_button = event("wl_pointer", "button").reader("serial", "button", "state")
_read_pointed = event("wl_pointer", "enter").reader("surface")
_ACCEPT = request("wl_data_offer", "accept")
_SET_ACTIONS = request("wl_data_offer", "set_actions")
_RECEIVE = request("wl_data_offer", "receive")
_FINISH = request("wl_data_offer", "finish")
_DESTROY = request("wl_data_offer", "destroy")


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
        self._cover: XdndCover | None = None
        self._program: ProgramDrag | None = None
        self._offered: tuple[str, ...] = ()
        self._held: list[tuple[int, bytes]] = []
        self._press: Press | None = None
        self._pointed = 0
        self._has_frames = False
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
        self._cover = XdndCover(self._x, atoms, root, self._selection)
        watched = XFixesSelectionEventMask.SET_SELECTION_OWNER
        self._x.request(XFixesSelectSelectionInput(window, atoms["XdndSelection"], watched))

    def close(self) -> None:
        """Close the pipes."""
        self._drop_held()
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
            if self._cover is not None:
                self._cover.reply(message.number, found)
            return
        match message.message:
            case XFixesSelectionNotify(window=selection.window, owner=selection.window) as taken:
                selection.owner_changed(taken.owner, taken.selection_timestamp)
            case XFixesSelectionNotify(window=selection.window) as taken if taken.owner:
                selection.owner_changed(selection.window, taken.selection_timestamp)
                self._begin()
            case SelectionNotify() as notified:
                selection.notified(notified)
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
            case ClientMessage() as sent if self._cover is not None and sent.window == self._cover.window:
                self._cover.message(sent)
                if self._cover.is_dropped:
                    self._give_held()
                if self._program is None:
                    self._cover.finish(is_done=False)
                    self._cover.hide()
            case MapNotify() | UnmapNotify() as shown:
                if self._cover is not None and shown.window == self._cover.window:
                    self._nudge()
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
                    case Offer(types=types):
                        self._offered = types
                    case _:
                        transfers.apply(action)
        transfers.read_on()
        if self._program is not None and self._cover is not None and self._cover.action and self._offered:
            self._program.begin(self._relay, self._clipboard.device, self._offered)

    # -- a program's drag ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A program has taken the selection: it drags, if the user holds a button on its window."""
        self._offered = ()
        if self._program is not None and self._program.is_released and self._relay is not None:
            # The host has not told the end of the last one.
            self._close(self._relay, is_done=False)
        if self._press is not None and self._cover is not None and self._program is None:
            self._program = ProgramDrag(self._press, self._cover, self._places, self._factor)

    def send(self, source: int, descriptor: int, mime_type: bytes) -> bool:
        """See :class:`~sommelier_shim.xwayland.clipboard.DragSource`."""
        if self._program is None or self._transfers is None or source != self._program.source:
            return False
        if self._program.is_released and self._cover is not None and not self._cover.is_dropped:
            # Qt gives the data only to a request with the time of its drop, which it has not sent yet.
            self._held.append((descriptor, mime_type))
            return True
        self._transfers.send(descriptor, mime_type.decode("ascii", "replace"))
        return True

    def _give_held(self) -> None:
        """The program has dropped: begin the transfers that have waited for that."""
        held, self._held = self._held, []
        for descriptor, mime_type in held:
            if self._transfers is not None:
                self._transfers.send(descriptor, mime_type.decode("ascii", "replace"))

    def _drop_held(self) -> None:
        for descriptor, _ in self._held:
            os.close(descriptor)
        self._held.clear()

    def cancelled(self, relay: Relay, source: int) -> bytes | None:
        """See :class:`~sommelier_shim.xwayland.clipboard.DragSource`."""
        if self._program is None or source != self._program.source:
            return None
        events = self._release(self._program)
        self._close(relay, is_done=False)
        return events

    def _nudge(self) -> None:
        """The cover has come or gone, and a program looks for windows when the pointer moves."""
        program, relay = self._program, self._relay
        if program is not None and program.source and relay is not None and (events := program.nudge()):
            relay.to_client(events, None)

    def _close(self, relay: Relay, *, is_done: bool) -> None:
        self._drop_held()
        program, self._program = self._program, None
        if program is not None:
            program.close(relay, is_done=is_done)
            self._uncover_later()
            self._later()

    def _release(self, program: ProgramDrag) -> bytes:
        """The button is up."""
        self._uncover_later()
        return program.release()

    def _uncover_later(self) -> None:
        """The program looks for its target once more when the button is up."""
        self._loop.call_later(_UNCOVER_TIME, self._uncover)

    def _uncover(self) -> None:
        if (self._program is None or self._program.is_released) and self._cover is not None:
            self._cover.hide()
            self._send_requests()

    def _target(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (mime_type,) = _read_target(flow.buffer, at, stop)
        if self._program is not None and object_id == self._program.source:
            self._program.accepted(is_accepted=mime_type is not None)
            self._later()

    def _source_action(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (action,) = _read_chosen(flow.buffer, at)
        if self._program is not None and object_id == self._program.source:
            self._program.chosen(action)
            self._later()

    def _performed(self, flow: Flow, object_id: int, at: int, stop: int) -> bytes:
        if self._program is None or object_id != self._program.source:
            return b""
        return self._release(self._program)

    def _finished(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if self._program is not None and object_id == self._program.source:
            self._close(flow.relay, is_done=True)

    def _button(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        serial, button, state = _read_button(flow.buffer, at)
        if state and self._press is None:
            pointer = flow.relay.client_id(object_id)
            self._press = Press(pointer, self._pointed, serial, button, self._has_frames)
        elif not state and self._press is not None and self._press.button == button:
            self._press = None
            if self._program is not None and not self._program.source:
                self._close(flow.relay, is_done=False)

    def _frame(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        self._has_frames = True

    def _pointer_entered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (surface,) = _read_pointed(flow.buffer, at)
        self._pointed = flow.relay.client_id(surface)
        self._press = None
        if self._program is not None and self._program.source:
            flow.prefix += self._release(self._program)

    def _pointer_left(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        is_dragging = self._program is not None and self._program.source and not self._program.is_released
        if not is_dragging:
            self._press = None
            if self._program is not None and not self._program.source:
                self._close(flow.relay, is_done=False)
        return b"" if is_dragging else None

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
        done = drag.action
        if done == ASK:
            done = final_action(action, drag.source_actions)
            requests = _SET_ACTIONS.encode(drag.offer, done, done)
        requests += _FINISH.encode(drag.offer)
        if not (is_done and drag.is_accepted and done and self._has_actions(relay)):
            requests = b""
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
            ("wl_data_source", "target", self._target),
            ("wl_data_source", "action", self._source_action),
            ("wl_data_source", "dnd_drop_performed", self._performed),
            ("wl_data_source", "dnd_finished", self._finished),
        ):
            hooks.on_own_event(interface, name, hook)
        hooks.on_event("wl_pointer", "button", self._button, Phase.OBSERVE)
        hooks.on_event("wl_pointer", "frame", self._frame, Phase.OBSERVE)
        hooks.on_event("wl_pointer", "enter", self._pointer_entered, Phase.OBSERVE)
        hooks.on_event("wl_pointer", "leave", self._pointer_left, Phase.REPLACE)
        self._clipboard.on_drag = self

    def _start(self, relay: Relay) -> None:
        self._relay = translating(relay)

    def _entered(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        surface, x, y, offer = _read_enter(flow.buffer, at)
        (serial,) = _read_serial(flow.buffer, at)
        if self._drag is not None:
            self._drag.xdnd.give_up()
            self._forget(flow.relay, self._drag)
        if self._program is not None and self._program.source:
            self._clipboard.take_offer(offer)
            at_place = flow.relay.client_id(surface), (x, y)
            events = self._program.entered(flow.relay, *at_place, offer, serial)
            self._later()
            return events
        if not offer or self._atoms is None or self._selection is None:
            return None
        types = self._clipboard.take_offer(offer)
        found = self._places.window_of(flow.relay.client_id(surface))
        if found is None or not types:
            flow.relay.to_host(_ACCEPT.encode(offer, serial, None) + _DESTROY.encode(offer), None)
            flow.relay.events.objects.remove(offer)
            return None
        window, origin = found
        self._selection.host_offers(types)
        xdnd = XdndDrag(self._x, self._atoms, self._selection, window)
        self._drag = _HostDrag(xdnd, offer, serial, types, origin)
        self._drag.source_actions = self._source_actions.get(offer, COPY)
        self._move(x, y)
        return None

    def _moved(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        x, y = _read_motion(flow.buffer, at)
        if self._program is not None and self._program.source:
            return self._program.moved(x, y)
        self._move(x, y)
        return None

    def _move(self, x: int, y: int) -> None:
        if self._drag is not None:
            factor, origin = self._factor(), self._drag.origin
            self._drag.xdnd.moved(origin.x + int(x * factor) // 256, origin.y + int(y * factor) // 256)
            self._later()

    def _left(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        if self._program is not None and self._program.source:
            self._program.left(flow.relay)
            self._later()
        # Some hosts send it after a drop, too.
        if (drag := self._drag) is not None and not drag.is_dropped:
            drag.xdnd.left()
            self._forget(flow.relay, drag)
            self._later()

    def _dropped(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        if self._program is not None and self._program.source:
            self._uncover_later()
            return self._program.dropped(flow.relay)
        if (drag := self._drag) is not None and not drag.is_dropped:
            drag.is_dropped = True
            drag.xdnd.dropped()
            if any(isinstance(one, DragFinished) for one in drag.xdnd.actions) or not drag.is_accepted:
                drag.xdnd.give_up()
            self._watch()
            self._later()
        return None

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

"""The host's clipboard and the selections of X programs: objects on Xwayland's connection, and pipes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple
from typing import Protocol as Interface

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.daemon.loop import Loop
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.xwayland.selections import TYPE_LIMIT, Offer, Receive, XSelection
from sommelier_shim.xwayland.transfers import Transfers
from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.messages import (
    CreateWindow,
    DestroyNotify,
    EventMask,
    PropertyNotify,
    SelectionNotify,
    SelectionRequest,
    WindowClass,
    XFixesSelectionEvent,
    XFixesSelectionEventMask,
    XFixesSelectionNotify,
    XFixesSelectSelectionInput,
)

_DELETED = 1
"""PropertyNotify's state of a property that was deleted."""


class Protocol(NamedTuple):
    """The interfaces of one of the host's selections.

    :ivar selection: the X selection.
    """

    selection: str
    manager: str
    device: str
    source: str
    offer: str


CLIPBOARD = Protocol("CLIPBOARD", "wl_data_device_manager", "wl_data_device", "wl_data_source", "wl_data_offer")
PRIMARY = Protocol(
    "PRIMARY",
    "zwp_primary_selection_device_manager_v1",
    "zwp_primary_selection_device_v1",
    "zwp_primary_selection_source_v1",
    "zwp_primary_selection_offer_v1",
)
WANTED = {"wl_seat": 1, CLIPBOARD.manager: 3, PRIMARY.manager: 1}
"""The host's globals that this module uses."""


class DragSource(Interface):
    """What hears of sources that are not the clipboard's."""

    def send(self, source: int, descriptor: int, mime_type: bytes, /) -> bool:
        """Write data to a pipe; returns whether the source is its own."""

    def cancelled(self, relay: Relay, source: int, /) -> bytes | None:
        """A drag goes nowhere; returns events for Xwayland, or ``None`` if the source is not its own."""


class Clipboard:
    """One selection of one Xwayland.

    :param protocol: the host's side.
    :param serial: returns the serial of the last input event.
    :param send: sends the selection's requests to the X server.
    :ivar on_drag: has the sources of drags.
    """

    def __init__(
        self, loop: Loop, x: X11Connection, protocol: Protocol, serial: Callable[[], int], send: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._x = x
        self._protocol = protocol
        self._serial = serial
        self.on_drag: DragSource | None = None
        self._send_requests = send
        self._selection: XSelection | None = None
        self._relay: TranslatingRelay | None = None
        self._device = self._source = self._offer = 0
        self._types: dict[int, list[str]] = {}
        self._transfers: Transfers | None = None

    # -- the X server --------------------------------------------------------------------------------------------

    def start(self, atoms: Atoms, root: int) -> None:
        """Watch the selection; the atoms are known."""
        window = self._x.new_id()
        mask = {"event_mask": EventMask.PROPERTY_CHANGE}
        self._x.request(CreateWindow(0, window, root, -1, -1, 1, 1, 0, WindowClass.INPUT_ONLY, 0, mask))
        self._selection = XSelection(self._x, atoms, self._protocol.selection, window)
        self._transfers = Transfers(self._loop, self._selection, self._after)
        watched = (
            XFixesSelectionEventMask.SET_SELECTION_OWNER
            | XFixesSelectionEventMask.SELECTION_WINDOW_DESTROY
            | XFixesSelectionEventMask.SELECTION_CLIENT_CLOSE
        )
        self._x.request(XFixesSelectSelectionInput(window, atoms[self._protocol.selection], watched))

    def receive(self, message: Ready | Reply | Event | Error) -> None:
        """Take a message of the X server; other parts get the same one."""
        selection = self._selection
        if selection is None or isinstance(message, Ready):
            return
        if isinstance(message, Reply):
            selection.reply(message.number, message.message)
        elif isinstance(message, Error):
            selection.reply(message.number, None)
        else:
            match message.message:
                case XFixesSelectionNotify(window=selection.window) as changed:
                    is_gone = changed.subtype != XFixesSelectionEvent.SET_SELECTION_OWNER
                    selection.owner_changed(changed.owner, changed.selection_timestamp, is_gone=is_gone)
                case DestroyNotify(window=window):
                    selection.window_gone(window)
                case SelectionNotify() as notified:
                    selection.notified(notified)
                case SelectionRequest(owner=selection.window) as requested:
                    selection.requested(requested)
                case PropertyNotify() as changed:
                    is_deleted = changed.state == _DELETED
                    selection.property_changed(changed.atom, is_deleted=is_deleted, window=changed.window)
                case _:
                    pass

    def apply(self) -> None:
        """Do what the selection wants, while no message is being handled."""
        selection, transfers = self._selection, self._transfers
        if selection is None or transfers is None or self._relay is None:
            return
        self._make_device(self._relay)
        while selection.actions:
            actions, selection.actions = selection.actions, []
            for action in actions:
                match action:
                    case Offer(types=types):
                        self._offer_types(self._relay, types)
                    case Receive():
                        self._receive(self._relay, action)
                    case _:
                        transfers.apply(action)
        transfers.read_on()

    def close(self) -> None:
        """Close the pipes."""
        if self._transfers is not None:
            self._transfers.close()

    # -- the host ------------------------------------------------------------------------------------------------

    def install(self, hooks: Hooks) -> None:
        """Install the hooks on Xwayland's connection."""
        protocol = self._protocol
        hooks.at_start.append(self._start)
        hooks.on_own_event(protocol.device, "data_offer", self._data_offer)
        hooks.on_own_event(protocol.device, "selection", self._selected)
        hooks.on_own_event(protocol.offer, "offer", self._offered)
        hooks.on_own_event(protocol.source, "send", self._send, takes_descriptors=True)
        hooks.on_own_event(protocol.source, "cancelled", self._cancelled)
        self._read_data_offer = event(protocol.device, "data_offer").reader(
            event(protocol.device, "data_offer").arguments[0]
        )
        self._read_selection = event(protocol.device, "selection").reader("id")
        self._read_offer = event(protocol.offer, "offer").decoder("mime_type")
        self._read_send = event(protocol.source, "send").decoder("mime_type")

    def _start(self, relay: Relay) -> None:
        self._relay = translating(relay)

    def _make_device(self, relay: TranslatingRelay) -> None:
        bound = OWN_GLOBALS.of(relay).bound
        manager, seat = bound.get(self._protocol.manager, 0), bound.get("wl_seat", 0)
        if manager and seat and not self._device:
            self._device = relay.add_own(self._protocol.device)
            get = "get_data_device" if self._protocol is CLIPBOARD else "get_device"
            relay.to_host(request(self._protocol.manager, get).encode(manager, self._device, seat), None)

    @property
    def device(self) -> int:
        """The host's device, 0 before there is one."""
        return self._device

    def take_offer(self, offer: int) -> tuple[str, ...]:
        """The types of an offer that belongs to a drag, which destroys it."""
        return tuple(self._types.pop(offer, ()))

    def _data_offer(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (offer,) = self._read_data_offer(flow.buffer, at)
        translating(flow.relay).adopt(offer, self._protocol.offer)
        self._types[offer] = []

    def _offered(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (raw,) = self._read_offer(flow.buffer, at, stop)
        types = self._types.get(object_id)
        if types is not None and len(types) < TYPE_LIMIT and raw:
            types.append(raw.decode("ascii", "replace"))

    def _selected(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        (offer,) = self._read_selection(flow.buffer, at)
        for old in [one for one in self._types if one != offer]:
            flow.relay.to_host(request(self._protocol.offer, "destroy").encode(old), None)
            flow.relay.events.objects.remove(old)
            del self._types[old]
        self._offer = offer
        # The host tells us about our own source, too; its X owner keeps the selection.
        if self._selection is not None and not self._source:
            self._selection.host_offers(tuple(self._types.get(offer, ())))
            self._send_requests()

    def _send(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        descriptor = flow.received.popleft()
        (raw,) = self._read_send(flow.buffer, at, stop)
        if self.on_drag is not None and self.on_drag.send(object_id, descriptor, raw or b""):
            return
        if self._transfers is None or object_id != self._source:
            os.close(descriptor)
        else:
            self._transfers.send(descriptor, (raw or b"").decode("ascii", "replace"))

    def _cancelled(self, flow: Flow, object_id: int, at: int, stop: int) -> bytes | None:
        """Another program has taken the host's clipboard."""
        if self.on_drag is not None and (events := self.on_drag.cancelled(flow.relay, object_id)) is not None:
            return events
        flow.relay.to_host(request(self._protocol.source, "destroy").encode(object_id), None)
        translating(flow.relay).disown(object_id, self._protocol.source)
        if object_id == self._source:
            # The X program keeps the selection until the host tells of the new contents, with the next focus.
            self._source = 0
        return None

    # -- actions -------------------------------------------------------------------------------------------------

    def _offer_types(self, relay: TranslatingRelay, types: tuple[str, ...]) -> None:
        manager, serial = OWN_GLOBALS.of(relay).bound.get(self._protocol.manager, 0), self._serial()
        set_selection = request(self._protocol.device, "set_selection")
        if not manager or not self._device:
            return
        before, self._source = self._source, 0
        requests = b""
        if types:
            create = "create_data_source" if self._protocol is CLIPBOARD else "create_source"
            self._source = relay.add_own(self._protocol.source)
            requests += request(self._protocol.manager, create).encode(manager, self._source)
            for one in types:
                requests += request(self._protocol.source, "offer").encode(self._source, one.encode())
        if types or before:
            requests += set_selection.encode(self._device, self._source, serial)
        if before:
            # A host that refuses the new source may never cancel the old one.
            requests += request(self._protocol.source, "destroy").encode(before)
            relay.disown(before, self._protocol.source)
        relay.to_host(requests, None)

    def _receive(self, relay: TranslatingRelay, action: Receive) -> None:
        assert self._selection is not None
        assert self._transfers is not None
        if not self._offer:
            self._selection.cancel(action.transfer)
            return
        theirs = self._transfers.receive(action.transfer)
        receive = request(self._protocol.offer, "receive")
        relay.to_host(receive.encode(self._offer, action.type.encode()), [theirs])

    def _after(self) -> None:
        """A pipe has moved: do what follows, and tell the X server."""
        self.apply()
        self._send_requests()

"""Relays in which the proxy has objects of its own on the host, so that client ids and host ids differ.

The relay replaces every id in every message, which costs 0.8 µs per message. Both sides allocate ids without gaps
(chromeos-sommelier.md §6.2). The proxy uses these relays when scaling or a host extension needs objects that the
client does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sommelier_shim.core.layouts import MessageLayout, interface_layout, place_after
from sommelier_shim.core.objects import UNUSED, Entries, Entry
from sommelier_shim.core.relay import CLIENT_ID_LIMIT, OBJECT_LIMIT, Flow, Hook, Relay, Routing, Sink
from sommelier_shim.core.routes import Routes, Step, hooked
from sommelier_shim.core.wire import (
    DISPLAY,
    FIRST_SERVER_ID,
    IMPLEMENTATION,
    INVALID_OBJECT,
    NO_MEMORY,
    UINT,
    Buffer,
    WireError,
    delete_id_event,
)

_HOST_ID_LIMIT = 2 * CLIENT_ID_LIMIT
"""Host ids must be below this: the proxy may have one object of its own for each client object."""


class TranslatingRelay(Relay):
    """A relay that maps client ids to host ids.

    :ivar host_ids: host id by client id; :ivar client_ids: client id by host id.
    """

    __slots__ = ("_free", "_next", "_own", "_superseded", "_zombies", "client_ids", "host_ids")

    def __init__(self, routes: Routing, to_client: Sink, to_host: Sink) -> None:
        self.host_ids: dict[int, int] = {DISPLAY: DISPLAY}
        self.client_ids: dict[int, int] = {DISPLAY: DISPLAY}
        self._next = DISPLAY + 1
        self._free: list[int] = []
        self._own: set[int] = set()
        self._zombies: dict[int, int] = {}
        self._superseded: dict[int, int] = {}
        super().__init__(routes, to_client, to_host)
        self.requests.ids, self.events.ids = self.host_ids, self.client_ids

    def allocate(self) -> int:
        """A free host id: one that the host has deleted, or the next.

        :raises WireError: there are too many objects.
        """
        if self._free:
            return self._free.pop()
        if self._next >= _HOST_ID_LIMIT:
            raise WireError(f"more than {OBJECT_LIMIT} objects", NO_MEMORY)
        self._next += 1
        return self._next - 1

    def add_own(self, interface: str) -> int:
        """Allocate the host id of an object of the proxy's own; the routes' handlers receive its events."""
        host_id = self.allocate()
        self._own.add(host_id)
        self.events.objects.put(host_id, self.routes.own_entries(interface))
        return host_id

    def disown(self, host_id: int, interface: str) -> None:
        """Record that the proxy destroyed an object of its own; drop its events from now on."""
        self._own.discard(host_id)
        self.events.objects.put(host_id, self.routes.dropped(interface))

    def adopt(self, host_id: int, interface: str) -> None:
        """Take an object that the host creates in an event of an object of the proxy's own.

        :raises WireError: the id is invalid.
        """
        self._add_event_object(host_id, self.routes.own_entries(interface))

    def add(self, object_id: int, requests: Entries, events: Entries) -> int:
        """See :meth:`Relay.add`."""
        self._check_new(object_id)
        old = self._zombies.pop(object_id, 0)
        if old:
            # The client reuses the id: drop the previous object's events until the host's delete_id.
            interface = self.routes.interface_of(self.events.objects.get(old))
            self.events.objects.put(old, self.routes.dropped(interface))
            self.client_ids.pop(old, None)
            self._superseded[old] = object_id
        host_id = self.allocate()
        self.requests.objects.put(object_id, requests)
        self.events.objects.put(host_id, events)
        # An object without requests awaits the host's delete_id from the start, as a destroyed object does.
        (self._zombies if requests is UNUSED else self.host_ids)[object_id] = host_id
        self.client_ids[host_id] = object_id
        return host_id

    def _check_new(self, object_id: int) -> None:
        if object_id in self.requests.objects or not DISPLAY < object_id < CLIENT_ID_LIMIT:
            raise WireError(f"invalid new id {object_id}", INVALID_OBJECT)

    def add_virtual(self, object_id: int, interface: str) -> None:
        """Add a client object that the host does not have; hooks answer all its requests.

        :raises WireError: the id is invalid.
        """
        self._check_new(object_id)
        self.requests.objects.put(object_id, self.routes.entries(interface)[0])

    def remove_virtual(self, object_id: int) -> None:
        """The client destroyed an object that the host does not have: send delete_id to the client."""
        self.requests.objects.remove(object_id)
        self.to_client(delete_id_event(object_id), None)

    def add_from_host(self, object_id: int, requests: Entries, events: Entries) -> None:
        """See :meth:`Relay.add_from_host`. The client gets the host's id: the proxy allocates no server ids."""
        super().add_from_host(object_id, requests, events)
        self.host_ids[object_id] = self.client_ids[object_id] = object_id

    def destroyed(self, object_id: int) -> None:
        """See :meth:`Relay.destroyed`."""
        self.requests.objects.remove(object_id)
        host_id = self.host_ids.pop(object_id)
        if object_id < FIRST_SERVER_ID:
            self._zombies[object_id] = host_id

    def deleted(self, object_id: int) -> int:
        """See :meth:`Relay.deleted`."""
        theirs = self.events.objects.client_entries
        if not DISPLAY < object_id < len(theirs) or theirs[object_id] is UNUSED:
            return 0
        theirs[object_id] = UNUSED
        self._own.discard(object_id)
        self._free.append(object_id)
        if object_id in self._superseded:
            return self._superseded.pop(object_id)
        mine = self.client_ids.pop(object_id, 0)
        if mine and self._zombies.get(mine) == object_id:
            del self._zombies[mine]
        elif mine:
            self.host_ids.pop(mine, None)
            self.requests.objects.remove(mine)
        return mine

    @property
    def unconfirmed(self) -> int:
        """See :attr:`Relay.unconfirmed`. Destroyed objects of the proxy's own count, too."""
        # Live objects of the client that the host has: without virtual objects and those that the host created.
        shared = len(self.host_ids) - len(self.requests.objects.server_entries)
        return self.events.objects.client_count - len(self._own) - shared

    def client_id(self, host_id: int) -> int:
        """See :meth:`Relay.client_id`."""
        return self.client_ids.get(host_id, 0)

    def host_id(self, client_id: int) -> int:
        """See :meth:`Relay.host_id`."""
        return self.host_ids.get(client_id, 0)

    def close(self) -> None:
        """See :meth:`Relay.close`."""
        super().close()
        for table in (self.host_ids, self.client_ids, self._zombies, self._superseded):
            table.clear()
        self._own.clear()


def translating(relay: Relay) -> TranslatingRelay:
    """The relay of a feature with objects of the proxy's own.

    :raises TypeError: the relay does not translate ids.
    """
    if not isinstance(relay, TranslatingRelay):
        raise TypeError("a feature with objects of its own needs TranslatingRoutes")
    return relay


class TranslatingRoutes(Routes):
    """The tables for :class:`TranslatingRelay`."""

    def relay(self, to_client: Sink, to_host: Sink) -> Relay:
        """A new relay."""
        return TranslatingRelay(self, to_client, to_host)

    def own_entries(self, interface: str) -> Entries:
        """Entries for the events of the proxy's own objects."""
        handlers: Mapping[str, Hook] = self.hooks.own_handlers.get(interface, {})
        return self.variant(
            "own", interface, interface_layout(interface).events,
            lambda message: _own_entry(
                message,
                handlers.get(message.name),
                takes_descriptors=(interface, message.name) in self.hooks.descriptor_takers,
            ),
        )  # fmt: skip

    def _entry(self, layout: MessageLayout, hooks: Iterable[Hook], *, is_request: bool) -> Entry:
        translate = self._translation(layout, is_request=is_request)
        return hooked(layout, tuple(hooks), translate)

    def _translation(self, layout: MessageLayout, *, is_request: bool) -> Step:
        name, min_size, descriptors = layout.name, layout.min_size, layout.descriptors
        made = [(argument, *self._new_entries(argument.interface)) for argument in layout.new]
        objects = layout.objects
        destroys = layout.destructor and is_request

        def translate(flow: Flow, buffer: bytearray, object_id: int, at: int, stop: int) -> None:
            if stop - at < min_size:
                raise WireError(f"{name} of object {object_id} is too short")
            relay = flow.relay
            ids = flow.ids
            for preceding, offset, _ in objects:
                place = place_after(preceding, offset, buffer, at, stop) if preceding else at + offset
                named = UINT.unpack_from(buffer, place)[0]
                if named:
                    other = ids.get(named, 0)
                    if is_request and not other:
                        raise WireError(f"invalid object {named} in {name} of object {object_id}", INVALID_OBJECT)
                    UINT.pack_into(buffer, place, other)
            other = ids.get(object_id, 0)
            if not other:
                raise WireError(f"{name} for object {object_id}, which has no counterpart", IMPLEMENTATION)
            UINT.pack_into(buffer, at, other)
            for (preceding, offset, _), requests, events in made:
                place = place_after(preceding, offset, buffer, at, stop) if preceding else at + offset
                new = UINT.unpack_from(buffer, place)[0]
                if is_request:
                    UINT.pack_into(buffer, place, relay.add(new, requests, events))
                else:
                    relay.add_from_host(new, requests, events)
            if descriptors:
                flow.pass_descriptors(descriptors, object_id, name)
            if destroys:
                relay.destroyed(object_id)

        return translate


def _own_entry(layout: MessageLayout, handler: Hook | None, *, takes_descriptors: bool) -> Hook:
    def take(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        if stop - at < layout.min_size:
            raise WireError(f"{layout.name} of object {object_id} is too short", IMPLEMENTATION)
        if not takes_descriptors:
            flow.drop_descriptors(layout.descriptors, object_id, layout.name)
        elif len(flow.received) < layout.descriptors:
            raise WireError(f"{layout.name} of object {object_id} came without its file descriptor", IMPLEMENTATION)
        return (handler(flow, object_id, at, stop) or b"") if handler is not None else b""

    return take

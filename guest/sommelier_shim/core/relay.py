"""One client's connection through the proxy, without I/O: bytes and descriptors in, bytes and descriptors out.

The relay finds an entry for each message by object id and opcode. Most entries are ``None``: the relay forwards the
message untouched, in one send with its neighbours. Other entries track objects and descriptors, or change the
message (performance.md §4.1). :mod:`sommelier_shim.core.routes` builds the tables of entries.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Protocol, TypeAlias

from sommelier_shim.core.layouts import MessageLayout
from sommelier_shim.core.objects import UNUSED, Entries, Entry, ObjectTable
from sommelier_shim.core.wire import (
    DESCRIPTORS_PER_SEND,
    DISPLAY,
    FIRST_SERVER_ID,
    HEADER_SIZE,
    IMPLEMENTATION,
    INVALID_METHOD,
    INVALID_OBJECT,
    NO_MEMORY,
    UINT,
    Buffer,
    WireError,
)

OBJECT_LIMIT = 65536
"""Maximum number of a client's objects; the largest programs have a few thousand (chromeos-sommelier.md §8.3)."""
UNCONFIRMED_LIMIT = 65536
"""Maximum of :attr:`Relay.unconfirmed`. Above it the session stops reading the client until the host catches up."""
COUNT_SLACK = 4096
"""How far the number of objects or :attr:`Relay.unconfirmed` can exceed its limit before :meth:`Relay.count`
notices."""
CLIENT_ID_LIMIT = OBJECT_LIMIT + UNCONFIRMED_LIMIT + 2 * COUNT_SLACK
"""Client ids must be below this. libwayland allocates ids without gaps, so no libwayland client reaches it."""
_SUCCESSOR_LIMIT = 4096
"""Maximum of :attr:`Relay.successors` of one id, so that they cannot fill memory. libwayland's clients have none:
they reuse an id only after delete_id."""
DESCRIPTOR_LIMIT = 512
"""Maximum of received descriptors that no message has used yet: twice what one read can receive."""
_DESCRIPTORS_OF_A_MESSAGE = 4
"""Maximum of descriptors in one message. :meth:`Flow.feed` sends what it has before the next message could exceed
``DESCRIPTORS_PER_SEND``."""

_IS_VALID_SIZE = [True, False, False, False] * 1024
"""Whether a size in a message header is valid, by size. A table: comparisons take three times as long. Few messages
are longer than libwayland's old limit of 4096 bytes."""
_IS_VALID_SIZE[:HEADER_SIZE] = [False] * HEADER_SIZE
_MIN_CREATE_SIZE = 12
"""Minimum size in bytes of a message that creates an object."""
_DELETE_ID_SIZE = 12
"""Bytes of wl_display.delete_id."""
_START = Struct("IHHI")


def _start_of_big_endian(buffer: Buffer, at: int) -> tuple[int, ...]:
    object_id, size, opcode, argument = _START.unpack_from(buffer, at)
    return object_id, opcode, size, argument


_unpack_start: Callable[[bytearray, int], tuple[int, ...]]
_unpack_start = _START.unpack_from if sys.byteorder == "little" else _start_of_big_endian
"""Object id, opcode, size and first argument of a message. A message without arguments yields the 4 bytes after
it as its first argument."""

Hook: TypeAlias = Callable[["Flow", int, int, int], "Buffer | None"]
"""``hook(flow, object_id, at, stop)``; :mod:`sommelier_shim.core.hooks` is the contract."""


class Routing(Protocol):
    """What a relay uses of its routes, see :class:`~sommelier_shim.core.routes.Routes`."""

    def entries(self, interface: str) -> tuple[Entries, Entries]:
        """The entries of an interface, for requests and for events."""

    def dropped(self, interface: str) -> Entries:
        """Entries that drop every event of an interface."""

    def own_entries(self, interface: str) -> Entries:
        """Entries for the events of the proxy's own objects."""

    def inert(self, interface: str, make: Callable[[MessageLayout], Hook]) -> Entries:
        """Entries for the requests of inert objects."""

    def interface_of(self, entries: Entries) -> str:
        """The interface that a list of entries belongs to."""

    def start(self, relay: Relay) -> None:
        """Call the hooks for a new relay."""

    def outputs_moved(self, relay: Relay) -> None:
        """Call the hooks for other positions of outputs."""

    def add_checks(self, relay: Relay) -> None:
        """Switch a relay to routes with the hooks of the phase ``CHECK``."""


def destructor(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """The entry of a plain destructor: the request destroys its object and does nothing else."""
    flow.relay.destroyed(object_id)


def delete_id(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """The entry of wl_display.delete_id: record it, and send the client its own id of the object.

    :raises WireError: the message is too short.
    """
    if stop - at < _DELETE_ID_SIZE:
        raise WireError("delete_id is too short", IMPLEMENTATION)
    mine = flow.relay.deleted(UINT.unpack_from(flow.buffer, at + 8)[0])
    UINT.pack_into(flow.buffer, at + 8, mine)
    return None if mine else b""


class CreateEntry:
    """The entry of a request that creates one object, with the new id as first argument, and does nothing else.

    :param min_size: minimum size of the message in bytes.
    :param requests: entries for the new object's requests, :param events: entries for its events.
    """

    __slots__ = ("events", "min_size", "requests")

    def __init__(self, min_size: int, requests: Entries, events: Entries) -> None:
        self.min_size = min_size
        self.requests = requests
        self.events = events

    def __call__(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        """A :data:`Hook`.

        :raises WireError: the message is too short, or the new id is invalid.
        """
        if stop - at < self.min_size:
            raise WireError(f"a message to object {object_id} is too short")
        flow.relay.add(UINT.unpack_from(flow.buffer, at + HEADER_SIZE)[0], self.requests, self.events)


def _wrong_size(object_id: int, size: int) -> WireError:
    return WireError(f"a message to object {object_id} has the size {size}")


class Sink(Protocol):
    """Takes a flow's output. The sink owns the descriptors and closes them."""

    def __call__(self, data: Buffer, descriptors: list[int] | None, /) -> None: ...


class Flow:
    """One direction of a relay.

    :param relay: the relay that this flow belongs to.
    :param is_requests: whether this is the direction from the client to the host.
    :ivar objects: entries of the objects to which the sender can send messages, by the sender's ids;
        :ivar others: the same table of the other direction.
    :ivar received: descriptors that no message has used yet.
    :ivar ids: the receiver's ids by the sender's, if they differ (:mod:`sommelier_shim.core.translation`).
    :ivar prefix: bytes that a hook prepends to its message; :ivar suffix: bytes that a hook appends;
        :ivar deferred_suffix: returns more bytes to append; called after the message has created its objects, so
        that it can use their ids.
    """

    __slots__ = ("_outgoing", "buffer", "deferred_suffix", "ids", "is_requests", "objects", "others", "prefix",
                 "received", "relay", "sink", "suffix")  # fmt: skip

    def __init__(self, relay: Relay, sink: Sink, *, is_requests: bool) -> None:
        self.relay = relay
        self.sink = sink
        self.is_requests = is_requests
        self.objects = self.others = ObjectTable()
        self.received: deque[int] = deque()
        self.ids: dict[int, int] = {}
        self.prefix = bytearray()
        self.suffix = bytearray()
        self.deferred_suffix: Callable[[], bytes] | None = None
        self.buffer: bytearray = bytearray()
        self._outgoing: list[int] = []

    def feed(self, buffer: bytearray, view: memoryview, end: int) -> int:
        """Forward the complete messages in ``buffer[:end]``. Hooks may change them in place.

        :param buffer: at least 4 bytes longer than ``end``.
        :param view: a view of the buffer.
        :returns: the number of bytes used; the rest is the beginning of an incomplete message.
        :raises WireError: the sender broke the protocol. The messages before the faulty one have been sent.
        """
        self.buffer = buffer
        relay = self.relay
        objects = self.objects.client_entries
        others = self.others.client_entries
        successors = relay.successors
        fast_limit = 0 if successors else len(objects)  # ids below it can take the fast path
        unpack = _unpack_start
        is_valid_size = _IS_VALID_SIZE
        last = end - 8
        start = at = 0
        try:
            while at <= last:
                object_id, opcode, size, argument = unpack(buffer, at)
                stop = at + size
                if stop > end:
                    if size & 3 or size < HEADER_SIZE:
                        raise _wrong_size(object_id, size)
                    break
                try:
                    entry = objects[object_id][opcode]
                    if entry is None and is_valid_size[size]:
                        at = stop
                        continue
                except IndexError:  # the size or the id is above the tables, or the message is invalid
                    entry = self._find(object_id, opcode)
                # Fast path. Bulk traffic is untouched messages plus plain destructors, delete_id and requests with
                # one new id. They are inlined because one Python call doubles the cost per message. Only a relay
                # in which both sides use the same ids has these three entries, and there both tables have the same
                # length. Anything irregular falls through to the entry's own call.
                if entry is destructor and size == HEADER_SIZE and object_id < fast_limit:
                    objects[object_id] = UNUSED
                    at = stop
                    continue
                if entry is delete_id and size == _DELETE_ID_SIZE and argument < fast_limit and argument > DISPLAY:
                    objects[argument] = others[argument] = UNUSED
                    at = stop
                    continue
                if (
                    type(entry) is CreateEntry
                    and size == entry.min_size
                    and argument < fast_limit
                    and others[argument] is UNUSED
                ):
                    objects[argument] = entry.requests
                    others[argument] = entry.events
                    at = stop
                    continue
                if size & 3 or size < HEADER_SIZE:
                    raise _wrong_size(object_id, size)
                replacement = entry(self, object_id, at, stop) if entry is not None else None
                if replacement is not None:
                    if at > start:
                        self._send(view[start:at])
                    if replacement:
                        self._send(replacement)
                    start = stop
                elif len(self._outgoing) > DESCRIPTORS_PER_SEND - _DESCRIPTORS_OF_A_MESSAGE:
                    self._send(view[start:stop])
                    start = stop
                at = stop
                fast_limit = 0 if successors else len(objects)
        finally:
            if at > start:
                if self._outgoing:
                    self._send(view[start:at])
                else:
                    sink = self.sink
                    sink(view[start:at], None)
        if self.received and len(self.received) > DESCRIPTOR_LIMIT:
            raise WireError("too many descriptors that no message uses")
        relay.bytes_until_count -= at
        if relay.bytes_until_count < 0:
            relay.count()
            if self.is_requests and relay.is_full:
                raise WireError(f"more than {OBJECT_LIMIT} objects", NO_MEMORY)
        return at

    def pass_descriptors(self, count: int, object_id: int, name: str) -> None:
        """Forward the descriptors of a message with it.

        :raises WireError: the sender has not sent them.
        """
        if len(self.received) < count:
            raise WireError(f"{name} of object {object_id} came without its file descriptor")
        for _ in range(count):
            self._outgoing.append(self.received.popleft())

    def drop_descriptors(self, count: int, object_id: int, name: str) -> None:
        """Close the descriptors of a dropped message.

        :raises WireError: the sender has not sent them.
        """
        if len(self.received) < count:
            raise WireError(f"{name} of object {object_id} came without its file descriptor")
        for _ in range(count):
            os.close(self.received.popleft())

    def close(self) -> None:
        """Close the remaining descriptors, and clear the object table and the buffer to free their memory."""
        for descriptor in (*self.received, *self._outgoing):
            os.close(descriptor)
        self.received.clear()
        self._outgoing.clear()
        self.objects.clear()
        self.buffer = bytearray()

    def _send(self, data: Buffer) -> None:
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
            self.sink(data, outgoing)
        else:
            self.sink(data, None)

    def _find(self, object_id: int, opcode: int) -> Entry:
        """The entry of a message that the fast lookup in :meth:`feed` did not find.

        :raises WireError: the object or the opcode does not exist.
        """
        entries = self.objects.get(object_id)
        if opcode < len(entries):
            return entries[opcode]
        if object_id in self.objects:
            name = self.relay.routes.interface_of(entries)
            kind = "method" if self.is_requests else "event"
            raise WireError(f"invalid {kind} {opcode}, object {name}#{object_id}", INVALID_METHOD)
        if self.is_requests:
            raise WireError(f"invalid object {object_id}", INVALID_OBJECT)
        # libwayland drops events for unknown objects, and so does the proxy.
        return _drop


def _drop(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    return b""


class Relay:
    """The state of one client's connection, where client and host use the same object ids.

    :param routes: the tables of entries.
    :param to_client: sends to the client, :param to_host: sends to the host.
    :ivar globals: the globals that the proxy has announced to the client: interface and version by name.
    :ivar features: the state of features, by :class:`~sommelier_shim.core.hooks.FeatureKey`.
    :ivar successors: by the id of a zombie (an object that the client has destroyed and for which the host has not
        yet sent delete_id), the event entries of the objects for which the client has reused the id.
    :ivar last_error: the text of the ``wl_display.error`` that the host sent, or "".
    :ivar bytes_until_count: bytes until the next :meth:`count`.
    :ivar is_full: whether the client had more than ``OBJECT_LIMIT`` objects at the last count.
    :ivar is_ahead: whether :attr:`unconfirmed` is too high, so that reading on would fill memory. A flood of
        short-lived objects sets this instead of failing, because it breaks no rule of the protocol.
    """

    __slots__ = ("__weakref__", "bytes_until_count", "events", "features", "globals", "is_ahead", "is_full",
                 "last_error", "requests", "routes", "successors", "to_client", "to_host")  # fmt: skip

    def __init__(self, routes: Routing, to_client: Sink, to_host: Sink) -> None:
        self.routes = routes
        self.to_client = to_client
        self.to_host = to_host
        self.requests = Flow(self, to_host, is_requests=True)
        self.events = Flow(self, to_client, is_requests=False)
        self.requests.others, self.events.others = self.events.objects, self.requests.objects
        self.globals: dict[int, tuple[str, int]] = {}
        self.features: dict[object, Any] = {}
        self.successors: dict[int, deque[Entries]] = {}
        self.last_error = ""
        self.bytes_until_count = OBJECT_LIMIT * _MIN_CREATE_SIZE
        self.is_full = self.is_ahead = False
        requests, events = routes.entries("wl_display")
        self.requests.objects.put(DISPLAY, requests)
        self.events.objects.put(DISPLAY, events)
        routes.start(self)

    def add(self, object_id: int, requests: Entries, events: Entries) -> int:
        """Add an object that the client creates.

        :returns: the host's id of the object.
        :raises WireError: the client's id is invalid.
        """
        mine, theirs = self.requests.objects, self.events.objects
        if object_id in mine or not DISPLAY < object_id < CLIENT_ID_LIMIT:
            raise WireError(f"invalid new id {object_id}", INVALID_OBJECT)
        mine.put(object_id, requests)
        if object_id in theirs:
            # The client reuses the id before the host's delete_id: events of the previous object may still arrive.
            successors = self.successors.setdefault(object_id, deque())
            if len(successors) >= _SUCCESSOR_LIMIT:
                raise WireError(f"object {object_id} was made too often without an answer", NO_MEMORY)
            successors.append(events)
        else:
            theirs.put(object_id, events)
        return object_id

    def add_from_host(self, object_id: int, requests: Entries, events: Entries) -> None:
        """Add an object that the host creates in an event. The host may reuse an id.

        :raises WireError: the id is invalid.
        """
        self._add_event_object(object_id, events)
        self.requests.objects.put(object_id, requests)

    def hide_from_client(self, object_id: int, interface: str) -> None:
        """Add an object that the host creates in an event which the client does not receive; drop all its events.

        :raises WireError: the id is invalid.
        """
        self._add_event_object(object_id, self.routes.dropped(interface))

    def _add_event_object(self, object_id: int, events: Entries) -> None:
        if object_id < FIRST_SERVER_ID:
            raise WireError(f"the host made an object with the id {object_id}", IMPLEMENTATION)
        known = self.events.objects.server_entries
        if object_id not in known and len(known) >= OBJECT_LIMIT:
            raise WireError("the host made too many objects", IMPLEMENTATION)
        self.events.objects.put(object_id, events)

    def destroyed(self, object_id: int) -> None:
        """Record that the client destroyed an object; the host may send events for it until its delete_id."""
        self.requests.objects.remove(object_id)

    def deleted(self, object_id: int) -> int:
        """Record a delete_id of the host.

        :returns: the client's id of the object, 0 when the client gets no delete_id.
        """
        if not DISPLAY < object_id < FIRST_SERVER_ID:
            return 0
        theirs = self.events.objects
        successors = self.successors.get(object_id)
        if successors:
            theirs.put(object_id, successors.popleft())
            if not successors:
                del self.successors[object_id]
        else:
            theirs.remove(object_id)
            self.requests.objects.remove(object_id)
        return object_id

    @property
    def unconfirmed(self) -> int:
        """The number of pending callbacks, and of destroyed objects for which the host has not sent delete_id.

        Objects that the host created do not count: the host sends no delete_id for them.
        """
        return self.events.objects.client_count - self.requests.objects.client_count

    def count(self) -> None:
        """Count the objects, and set the number of bytes until the next count.

        Counting is O(table), so it cannot follow every message; updating a counter in every message costs more
        than the rest of the relay. A message that creates an object has at least 12 bytes, so the next count is
        due when enough bytes for the remaining objects have passed.
        """
        live, unconfirmed = len(self.requests.objects), self.unconfirmed
        enough = UNCONFIRMED_LIMIT // 2
        self.is_full = live > OBJECT_LIMIT
        self.is_ahead = unconfirmed > (enough if self.is_ahead else UNCONFIRMED_LIMIT)
        if self.is_ahead:
            objects = unconfirmed - enough
        else:
            objects = max(COUNT_SLACK, min(OBJECT_LIMIT - live, UNCONFIRMED_LIMIT - unconfirmed))
        self.bytes_until_count = objects * _MIN_CREATE_SIZE

    def client_id(self, host_id: int) -> int:
        """The client's id of a host object; 0 if the client does not know the object."""
        return host_id

    def host_id(self, client_id: int) -> int:
        """The host's id of a client object; 0 if the host does not know the object."""
        return client_id

    def interface(self, client_id: int) -> str:
        """The interface of a client object, or "" if there is no such object."""
        objects = self.requests.objects
        return self.routes.interface_of(objects.get(client_id)) if client_id in objects else ""

    def close(self) -> None:
        """Close the received descriptors and clear all state."""
        self.requests.close()
        self.events.close()
        self.features.clear()
        self.globals.clear()
        self.successors.clear()

    def break_cycles(self) -> None:
        """Break the reference cycles; the relay is unusable afterwards."""
        del self.requests.relay, self.events.relay, self.to_client, self.to_host

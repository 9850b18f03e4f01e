"""One client's conversation with the host, without I/O: bytes and descriptors in, bytes and descriptors out.

A message is looked up by its object and opcode. Most entries are ``None``: the message belongs to the run that is
forwarded in one piece, untouched. The others keep track of objects and descriptors, or change the message
(performance.md §4.1). What the tables hold is decided by :mod:`sommelier_shim.routes`.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sommelier_shim.objects import NOTHING, Entries, Entry, ObjectTable
from sommelier_shim.wire import (
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

if TYPE_CHECKING:
    from sommelier_shim.routes import Routes

OBJECT_LIMIT = 65536
"""Objects of one client; the largest programs have a few thousand (chromeos-sommelier.md §8.3)."""
UNCONFIRMED_LIMIT = 65536
"""What a client may be ahead of the host, see :attr:`Relay.is_ahead`; then it is not read for a while."""
COUNTED_AGAIN = 4096
"""Objects that can come beyond either limit before it is noticed, see :meth:`Relay.count`."""
CLIENT_ID_LIMIT = OBJECT_LIMIT + UNCONFIRMED_LIMIT + 2 * COUNTED_AGAIN
"""Numbers that a client can give: libwayland leaves no gaps, so that it never gets there."""
DESCRIPTOR_LIMIT = 512
"""Descriptors that may wait for their message: twice what one read can bring."""
_DESCRIPTORS_OF_A_MESSAGE = 4
"""A run is cut before the next message could exceed what one send may carry; no message has more."""

_IS_POSSIBLE = [True, False, False, False] * 0x4000
"""By the size in a header, whether a message can have it. Comparisons take three times as long."""
_IS_POSSIBLE[:HEADER_SIZE] = [False] * HEADER_SIZE
_MAKING_SIZE = 12
"""Bytes of wl_display.delete_id; a message that makes an object has no fewer."""
_START = Struct("IHHI")


def _start_of_big_endian(buffer: Buffer, at: int) -> tuple[int, ...]:
    object_id, size, opcode, argument = _START.unpack_from(buffer, at)
    return object_id, opcode, size, argument


_unpack_start: Callable[[bytearray, int], tuple[int, ...]]
_unpack_start = _START.unpack_from if sys.byteorder == "little" else _start_of_big_endian
"""Object, opcode, size and first argument of a message; one that has no argument is followed by anything."""

Hook: TypeAlias = Callable[["Flow", int, int, int], "Buffer | None"]
"""``hook(flow, object_id, at, stop)``: the message is ``flow.buffer[at:stop]``. Returns None to leave it (it may
have been changed in place), other bytes to send instead, or ``b""`` to drop it."""


def destroys(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """The entry of a request that destroys its object and does nothing else."""
    flow.relay.destroyed(object_id)


def deletes(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """The entry of wl_display.delete_id.

    :raises WireError: the message is too short.
    """
    if stop - at < _MAKING_SIZE:
        raise WireError("delete_id is too short", IMPLEMENTATION)
    mine = flow.relay.deleted(UINT.unpack_from(flow.buffer, at + 8)[0])
    UINT.pack_into(flow.buffer, at + 8, mine)
    return None if mine else b""


class Makes:
    """The entry of a request that makes an object, whose number is its first argument, and does nothing else.

    :param least: bytes of the message, at the least.
    :param requests: the object's entries, :param events: those of the other direction.
    """

    __slots__ = ("events", "least", "requests")

    def __init__(self, least: int, requests: Entries, events: Entries) -> None:
        self.least = least
        self.requests = requests
        self.events = events

    def __call__(self, flow: Flow, object_id: int, at: int, stop: int) -> None:
        """A :data:`Hook`.

        :raises WireError: the message is too short, or the object may not have this number.
        """
        if stop - at < self.least:
            raise WireError(f"a message to object {object_id} is too short")
        flow.relay.add(UINT.unpack_from(flow.buffer, at + HEADER_SIZE)[0], self.requests, self.events)


def _wrong_size(object_id: int, size: int) -> WireError:
    return WireError(f"a message to object {object_id} has the size {size}")


class Sink(Protocol):
    """Where a flow's output goes. It owns the descriptors from then on."""

    def __call__(self, data: Buffer, descriptors: list[int] | None, /) -> None: ...


class Flow:
    """One direction.

    :param relay: the conversation that it belongs to.
    :param is_requests: from the client to the host.
    :ivar objects: what the sender can name, in its numbering; :ivar others: the other direction's.
    :ivar received: descriptors that no message has used yet.
    :ivar before: what a hook wants to be sent in front of its message; :ivar after: and behind it;
        :ivar later: makes what goes behind it when it needs the number of an object that the message makes.
    """

    __slots__ = (
        "_leaving",
        "after",
        "before",
        "buffer",
        "is_requests",
        "later",
        "objects",
        "others",
        "received",
        "relay",
        "sink",
    )

    def __init__(self, relay: Relay, sink: Sink, *, is_requests: bool) -> None:
        self.relay = relay
        self.sink = sink
        self.is_requests = is_requests
        self.objects = self.others = ObjectTable()
        self.received: deque[int] = deque()
        self.before = bytearray()
        self.after = bytearray()
        self.later: Callable[[], bytes] | None = None
        self.buffer: bytearray = bytearray()
        self._leaving: list[int] = []

    def feed(self, buffer: bytearray, view: memoryview, end: int) -> int:
        """Relay the whole messages in ``buffer[:end]``; they may be changed in place.

        :param buffer: longer than ``end`` by another word at least.
        :param view: of the buffer.
        :returns: how many bytes were used; the rest is the beginning of a message.
        :raises WireError: the sender broke the protocol; what came before has been sent on.
        """
        self.buffer = buffer
        relay = self.relay
        objects = self.objects.near
        others = self.others.near
        waiting = relay.waiting
        reach = 0 if waiting else len(objects)
        unpack = _unpack_start
        is_possible = _IS_POSSIBLE
        last = end - 8
        start = at = 0
        try:
            while at <= last:
                object_id, opcode, size, argument = unpack(buffer, at)
                stop = at + size
                if stop > end:
                    if not is_possible[size]:
                        raise _wrong_size(object_id, size)
                    break
                try:
                    entry = objects[object_id][opcode]
                except IndexError:
                    entry = self._find(object_id, opcode)
                # Floods are made of untouched messages and three kinds more, which are worth their lines: a call
                # costs as much as the rest. Only relays in which both sides number alike have the three, and both
                # of their lists are as long. Whatever is unusual about one takes the way of all others.
                if entry is None and is_possible[size]:
                    at = stop
                    continue
                if entry is destroys and size == HEADER_SIZE and object_id < reach:
                    objects[object_id] = NOTHING
                    at = stop
                    continue
                if entry is deletes and size == _MAKING_SIZE and argument < reach and argument > DISPLAY:
                    objects[argument] = others[argument] = NOTHING
                    at = stop
                    continue
                if (
                    type(entry) is Makes
                    and size == entry.least
                    and argument < reach
                    and others[argument] is NOTHING
                ):
                    objects[argument] = entry.requests
                    others[argument] = entry.events
                    at = stop
                    continue
                if not is_possible[size]:
                    raise _wrong_size(object_id, size)
                replacement = entry(self, object_id, at, stop)
                if replacement is not None:
                    if at > start:
                        self._send(view[start:at])
                    if replacement:
                        self._send(replacement)
                    start = stop
                elif len(self._leaving) > DESCRIPTORS_PER_SEND - _DESCRIPTORS_OF_A_MESSAGE:
                    self._send(view[start:stop])
                    start = stop
                at = stop
                reach = 0 if waiting else len(objects)
        finally:
            if at > start:
                if self._leaving:
                    self._send(view[start:at])
                else:
                    sink = self.sink
                    sink(view[start:at], None)
        if self.received and len(self.received) > DESCRIPTOR_LIMIT:
            raise WireError("too many descriptors that no message uses")
        relay.room -= at
        if relay.room < 0:
            relay.count()
            if self.is_requests and relay.is_full:
                raise WireError(f"more than {OBJECT_LIMIT} objects", NO_MEMORY)
        return at

    def pass_descriptors(self, count: int, object_id: int, name: str) -> None:
        """Let the descriptors of a message go with it.

        :raises WireError: they are not there.
        """
        if len(self.received) < count:
            raise WireError(f"{name} of object {object_id} came without its file descriptor")
        for _ in range(count):
            self._leaving.append(self.received.popleft())

    def drop_descriptors(self, count: int, object_id: int, name: str) -> None:
        """Close the descriptors of a message that is not sent on.

        :raises WireError: they are not there.
        """
        if len(self.received) < count:
            raise WireError(f"{name} of object {object_id} came without its file descriptor")
        for _ in range(count):
            os.close(self.received.popleft())

    def close(self) -> None:
        """Close what descriptors are left and let go of everything, so that no cycle keeps memory."""
        for descriptor in (*self.received, *self._leaving):
            os.close(descriptor)
        self.received.clear()
        self._leaving.clear()
        self.objects.clear()
        self.buffer = bytearray()

    def _send(self, data: Buffer) -> None:
        leaving = self._leaving
        if leaving:
            self._leaving = []
            self.sink(data, leaving)
        else:
            self.sink(data, None)

    def _find(self, object_id: int, opcode: int) -> Entry:
        """The entry of a message of an object that the host made.

        :raises WireError: there is no such object or message.
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
        # libwayland passes over events for objects that it does not know, and so do we.
        return _drop


def _drop(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    return b""


class Relay:
    """The state of one conversation in which both sides number objects alike.

    :param routes: what happens to which message.
    :param to_client: takes what the client shall receive, :param to_host: what the host shall receive.
    :ivar globals: what the host announced and we passed on: interface and version by name.
    :ivar features: state of the parts that change messages, by whatever key they choose.
    :ivar last_error: the text of the ``wl_display.error`` that the host sent, or "".
    :ivar room: bytes after which objects are counted again, see :meth:`count`.
    :ivar is_full: whether there were too many objects.
    :ivar is_ahead: whether the client is too far ahead of the host: reading on would fill memory with what is not
        confirmed. A flood of short-lived objects comes here, not to an error: nothing is wrong with it.
    """

    __slots__ = ("__weakref__", "events", "features", "globals", "is_ahead", "is_full", "last_error", "requests",
                 "room", "routes", "to_client", "to_host", "waiting")  # fmt: skip

    def __init__(self, routes: Routes, to_client: Sink, to_host: Sink) -> None:
        self.routes = routes
        self.to_client = to_client
        self.to_host = to_host
        self.requests = Flow(self, to_host, is_requests=True)
        self.events = Flow(self, to_client, is_requests=False)
        self.requests.others, self.events.others = self.events.objects, self.requests.objects
        self.globals: dict[int, tuple[str, int]] = {}
        self.features: dict[Any, Any] = {}
        self.waiting: dict[int, deque[Entries]] = {}
        self.last_error = ""
        self.room = OBJECT_LIMIT * _MAKING_SIZE
        self.is_full = self.is_ahead = False
        requests, events = routes.entries("wl_display")
        self.requests.objects.put(DISPLAY, requests)
        self.events.objects.put(DISPLAY, events)
        routes.start(self)

    def add(self, object_id: int, requests: Entries, events: Entries) -> int:
        """An object that the client makes.

        :returns: the host's number for it.
        :raises WireError: it may not have this id.
        """
        mine, theirs = self.requests.objects, self.events.objects
        if object_id in mine or not DISPLAY < object_id < CLIENT_ID_LIMIT:
            raise WireError(f"invalid new id {object_id}", INVALID_OBJECT)
        mine.put(object_id, requests)
        if object_id in theirs:
            # Used again before the host confirmed the end of its predecessor, whose events may still come.
            waiting = self.waiting.setdefault(object_id, deque())
            if len(waiting) >= OBJECT_LIMIT // 16:
                raise WireError(f"object {object_id} was made too often without an answer", NO_MEMORY)
            waiting.append(events)
        else:
            theirs.put(object_id, events)
        return object_id

    def add_from_host(self, object_id: int, requests: Entries, events: Entries) -> None:
        """An object that the host makes in an event. Its id may have been used before.

        :raises WireError: it may not have this id.
        """
        self._add_event_object(object_id, events)
        self.requests.objects.put(object_id, requests)

    def hide_from_client(self, object_id: int, interface: str) -> None:
        """Take an object that the host just made for ourselves: the client does not hear of it.

        :raises WireError: it may not have this id.
        """
        self._add_event_object(object_id, self.routes.silent(interface))

    def _add_event_object(self, object_id: int, events: Entries) -> None:
        if object_id < FIRST_SERVER_ID:
            raise WireError(f"the host made an object with the id {object_id}", IMPLEMENTATION)
        if len(self.events.objects.far) >= OBJECT_LIMIT:
            raise WireError("the host made too many objects", IMPLEMENTATION)
        self.events.objects.put(object_id, events)

    def destroyed(self, object_id: int) -> None:
        """The client destroyed an object; events for it may come until the host confirms."""
        self.requests.objects.remove(object_id)

    def deleted(self, object_id: int) -> int:
        """The host confirmed the end of an object.

        :returns: the client's number for it, 0 when the client need not know.
        """
        if not DISPLAY < object_id < FIRST_SERVER_ID:
            return 0
        theirs = self.events.objects
        waiting = self.waiting.get(object_id)
        if waiting:
            theirs.put(object_id, waiting.popleft())
            if not waiting:
                del self.waiting[object_id]
        else:
            theirs.remove(object_id)
            self.requests.objects.remove(object_id)
        return object_id

    @property
    def unconfirmed(self) -> int:
        """Callbacks under way, and destroyed objects whose end the host has not confirmed."""
        return len(self.events.objects) - len(self.requests.objects)

    def count(self) -> None:
        """See how many objects there are, and when to look again.

        Counting takes too long to do it after every message, and telling objects as they come and go takes longer
        than all the rest. But who makes or ends one says some bytes, so that so many can be said first.
        """
        live, unconfirmed = len(self.requests.objects), self.unconfirmed
        enough = UNCONFIRMED_LIMIT // 2
        self.is_full = live > OBJECT_LIMIT
        self.is_ahead = unconfirmed > (enough if self.is_ahead else UNCONFIRMED_LIMIT)
        if self.is_ahead:
            objects = unconfirmed - enough
        else:
            objects = max(COUNTED_AGAIN, min(OBJECT_LIMIT - live, UNCONFIRMED_LIMIT - unconfirmed))
        self.room = objects * _MAKING_SIZE

    def client_id(self, host_id: int) -> int:
        """The client's number for an object of the host's; 0 when it has none."""
        return host_id

    def host_id(self, client_id: int) -> int:
        """The host's number for an object of the client's; 0 when it has none."""
        return client_id

    def interface(self, client_id: int) -> str:
        """The interface of an object that the client has, or ""."""
        objects = self.requests.objects
        return self.routes.interface_of(objects.get(client_id)) if client_id in objects else ""

    def close(self) -> None:
        """Let go of everything."""
        self.requests.close()
        self.events.close()
        self.features.clear()
        self.globals.clear()
        self.waiting.clear()

    def dissolve(self) -> None:
        """Break the circles of references; nothing may be called afterwards."""
        del self.requests.relay, self.events.relay, self.to_client, self.to_host

"""One client's conversation with the host, without I/O: bytes and descriptors in, bytes and descriptors out.

A message is looked up by its object and opcode. Most entries are ``None``: the message belongs to the run that is
forwarded in one piece, untouched. The others keep track of objects and descriptors, or change the message
(wayland-performance.md §4.1). What the tables hold is decided by :mod:`sommelier_shim.routes`.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

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
"""Objects of one client; the largest programs have a few thousand (sommelier.md §8.3)."""
UNCONFIRMED_LIMIT = 65536
"""What a client may be ahead of the host, see :attr:`Relay.is_ahead`; then it is not read for a while."""
DESCRIPTOR_LIMIT = 512
"""Descriptors that may wait for their message: twice what one read can bring."""
_DESCRIPTORS_OF_A_MESSAGE = 4
"""A run is cut before the next message could exceed what one send may carry; no message has more."""

_DELETE_ID_SIZE = 12
_PLAIN_IDS = 1 << 28
"""Ids below this are compared fastest; others take the long way."""
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
Entry: TypeAlias = Any
"""None, the tuple of a message that only makes an object, or a :data:`Hook`."""
Entries: TypeAlias = list[Entry]


def destroys(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """The entry of a request that destroys its object and does nothing else."""
    flow.relay.destroyed(object_id)


def deletes(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """The entry of wl_display.delete_id.

    :raises WireError: the message is too short.
    """
    if stop - at < _DELETE_ID_SIZE:
        raise WireError("delete_id is too short", IMPLEMENTATION)
    mine = flow.relay.deleted(UINT.unpack_from(flow.buffer, at + 8)[0])
    UINT.pack_into(flow.buffer, at + 8, mine)
    return None if mine else b""


class Sink(Protocol):
    """Where a flow's output goes. It owns the descriptors from then on."""

    def __call__(self, data: Buffer, descriptors: list[int] | None, /) -> None: ...


class Flow:
    """One direction.

    :param relay: the conversation that it belongs to.
    :param is_requests: from the client to the host.
    :ivar objects: the entries by object id, in the sender's numbering; :ivar others: the other direction's.
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
        self.objects: dict[int, Entries] = {}
        self.others: dict[int, Entries] = {}
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
        objects = self.objects
        relay = self.relay
        others = self.others
        waiting = relay.waiting
        unpack = _unpack_start
        last = end - 8
        start = at = 0
        try:
            while at <= last:
                object_id, opcode, size, argument = unpack(buffer, at)
                stop = at + size
                if stop > end or size & 3 or size < HEADER_SIZE:
                    if size & 3 or size < HEADER_SIZE:
                        raise WireError(f"a message to object {object_id} has the size {size}")
                    break
                try:
                    entry = objects[object_id][opcode]
                except (KeyError, IndexError):
                    entry = self._unknown(object_id, opcode)
                if entry is None:
                    at = stop
                    continue
                # The three kinds that floods are made of are worth their lines: a call costs as much as the rest.
                if entry is deletes:
                    known = argument in objects and DISPLAY < argument < _PLAIN_IDS
                    if known and size == _DELETE_ID_SIZE and not waiting:
                        del objects[argument]
                        if argument in others:
                            del others[argument]
                        at = stop
                        continue
                elif entry is destroys:
                    del objects[object_id]
                    at = stop
                    continue
                elif type(entry) is tuple:
                    least, requests, events = entry
                    if size < least:
                        raise WireError(f"a message to object {object_id} is too short")
                    if DISPLAY < argument < _PLAIN_IDS and argument not in others:
                        if requests:  # nobody can say anything to a wl_callback
                            objects[argument] = requests
                        others[argument] = events
                    else:
                        relay.add(argument, requests, events)
                    at = stop
                    continue
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
        finally:
            if at > start:
                if self._leaving:
                    self._send(view[start:at])
                else:
                    self.sink(view[start:at], None)
        if self.received and len(self.received) > DESCRIPTOR_LIMIT:
            raise WireError("too many descriptors that no message uses")
        if self.is_requests and len(objects) > OBJECT_LIMIT:
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

    def _unknown(self, object_id: int, opcode: int) -> Entry:
        if object_id in self.objects:
            name = self.relay.routes.interface_of(self.objects[object_id])
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
    """

    __slots__ = ("__weakref__", "events", "features", "globals", "last_error", "requests", "routes", "to_client",
                 "to_host", "waiting")  # fmt: skip

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
        requests, events = routes.entries("wl_display")
        self.requests.objects[DISPLAY] = requests
        self.events.objects[DISPLAY] = events
        routes.start(self)

    def add(self, object_id: int, requests: Entries, events: Entries) -> int:
        """An object that the client makes.

        :returns: the host's number for it.
        :raises WireError: it may not have this id.
        """
        mine = self.requests.objects
        if object_id in mine or not DISPLAY < object_id < FIRST_SERVER_ID:
            raise WireError(f"invalid new id {object_id}", INVALID_OBJECT)
        mine[object_id] = requests
        theirs = self.events.objects
        if object_id in theirs:
            # Used again before the host confirmed the end of its predecessor, whose events may still come.
            waiting = self.waiting.setdefault(object_id, deque())
            if len(waiting) >= OBJECT_LIMIT // 16:
                raise WireError(f"object {object_id} was made too often without an answer", NO_MEMORY)
            waiting.append(events)
        else:
            theirs[object_id] = events
        return object_id

    def add_from_host(self, object_id: int, requests: Entries, events: Entries) -> None:
        """An object that the host makes in an event. Its id may have been used before.

        :raises WireError: it may not have this id.
        """
        if object_id < FIRST_SERVER_ID:
            raise WireError(f"the host made an object with the id {object_id}", IMPLEMENTATION)
        if len(self.events.objects) >= OBJECT_LIMIT * 2:
            raise WireError("the host made too many objects", IMPLEMENTATION)
        self.requests.objects[object_id] = requests
        self.events.objects[object_id] = events

    def hide_from_client(self, object_id: int, interface: str) -> None:
        """Take an object that the host just made for ourselves: the client does not hear of it."""
        self.events.objects[object_id] = self.routes.silent(interface)

    def destroyed(self, object_id: int) -> None:
        """The client destroyed an object; events for it may come until the host confirms."""
        del self.requests.objects[object_id]

    def deleted(self, object_id: int) -> int:
        """The host confirmed the end of an object.

        :returns: the client's number for it, 0 when the client need not know.
        """
        if not DISPLAY < object_id < FIRST_SERVER_ID:
            return 0
        theirs = self.events.objects
        waiting = self.waiting.get(object_id)
        if waiting:
            theirs[object_id] = waiting.popleft()
            if not waiting:
                del self.waiting[object_id]
        else:
            theirs.pop(object_id, None)
            self.requests.objects.pop(object_id, None)
        return object_id

    @property
    def unconfirmed(self) -> int:
        """Callbacks under way, and destroyed objects whose end the host has not confirmed."""
        return len(self.events.objects) - len(self.requests.objects)

    @property
    def is_ahead(self) -> bool:
        """Whether the client is too far ahead of the host: reading on would fill memory with what is not confirmed.

        A flood of short-lived objects comes here, not to an error: nothing is wrong with it.
        """
        return len(self.events.objects) - len(self.requests.objects) > UNCONFIRMED_LIMIT

    def client_id(self, host_id: int) -> int:
        """The client's number for an object of the host's; 0 when it has none."""
        return host_id

    def host_id(self, client_id: int) -> int:
        """The host's number for an object of the client's; 0 when it has none."""
        return client_id

    def interface(self, client_id: int) -> str:
        """The interface of an object that the client has, or ""."""
        entries = self.requests.objects.get(client_id)
        return "" if entries is None else self.routes.interface_of(entries)

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

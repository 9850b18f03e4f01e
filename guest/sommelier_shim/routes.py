"""The tables in which :class:`~sommelier_shim.relay.Relay` finds the entry of each message.

The routes build them from the messages' shapes and the hooks of the enabled features, one interface at a time when
its first object appears. All clients with the same settings share the tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from sommelier_shim.objects import NOTHING, Entries, Entry
from sommelier_shim.relay import Flow, Hook, Makes, Relay, Sink, deletes, destroys
from sommelier_shim.shapes import Shape, interface_shape
from sommelier_shim.trace import Trace
from sommelier_shim.wire import HEADER_SIZE, UINT, Buffer, WireError, skip

Step: TypeAlias = Callable[[Flow, bytearray, int, int, int], None]
"""``step(flow, buffer, object_id, at, stop)``: tracks the objects and descriptors of a message."""


class Hooks:
    """Hooks by interface and message. Hooks on the same message run in the order in which they were added.

    :ivar at_start: called with each new relay.
    :ivar at_bind: by interface, called with the flow of requests, the global's name, the version that the client
        asked for and the new object's id.
    :ivar at_own_global: by interface, called with the flow of events, the name and the version of each global that
        the proxy's own registry receives; :ivar at_own_removal: called with the flow of events and the name for
        each global_remove; returns the events for the client.
    :ivar at_outputs_moved: called with each relay when the proxy's own connection has received other positions of
        outputs.
    :ivar own_handlers: by interface and name, handlers for events of the proxy's own objects; the relay drops
        other events of these objects. A handler gets the host id, and returns the events for the client, with
        client ids.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], list[Hook]] = {}
        self.events: dict[tuple[str, str], list[Hook]] = {}
        self.at_start: list[Callable[[Relay], None]] = []
        self.own_handlers: dict[str, dict[str, Hook]] = {}
        self.at_bind: dict[str, list[Callable[[Flow, int, int, int], None]]] = {}
        self.at_own_global: dict[str, Callable[[Flow, int, int], None]] = {}
        self.at_own_removal: list[Callable[[Flow, int], bytes]] = []
        self.at_outputs_moved: list[Callable[[Relay], None]] = []

    def on_request(self, interface: str, name: str, hook: Hook) -> None:
        """Call a hook for a request."""
        self.requests.setdefault((interface, name), []).append(hook)

    def on_event(self, interface: str, name: str, hook: Hook) -> None:
        """Call a hook for an event."""
        self.events.setdefault((interface, name), []).append(hook)


class Routes:
    """The tables for relays in which both sides use the same ids. Untouched messages need no Python call.

    :param hooks: must have one for ``wl_registry.bind``.
    :param trace: records the messages that it wants, before the hooks run.
    """

    def __init__(self, hooks: Hooks, trace: Trace | None = None) -> None:
        self.hooks = hooks
        self._trace = trace
        self._entries: dict[str, tuple[Entries, Entries]] = {}
        self._special: dict[tuple[str, str], Entries] = {}
        self._names: dict[int, str] = {}

    def relay(self, to_client: Sink, to_host: Sink) -> Relay:
        """A new relay."""
        return Relay(self, to_client, to_host)

    def own(self, interface: str) -> Entries:
        """Entries for the events of the proxy's own objects; see :mod:`sommelier_shim.translation`."""
        raise NotImplementedError("only a translating relay has room for objects of the proxy's own")

    def start(self, relay: Relay) -> None:
        """Call the ``at_start`` hooks with a new relay."""
        for function in self.hooks.at_start:
            function(relay)

    def entries(self, interface: str) -> tuple[Entries, Entries]:
        """The entries of an interface, for requests and for events.

        :raises KeyError: the tables do not have the interface.
        """
        found = self._entries.get(interface)
        if found is None:
            shape = interface_shape(interface)
            # Interfaces refer to each other in cycles: register the lists first, then fill them.
            requests: list[Entry] = []
            events: list[Entry] = []
            found = self._entries[interface] = (requests, events)
            self._names[id(requests)] = self._names[id(events)] = interface
            for message in shape.requests:
                hooks = self.hooks.requests.get((interface, message.name), ())
                requests.append(self._traced(interface, message, hooks, is_request=True))
            for message in shape.events:
                hooks = self.hooks.events.get((interface, message.name), ())
                events.append(self._traced(interface, message, hooks, is_request=False))
        return found

    def special(
        self, kind: str, interface: str, messages: Iterable[Shape], make: Callable[[Shape], Entry]
    ) -> Entries:
        """Other entries than the interface's usual ones, created on first use, for instance for inert objects.

        :param kind: a name for these entries: "own", "silent", "inert".
        :param make: returns the entry of a message.
        """
        found = self._special.get((kind, interface))
        if found is None:
            found = self._special[kind, interface] = [make(message) for message in messages]
            self._names[id(found)] = interface
        return found

    def silent(self, interface: str) -> Entries:
        """Entries that drop every event of an interface."""
        return self.special("silent", interface, interface_shape(interface).events, _silencer)

    def with_hooks(self, hooks: Hooks) -> Routes:
        """The same routes with other hooks."""
        return type(self)(hooks, self._trace)

    def take_over(self, relay: Relay) -> None:
        """Switch a relay that has begun with other routes to these: replace the entries of all its objects."""
        before, relay.routes = relay.routes, self

        def mine(entries: Entries, *, is_request: bool) -> Entries:
            interface = before.interface_of(entries)
            if entries is before.entries(interface)[0 if is_request else 1]:
                return self.entries(interface)[0 if is_request else 1]
            return self.silent(interface) if entries is before.silent(interface) else self.own(interface)

        for flow in (relay.requests, relay.events):
            flow.objects.change(partial(mine, is_request=flow.is_requests))
        for object_id, waiting in relay.waiting.items():
            relay.waiting[object_id] = deque(mine(entries, is_request=False) for entries in waiting)

    def interface_of(self, entries: Entries) -> str:
        """The interface that a list of entries belongs to."""
        return self._names[id(entries)]

    def _traced(self, interface: str, shape: Shape, hooks: Iterable[Hook], *, is_request: bool) -> Entry:
        trace = self._trace
        if trace is None or not trace.wants(interface, is_request=is_request):
            return self._entry(shape, hooks, is_request=is_request)
        record = trace.record

        def traced(flow: Flow, object_id: int, at: int, stop: int) -> None:
            record(flow, interface, shape, object_id, at, stop)

        return self._entry(shape, [traced, *hooks], is_request=is_request)

    def _entry(self, shape: Shape, hooks: Iterable[Hook], *, is_request: bool) -> Entry:
        chain = tuple(hooks)
        if is_request and not chain and shape.destructor and not (shape.new or shape.descriptors):
            return destroys
        if chain == (deletes,):
            return deletes
        step = self._step(shape, is_request=is_request)
        if not chain and (step is None or isinstance(step, Makes)):
            return step
        if isinstance(step, Makes):
            step = self._track(shape, is_request=is_request)
        return hooked(shape, chain, step)

    def _step(self, shape: Shape, *, is_request: bool) -> Step | Makes | None:
        """The tracking that a message needs apart from hooks; None for an untouched message."""
        if not (shape.new or shape.descriptors or (shape.destructor and is_request)):
            return None
        only = len(shape.new) == 1 and not (shape.descriptors or shape.destructor)
        if only and is_request and not shape.new[0].before and shape.new[0].offset == HEADER_SIZE:
            interface = shape.new[0].interface
            requests, events = self.entries(interface)
            # A wl_callback has no requests, so it is not in the table of objects that the client can address.
            return Makes(shape.least, requests if interface_shape(interface).requests else NOTHING, events)
        return self._track(shape, is_request=is_request)

    def _track(self, shape: Shape, *, is_request: bool) -> Step:
        name, least, descriptors = shape.name, shape.least, shape.descriptors
        made = [(argument, *self.entries(argument.interface)) for argument in shape.new]
        destructor = shape.destructor and is_request

        def track(flow: Flow, buffer: bytearray, object_id: int, at: int, stop: int) -> None:
            if stop - at < least:
                raise WireError(f"{name} of object {object_id} is too short")
            relay = flow.relay
            for (before, offset, _), requests, events in made:
                place = (skip(before, buffer, at + 8, stop) if before else at) + offset
                new = UINT.unpack_from(buffer, place)[0]
                (relay.add if is_request else relay.add_from_host)(new, requests, events)
            if descriptors:
                flow.pass_descriptors(descriptors, object_id, name)
            if destructor:
                relay.destroyed(object_id)

        return track


def _silencer(shape: Shape) -> Hook:
    def silence(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        flow.drop_descriptors(shape.descriptors, object_id, shape.name)
        return b""

    return silence


def hooked(shape: Shape, hooks: tuple[Hook, ...], step: Step | None) -> Hook:
    """One entry that runs the hooks and then the step of the message."""
    name, least, descriptors = shape.name, shape.least, shape.descriptors

    def run(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        if stop - at < least:
            raise WireError(f"{name} of object {object_id} is too short")
        replacement: Buffer | None = None
        for hook in hooks:
            replacement = hook(flow, object_id, at, stop)
            if replacement is not None:
                break  # the first hook that returns a replacement ends the chain
        if replacement is None and flow.later is None and not (flow.before or flow.after):
            if step is not None:
                step(flow, flow.buffer, object_id, at, stop)
            return None
        message = bytearray(flow.buffer[at:stop] if replacement is None else replacement)
        if not message:
            if descriptors:
                flow.drop_descriptors(descriptors, object_id, name)
        elif step is not None:
            step(flow, message, object_id, 0, len(message))
        if flow.later is not None:
            flow.after += flow.later()
            flow.later = None
        sent = bytes(flow.before + message + flow.after)
        flow.before.clear()
        flow.after.clear()
        return sent

    if not hooks:
        assert step is not None
        only = step

        def follow(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
            only(flow, flow.buffer, object_id, at, stop)
            return None

        return follow
    return run

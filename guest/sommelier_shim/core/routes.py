"""The tables in which :class:`~sommelier_shim.core.relay.Relay` finds the entry of each message.

The routes build them from the messages' layouts and the hooks of the enabled features, one interface at a time when
its first object appears. All clients with the same settings share the tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import MessageLayout, interface_layout, place_after
from sommelier_shim.core.objects import UNUSED, Entries, Entry
from sommelier_shim.core.relay import CreateEntry, Flow, Hook, Relay, Routing, Sink, delete_id, destructor
from sommelier_shim.core.trace import Trace
from sommelier_shim.core.wire import HEADER_SIZE, UINT, Buffer, WireError

Step: TypeAlias = Callable[[Flow, bytearray, int, int, int], None]
"""``step(flow, buffer, object_id, at, stop)``: tracks the objects and descriptors of a message."""


class Routes:
    """The tables for relays in which both sides use the same ids. Untouched messages need no Python call.

    :param hooks: must have one for ``wl_registry.bind``.
    :param trace: records the messages that it wants, before the hooks run.
    """

    def __init__(self, hooks: Hooks, trace: Trace | None = None) -> None:
        self.hooks = hooks
        self._trace = trace
        self._entries: dict[str, tuple[Entries, Entries]] = {}
        self._variants: dict[tuple[str, str], Entries] = {}
        self._checked: Routes | None = None
        self._names: dict[int, str] = {}

    def relay(self, to_client: Sink, to_host: Sink) -> Relay:
        """A new relay."""
        return Relay(self, to_client, to_host)

    def own_entries(self, interface: str) -> Entries:
        """Entries for the events of the proxy's own objects; see :mod:`sommelier_shim.core.translation`."""
        raise NotImplementedError("only a translating relay has room for objects of the proxy's own")

    def start(self, relay: Relay) -> None:
        """Call the ``at_start`` hooks with a new relay."""
        for function in self.hooks.at_start:
            function(relay)

    def outputs_moved(self, relay: Relay) -> None:
        """Call the ``at_outputs_moved`` hooks with a relay."""
        for function in self.hooks.at_outputs_moved:
            function(relay)

    def entries(self, interface: str) -> tuple[Entries, Entries]:
        """The entries of an interface, for requests and for events.

        :raises KeyError: the tables do not have the interface.
        """
        found = self._entries.get(interface)
        if found is None:
            layout = interface_layout(interface)
            # Interfaces refer to each other in cycles: register the lists first, then fill them.
            requests: list[Entry] = []
            events: list[Entry] = []
            found = self._entries[interface] = (requests, events)
            self._names[id(requests)] = self._names[id(events)] = interface
            for message in layout.requests:
                hooks = self.hooks.of(interface, message.name, is_request=True)
                requests.append(self._traced(message, hooks, is_request=True))
            for message in layout.events:
                hooks = self.hooks.of(interface, message.name, is_request=False)
                events.append(self._traced(message, hooks, is_request=False))
        return found

    def variant(
        self, kind: str, interface: str, messages: Iterable[MessageLayout], make: Callable[[MessageLayout], Entry]
    ) -> Entries:
        """Other entries than the interface's usual ones, created on first use.

        :param kind: a name for these entries: "own", "dropped", "inert".
        :param make: returns the entry of a message.
        """
        found = self._variants.get((kind, interface))
        if found is None:
            found = self._variants[kind, interface] = [make(message) for message in messages]
            self._names[id(found)] = interface
        return found

    def dropped(self, interface: str) -> Entries:
        """Entries that drop every event of an interface."""
        return self.variant("dropped", interface, interface_layout(interface).events, _dropped_entry)

    def inert(self, interface: str, make: Callable[[MessageLayout], Hook]) -> Entries:
        """Entries for the requests of inert objects, see :mod:`sommelier_shim.features.inert`."""
        return self.variant("inert", interface, interface_layout(interface).requests, make)

    def add_checks(self, relay: Relay) -> None:
        """Switch a relay to routes with the hooks of :attr:`~sommelier_shim.core.hooks.Phase.CHECK`."""
        if self._checked is None:
            self._checked = type(self)(self.hooks.with_checks(), self._trace)
            self._checked._checked = self._checked
        if relay.routes is not self._checked:
            self._checked._take_over(relay)

    def _take_over(self, relay: Relay) -> None:
        """Replace the entries of all objects of a relay that has begun with other routes."""
        before: Routing = relay.routes
        relay.routes = self

        def mine(entries: Entries, *, is_request: bool) -> Entries:
            interface = before.interface_of(entries)
            if entries is before.entries(interface)[0 if is_request else 1]:
                return self.entries(interface)[0 if is_request else 1]
            return self.dropped(interface) if entries is before.dropped(interface) else self.own_entries(interface)

        for flow in (relay.requests, relay.events):
            flow.objects.change(partial(mine, is_request=flow.is_requests))
        for object_id, successors in relay.successors.items():
            relay.successors[object_id] = deque(mine(entries, is_request=False) for entries in successors)

    def interface_of(self, entries: Entries) -> str:
        """The interface that a list of entries belongs to."""
        return self._names[id(entries)]

    def _traced(self, layout: MessageLayout, hooks: Iterable[Hook], *, is_request: bool) -> Entry:
        trace = self._trace
        if trace is None or not trace.wants(layout.interface, is_request=is_request):
            return self._entry(layout, hooks, is_request=is_request)
        record = trace.record

        def traced(flow: Flow, object_id: int, at: int, stop: int) -> None:
            record(flow, layout, object_id, at, stop)

        return self._entry(layout, [traced, *hooks], is_request=is_request)

    def _entry(self, layout: MessageLayout, hooks: Iterable[Hook], *, is_request: bool) -> Entry:
        chain = tuple(hooks)
        if is_request and not chain and layout.destructor and not (layout.new or layout.descriptors):
            return destructor
        if chain == (delete_id,):
            return delete_id
        step = self._step(layout, is_request=is_request)
        if not chain and (step is None or isinstance(step, CreateEntry)):
            return step
        if isinstance(step, CreateEntry):
            step = self._track(layout, is_request=is_request)
        return hooked(layout, chain, step)

    def _step(self, layout: MessageLayout, *, is_request: bool) -> Step | CreateEntry | None:
        """The tracking that a message needs apart from hooks; None for an untouched message."""
        if not (layout.new or layout.descriptors or (layout.destructor and is_request)):
            return None
        only = len(layout.new) == 1 and not (layout.descriptors or layout.destructor)
        if only and is_request and not layout.new[0].preceding and layout.new[0].offset == HEADER_SIZE:
            interface = layout.new[0].interface
            return CreateEntry(layout.min_size, *self._new_entries(interface))
        return self._track(layout, is_request=is_request)

    def _new_entries(self, interface: str) -> tuple[Entries, Entries]:
        """The entries of a new object. An object without requests (a wl_callback) is not in the table of objects
        that the client can address."""
        requests, events = self.entries(interface)
        return (requests if interface_layout(interface).requests else UNUSED), events

    def _track(self, layout: MessageLayout, *, is_request: bool) -> Step:
        name, min_size, descriptors = layout.name, layout.min_size, layout.descriptors
        made = [(argument, *self._new_entries(argument.interface)) for argument in layout.new]
        destroys = layout.destructor and is_request

        def track(flow: Flow, buffer: bytearray, object_id: int, at: int, stop: int) -> None:
            if stop - at < min_size:
                raise WireError(f"{name} of object {object_id} is too short")
            relay = flow.relay
            for (preceding, offset, _), requests, events in made:
                place = place_after(preceding, offset, buffer, at, stop) if preceding else at + offset
                new = UINT.unpack_from(buffer, place)[0]
                (relay.add if is_request else relay.add_from_host)(new, requests, events)
            if descriptors:
                flow.pass_descriptors(descriptors, object_id, name)
            if destroys:
                relay.destroyed(object_id)

        return track


def _dropped_entry(layout: MessageLayout) -> Hook:
    def drop(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        flow.drop_descriptors(layout.descriptors, object_id, layout.name)
        return b""

    return drop


def hooked(layout: MessageLayout, hooks: tuple[Hook, ...], step: Step | None) -> Hook:
    """One entry that runs the hooks and then the step of the message."""
    name, min_size, descriptors = layout.name, layout.min_size, layout.descriptors

    def run(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        if stop - at < min_size:
            raise WireError(f"{name} of object {object_id} is too short")
        replacement: Buffer | None = None
        for hook in hooks:
            replacement = hook(flow, object_id, at, stop)
            if replacement is not None:
                break  # the first hook that returns a replacement ends the chain
        if replacement is None and flow.deferred_suffix is None and not (flow.prefix or flow.suffix):
            if step is not None:
                step(flow, flow.buffer, object_id, at, stop)
            return None
        message = bytearray(flow.buffer[at:stop] if replacement is None else replacement)
        if not message:
            if descriptors:
                flow.drop_descriptors(descriptors, object_id, name)
        elif step is not None:
            step(flow, message, object_id, 0, len(message))
        if flow.deferred_suffix is not None:
            flow.suffix += flow.deferred_suffix()
            flow.deferred_suffix = None
        sent = bytes(flow.prefix + message + flow.suffix)
        flow.prefix.clear()
        flow.suffix.clear()
        return sent

    if not hooks:
        assert step is not None
        only = step

        def follow(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
            only(flow, flow.buffer, object_id, at, stop)
            return None

        return follow
    return run

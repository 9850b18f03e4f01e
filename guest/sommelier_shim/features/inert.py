"""Binds of globals that the host has removed: the client gets an inert object, which does nothing
(chromeos-sommelier.md §8.1.5).

The client has raced with global_remove, and the proxy must not disconnect it for that, as a host that has dropped
the global would. An object that the client creates from an inert object is inert, too. The host receives no message
of inert objects.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sommelier_shim.core.hooks import FeatureKey, Hooks, MessageHooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, interface_layout, place_after, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.tables import INTERFACES
from sommelier_shim.core.translation import TranslatingRelay
from sommelier_shim.core.wire import DISPLAY, UINT, Buffer, WireError, delete_id_event

_INERT: FeatureKey[set[int]] = FeatureKey("client ids of inert objects", set)

_SYNC = request("wl_display", "sync")
_read_delete_id = event("wl_display", "delete_id").reader("id")


class RemovedGlobal(NamedTuple):
    """The value of a removed global in :attr:`Relay.globals`."""

    interface: str
    version: int


def install(hooks: Hooks) -> None:
    """Let :func:`bind` create inert objects. The hooks that check every object argument of every request run only
    for clients that have bound a removed global."""
    hooks.checks.append(_install_checks)


def bind(flow: Flow, interface: str, new: int) -> Buffer:
    """Drop a bind request and create an inert object instead.

    :returns: the bind hook's result.
    :raises WireError: the new id is invalid.
    """
    flow.relay.routes.add_checks(flow.relay)
    flow.prefix += _create(flow.relay, interface, new)
    return b""


def _install_checks(hooks: MessageHooks) -> None:
    hooks.on_event("wl_display", "delete_id", _deleted, Phase.CHECK)
    for interface, known in INTERFACES.items():
        for index, message in enumerate(known.requests):
            if "o" in message.signature:
                check = _check(interface_layout(interface).requests[index], message.signature)
                hooks.on_request(interface, message.name, check, Phase.CHECK)


def _create(relay: Relay, interface: str, new: int) -> bytes:
    """Create an inert object.

    :returns: the requests to send to the host for it.
    """
    entries = relay.routes.inert(interface, _inert_entry)
    requests = b""
    if isinstance(relay, TranslatingRelay):
        relay.add_virtual(new, interface)
        relay.requests.objects.put(new, entries)
    else:
        # Both sides use the same ids, and the host allows no gap: give this id to a callback on the host.
        relay.add(new, entries, relay.routes.dropped("wl_callback"))
        requests = _SYNC.encode(DISPLAY, new)
    _INERT.of(relay).add(new)
    return requests


def _deleted(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """Hook for delete_id: drop it if it is for the callback that has the id of an inert object."""
    relay = flow.relay
    (number,) = _read_delete_id(flow.buffer, at)
    if isinstance(relay, TranslatingRelay) or number not in _INERT.of(relay) or number in relay.successors:
        return None
    relay.events.objects.remove(number)
    return b""


def _destroy(relay: Relay, object_id: int) -> None:
    _INERT.of(relay).discard(object_id)
    if isinstance(relay, TranslatingRelay):
        relay.remove_virtual(object_id)
        return
    relay.destroyed(object_id)
    if object_id not in relay.events.objects:  # otherwise the relay forwards the host's delete_id later
        relay.to_client(delete_id_event(object_id), None)


def _inert_entry(layout: MessageLayout) -> Hook:
    """The entry for a request of an inert object: drop it, and make every object that it creates inert."""

    def drop(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        if stop - at < layout.min_size:
            raise WireError(f"{layout.name} of object {object_id} is too short")
        flow.drop_descriptors(layout.descriptors, object_id, layout.name)
        requests = _create_all(flow, layout, object_id, at, stop)
        if layout.destructor:
            _destroy(flow.relay, object_id)
        return requests

    return drop


def _check(layout: MessageLayout, signature: str) -> Hook:
    """The hook for a request with object arguments: replace an inert object by null where the argument may be null,
    otherwise drop the request and make every object that it creates inert."""
    optional = [letter == "?o" for letter in re.findall(r"\??o", signature)]
    arguments = [
        (preceding, offset, free) for (preceding, offset, _), free in zip(layout.objects, optional, strict=True)
    ]

    def check(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        inert = _INERT.of(flow.relay)
        for preceding, offset, may_be_null in arguments:
            place = place_after(preceding, offset, flow.buffer, at, stop) if preceding else at + offset
            if UINT.unpack_from(flow.buffer, place)[0] in inert:
                if not may_be_null:
                    flow.prefix += _create_all(flow, layout, object_id, at, stop)
                    return b""
                UINT.pack_into(flow.buffer, place, 0)
        return None

    return check


def _create_all(flow: Flow, layout: MessageLayout, object_id: int, at: int, stop: int) -> bytes:
    """Create the objects of a request as inert objects.

    :returns: the requests to send to the host for them.
    """
    requests = b""
    for preceding, offset, interface in layout.new:
        place = place_after(preceding, offset, flow.buffer, at, stop) if preceding else at + offset
        requests += _create(flow.relay, interface, UINT.unpack_from(flow.buffer, place)[0])
    return requests

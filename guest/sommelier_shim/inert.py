"""Binds of globals that the host has removed: the client gets an inert object, which does nothing
(chromeos-sommelier.md §8.1.5).

The client has raced with global_remove, and the proxy must not disconnect it for that, as a host that has dropped
the global would. An object that the client creates from an inert object is inert, too. The host receives no message
of inert objects.
"""

from __future__ import annotations

import re
from copy import copy
from typing import NamedTuple

from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.routes import Hooks, Routes
from sommelier_shim.shapes import Shape, interface_shape
from sommelier_shim.tables import INTERFACES
from sommelier_shim.translation import TranslatingRelay
from sommelier_shim.wire import DISPLAY, UINT, Buffer, WireError, delete_id_event, encode, skip

_KEY = "inert objects"


class Withdrawn(NamedTuple):
    """The value of a removed global in :attr:`Relay.globals`."""

    interface: str
    version: int


class InertBinder:
    """Answers binds of removed globals.

    At its first such bind a client's relay switches to routes that check every object argument of every request.
    Other clients pay nothing.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._routes: Routes | None = None

    def bind(self, flow: Flow, interface: str, new: int) -> Buffer:
        """Drop a bind request and create an inert object instead.

        :returns: the bind hook's result.
        :raises WireError: the new id is invalid.
        """
        relay = flow.relay
        if self._routes is None:
            self._routes = relay.routes.with_hooks(_wary(self._hooks))
        if relay.routes is not self._routes:
            self._routes.take_over(relay)
            relay.features[_KEY] = set()
        flow.before += _make(relay, interface, new)
        return b""


def _wary(hooks: Hooks) -> Hooks:
    """A copy of the hooks with an inert-object check in front of each."""
    wary = copy(hooks)
    wary.requests = {key: list(chain) for key, chain in hooks.requests.items()}
    wary.events = {key: list(chain) for key, chain in hooks.events.items()}
    wary.events["wl_display", "delete_id"].insert(0, _deleted)
    for interface, known in INTERFACES.items():
        for index, message in enumerate(known.requests):
            if "o" in message.signature:
                hook = _sifter(interface_shape(interface).requests[index], message.signature)
                wary.requests.setdefault((interface, message.name), []).insert(0, hook)
    return wary


def _inert(relay: Relay) -> set[int]:
    """The client ids of the client's inert objects."""
    found = relay.features[_KEY]
    assert isinstance(found, set)
    return found


def _make(relay: Relay, interface: str, new: int) -> bytes:
    """Create an inert object.

    :returns: the requests to send to the host for it.
    """
    requests = relay.routes.special("inert", interface, interface_shape(interface).requests, _ghost)
    said = b""
    if isinstance(relay, TranslatingRelay):
        relay.add_virtual(new, interface)
        relay.requests.objects.put(new, requests)
    else:
        # Both sides use the same ids, and the host allows no gap: give this id to a callback on the host.
        relay.add(new, requests, relay.routes.silent("wl_callback"))
        said = encode(DISPLAY, 0, "n", new)
    _inert(relay).add(new)
    return said


def _deleted(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """Hook for delete_id: drop it if it is for the callback that has the id of an inert object."""
    relay, number = flow.relay, UINT.unpack_from(flow.buffer, at + 8)[0]
    if isinstance(relay, TranslatingRelay) or number not in _inert(relay) or number in relay.waiting:
        return None
    relay.events.objects.remove(number)
    return b""


def _destroy(relay: Relay, object_id: int) -> None:
    _inert(relay).discard(object_id)
    if isinstance(relay, TranslatingRelay):
        relay.remove_virtual(object_id)
        return
    relay.destroyed(object_id)
    if object_id not in relay.events.objects:  # otherwise the relay forwards the host's delete_id later
        relay.to_client(delete_id_event(object_id), None)


def _ghost(shape: Shape) -> Hook:
    """The entry for a request of an inert object: drop it, and make every object that it creates inert."""

    def pass_over(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        if stop - at < shape.least:
            raise WireError(f"{shape.name} of object {object_id} is too short")
        flow.drop_descriptors(shape.descriptors, object_id, shape.name)
        said = _make_all(flow, shape, object_id, at, stop)
        if shape.destructor:
            _destroy(flow.relay, object_id)
        return said

    return pass_over


def _sifter(shape: Shape, signature: str) -> Hook:
    """The hook for a request with object arguments: replace an inert object by null where the argument may be null,
    otherwise drop the request and make every object that it creates inert."""
    optional = [letter == "?o" for letter in re.findall(r"\??o", signature)]
    named = [(before, offset, free) for (before, offset, _), free in zip(shape.objects, optional, strict=True)]

    def sift(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        inert = _inert(flow.relay)
        for before, offset, is_optional in named:
            place = _place(flow, before, offset, at, stop)
            if UINT.unpack_from(flow.buffer, place)[0] in inert:
                if not is_optional:
                    flow.before += _make_all(flow, shape, object_id, at, stop)
                    return b""
                UINT.pack_into(flow.buffer, place, 0)
        return None

    return sift


def _make_all(flow: Flow, shape: Shape, object_id: int, at: int, stop: int) -> bytes:
    """Create the objects of a request as inert objects.

    :returns: the requests to send to the host for them.
    """
    said = b""
    for before, offset, interface in shape.new:
        place = _place(flow, before, offset, at, stop)
        said += _make(flow.relay, interface, UINT.unpack_from(flow.buffer, place)[0])
    return said


def _place(flow: Flow, before: str, offset: int, at: int, stop: int) -> int:
    """The position of an id argument in the buffer.

    :raises WireError: the message is shorter than its arguments.
    """
    place = (skip(before, flow.buffer, at + 8, stop) if before else at) + offset
    if place + 4 > stop:
        raise WireError("the message is shorter than its arguments")
    return place

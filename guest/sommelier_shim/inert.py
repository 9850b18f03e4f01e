"""Globals that the host has withdrawn: what a client binds all the same does nothing
(chromeos-sommelier.md §8.1.5).

The client has raced with the removal and must not be killed for it, as a host that has forgotten the global would.
What it makes of an inert object is inert too, and the host never hears of any of them.
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
    """What :attr:`Relay.globals` has of a global that the host has withdrawn since."""

    interface: str
    version: int


class InertBinder:
    """Answers binds of withdrawn globals.

    From the first one on a client's conversation goes on with routes of its own, in which every request that names
    an object is looked at. All others pay nothing.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._routes: Routes | None = None

    def bind(self, flow: Flow, interface: str, new: int) -> Buffer:
        """The hook's answer to a bind.

        :raises WireError: the new object may not have this id.
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
    """The same hooks, behind such that know of inert objects."""
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
    """The client's numbers of its inert objects."""
    found = relay.features[_KEY]
    assert isinstance(found, set)
    return found


def _make(relay: Relay, interface: str, new: int) -> bytes:
    """An inert object, and what the host must hear for it."""
    requests = relay.routes.special("inert", interface, interface_shape(interface).requests, _ghost)
    said = b""
    if isinstance(relay, TranslatingRelay):
        relay.add_virtual(new, interface)
        relay.requests.objects.put(new, requests)
    else:
        # Both sides count alike, so the host's must stay dense: it makes a callback, which is gone at once.
        relay.add(new, requests, relay.routes.silent("wl_callback"))
        said = encode(DISPLAY, 0, "n", new)
    _inert(relay).add(new)
    return said


def _deleted(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    """Hook for delete_id: the callback is gone, which the client takes for its object."""
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
    if object_id not in relay.events.objects:  # else the host's delete_id goes on to the client
        relay.to_client(delete_id_event(object_id), None)


def _ghost(shape: Shape) -> Hook:
    """The entry for a request of an inert object."""

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
    """The hook for a request that names objects: without the inert ones, where it means something without them."""
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
    """Make what a request makes, but inert."""
    said = b""
    for before, offset, interface in shape.new:
        place = _place(flow, before, offset, at, stop)
        said += _make(flow.relay, interface, UINT.unpack_from(flow.buffer, place)[0])
    return said


def _place(flow: Flow, before: str, offset: int, at: int, stop: int) -> int:
    """Where in the buffer an id is."""
    place = (skip(before, flow.buffer, at + 8, stop) if before else at) + offset
    if place + 4 > stop:
        raise WireError("the message is shorter than its arguments")
    return place

"""State that clients set once and the host keeps: under direct scale the proxy converts it again after a change of
the ratio.

A number applies until the client sends another one. If the new ratio gives another converted value, the proxy sends
that value before the next commit of the surface in whose units the number is, so that double-buffered state takes
effect with the right contents.
"""

from __future__ import annotations

from typing import Protocol
from weakref import ref

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import interface_layout, is_known
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.wire import UINT, Buffer
from sommelier_shim.features.scaling.arithmetic import Scale
from sommelier_shim.features.scaling.direct_surface import DirectSurface
from sommelier_shim.features.scaling.surfaces import KeptRequest

_SEARCH_ABOVE = 64
"""Objects that the table may hold before the first search for state about destroyed surfaces."""


class KeptState(Protocol):
    """A request whose numbers the host keeps."""

    def resend(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """The request for the host, converted by a scale; empty if the host has these numbers already."""


class KeptNumbers:
    """A request with numbers to convert in place."""

    def __init__(self, kept: KeptRequest) -> None:
        self._kept = kept
        self._sent = kept.sent

    def resend(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """See :class:`KeptState`."""
        message = bytearray(self._kept.request)
        self._kept.convert(scale, message, 0)
        if message == self._sent:
            return b""
        self._sent = bytes(message)
        UINT.pack_into(message, 0, relay.host_id(object_id))
        about_offset = self._kept.about_offset
        if about_offset:
            about = UINT.unpack_from(message, about_offset)[0]
            UINT.pack_into(message, about_offset, relay.host_id(about))
        return bytes(message)


class KeptStates:
    """The kept state of one client by object id and request name, each with the surface in whose units it is."""

    def __init__(self) -> None:
        self._states: dict[int, dict[str, tuple[ref[DirectSurface], KeptState]]] = {}
        self._search_above = _SEARCH_ABOVE

    def keep(self, object_id: int, name: str, surface: DirectSurface | None, state: KeptState) -> None:
        """Keep state in place of the previous one of the same object and request.

        :param surface: the surface in whose units it is. Without one no ratio can change, and the state is
            not kept.
        """
        if surface is None:
            self.forget_request(object_id, name)
            return
        self._states.setdefault(object_id, {})[name] = ref(surface), state
        if len(self._states) > self._search_above:
            self._forget_surfaces()
            self._search_above = 2 * len(self._states) + _SEARCH_ABOVE

    def forget_request(self, object_id: int, name: str) -> None:
        """Remove the state of one request of an object."""
        self._states.get(object_id, {}).pop(name, None)

    def forget(self, object_id: int) -> None:
        """Remove all state of a destroyed object."""
        self._states.pop(object_id, None)

    def _forget_surfaces(self) -> None:
        """Remove state about destroyed surfaces."""
        for object_id, states in list(self._states.items()):
            for name, (surface, _) in list(states.items()):
                if surface() is None:
                    del states[name]
            if not states:
                del self._states[object_id]

    def resend(self, relay: Relay, surface: DirectSurface) -> bytes:
        """The requests for the host after a surface's ratio has changed."""
        requests = b""
        for object_id, states in self._states.items():
            if relay.host_id(object_id):
                for about, state in states.values():
                    if about() is surface:
                        requests += state.resend(relay, object_id, surface.scale)
        return requests


KEPT_STATES = FeatureKey("state that the host keeps", KeptStates)


def install(hooks: Hooks, interfaces: set[str]) -> None:
    """Install hooks that remove the state of destroyed objects of these interfaces."""
    for interface in filter(is_known, sorted(interfaces)):
        for message in interface_layout(interface).requests:
            if message.destructor:
                hooks.on_request(interface, message.name, _forget, Phase.OBSERVE)


def _forget(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    KEPT_STATES.of(flow.relay).forget(object_id)
    return None

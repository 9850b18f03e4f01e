"""State that clients set once and the host keeps: under direct scale the proxy converts it again after a change of
the ratio.

A number stands until the client sends another one. If the new ratio gives another converted value, the proxy sends
that value before the next commit of the surface in whose units the number is, so that double-buffered state takes
effect with the right contents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import ref

from sommelier_shim.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.layouts import interface_layout, is_known
from sommelier_shim.relay import Flow, Relay
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.scaling.direct_surface import DirectSurface
from sommelier_shim.wire import UINT, Buffer

_LEFT = 64
"""Objects that the table may hold before the first search for statements about destroyed surfaces."""
Converter = Callable[[Scale, bytearray, int], None]
"""``convert(scale, buffer, at)``: convert the numbers of the request at ``at`` in place."""


class Statement(Protocol):
    """A request whose numbers the host keeps."""

    def again(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """The request for the host, converted by a scale; empty if the host has these numbers already."""


class Numbers:
    """A request with numbers to convert in place.

    :param request: the request as the client sent it; :param sent: the same with the numbers that the host got.
    :param named: offset of an object id among the arguments, 0 if there is none.
    """

    def __init__(self, request: bytes, sent: bytes, named: int, convert: Converter) -> None:
        self._request = request
        self._sent = sent
        self._named = named
        self._convert = convert

    def again(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """See :class:`Statement`."""
        message = bytearray(self._request)
        self._convert(scale, message, 0)
        if message == self._sent:
            return b""
        self._sent = bytes(message)
        UINT.pack_into(message, 0, relay.host_id(object_id))
        if self._named:
            UINT.pack_into(message, self._named, relay.host_id(UINT.unpack_from(message, self._named)[0]))
        return bytes(message)


class Standing:
    """The statements of one client by object id and opcode, each with the surface in whose units it is."""

    def __init__(self) -> None:
        self._statements: dict[int, dict[int, tuple[ref[DirectSurface], Statement]]] = {}
        self._room = _LEFT

    def keep(self, object_id: int, opcode: int, surface: DirectSurface | None, statement: Statement) -> None:
        """Keep a statement in place of the previous one of the same object and opcode.

        :param surface: the surface in whose units it is. Without one no ratio can change, and the statement is
            not kept.
        """
        if surface is None:
            self.forget_request(object_id, opcode)
            return
        self._statements.setdefault(object_id, {})[opcode] = ref(surface), statement
        if len(self._statements) > self._room:
            self._forget_surfaces()
            self._room = 2 * len(self._statements) + _LEFT

    def forget_request(self, object_id: int, opcode: int) -> None:
        """Remove the statement of one request of an object."""
        self._statements.get(object_id, {}).pop(opcode, None)

    def forget(self, object_id: int) -> None:
        """Remove all statements of a destroyed object."""
        self._statements.pop(object_id, None)

    def _forget_surfaces(self) -> None:
        """Remove statements about destroyed surfaces."""
        for object_id, statements in list(self._statements.items()):
            for opcode, (surface, _) in list(statements.items()):
                if surface() is None:
                    del statements[opcode]
            if not statements:
                del self._statements[object_id]

    def again(self, relay: Relay, surface: DirectSurface) -> bytes:
        """The requests for the host after a surface's ratio has changed."""
        said = b""
        for object_id, statements in self._statements.items():
            if relay.host_id(object_id):
                for about, statement in statements.values():
                    if about() is surface:
                        said += statement.again(relay, object_id, surface.scale)
        return said


STANDING = FeatureKey("statements that stand", Standing)


def install(hooks: Hooks, interfaces: set[str]) -> None:
    """Install hooks that remove the statements of destroyed objects of these interfaces."""
    for interface in filter(is_known, sorted(interfaces)):
        for message in interface_layout(interface).requests:
            if message.destructor:
                hooks.on_request(interface, message.name, _forget, Phase.OBSERVE)


def _forget(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    STANDING.of(flow.relay).forget(object_id)
    return None

"""What clients have said once and the host holds: under direct scale it is converted again when the ratio changes.

A number stands until the client says another one. It is sent again when its converted value differs, before the
next commit of the surface whose units it is in, so that double-buffered state takes effect with the right contents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import ref

from sommelier_shim.relay import Flow, Relay
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.scaling.direct_surface import DirectSurface
from sommelier_shim.shapes import interface_shape, is_known
from sommelier_shim.wire import UINT, Buffer

_KEY = "standing statements"
_LEFT = 64
"""Objects with statements about surfaces that are gone, which may be left."""
Converter = Callable[[Scale, bytearray, int], None]
"""``convert(scale, buffer, at)``: convert the numbers of a request that begins there."""


class Statement(Protocol):
    """A request whose numbers the host holds."""

    def again(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """What the host must hear when the scale is this one; nothing if it holds that already."""


class Numbers:
    """A request that is converted in place.

    :param request: as the client sent it; :param sent: its arguments as the host got them.
    :param named: offset of an object's id among the arguments, 0 without.
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
    """The statements of one client: by object and opcode, with the surface whose units they are in."""

    def __init__(self) -> None:
        self._statements: dict[int, dict[int, tuple[ref[DirectSurface], Statement]]] = {}
        self._room = _LEFT

    def keep(self, object_id: int, opcode: int, surface: DirectSurface | None, statement: Statement) -> None:
        """A statement takes the place of the one before.

        :param surface: without one it is about nothing that can change.
        """
        if surface is None:
            self.forget_request(object_id, opcode)
            return
        self._statements.setdefault(object_id, {})[opcode] = ref(surface), statement
        if len(self._statements) > self._room:
            self._forget_surfaces()
            self._room = 2 * len(self._statements) + _LEFT

    def forget_request(self, object_id: int, opcode: int) -> None:
        """What a request has said does not stand any more."""
        self._statements.get(object_id, {}).pop(opcode, None)

    def forget(self, object_id: int) -> None:
        """An object is gone."""
        self._statements.pop(object_id, None)

    def _forget_surfaces(self) -> None:
        """Forget what is about surfaces that are gone."""
        for object_id, statements in list(self._statements.items()):
            for opcode, (surface, _) in list(statements.items()):
                if surface() is None:
                    del statements[opcode]
            if not statements:
                del self._statements[object_id]

    def again(self, relay: Relay, surface: DirectSurface) -> bytes:
        """What the host must hear of a surface whose ratio has changed."""
        said = b""
        for object_id, statements in self._statements.items():
            if relay.host_id(object_id):
                for about, statement in statements.values():
                    if about() is surface:
                        said += statement.again(relay, object_id, surface.scale)
        return said


def standing(relay: Relay) -> Standing:
    """The state of a relay."""
    found = relay.features.get(_KEY)
    if found is None:
        found = relay.features[_KEY] = Standing()
    assert isinstance(found, Standing)
    return found


def install(hooks: Hooks, interfaces: set[str]) -> None:
    """Forget the statements of objects that clients destroy."""
    for interface in filter(is_known, sorted(interfaces)):
        for message in interface_shape(interface).requests:
            if message.destructor:
                hooks.on_request(interface, message.name, _forget)


def _forget(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    standing(flow.relay).forget(object_id)
    return None

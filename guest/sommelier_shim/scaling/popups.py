"""Popups under direct scale: a positioner's numbers are in the units of the parent and of the popup, which are
known only when a popup uses the positioner. The proxy holds the numbers back and sends them then. When the ratio of
parent or popup changes, it moves the popup with xdg_popup.reposition, where the client's version has that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from weakref import ref

from sommelier_shim.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.layouts import interface_layout, is_known
from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.scaling.arithmetic import Conversions, Scale
from sommelier_shim.scaling.direct import ATTACHED
from sommelier_shim.scaling.direct_surface import DirectSurface
from sommelier_shim.scaling.standing import STANDING
from sommelier_shim.translation import translating
from sommelier_shim.wire import INT, UINT, Buffer, encode

_SET_SIZE, _SET_ANCHOR_RECT, _SET_OFFSET, _SET_PARENT_SIZE = 1, 2, 6, 8
_DESTROY = 0
"""Opcodes of positioners."""
_CREATE_POSITIONER = 1
"""Opcode of xdg_wm_base."""
_REPOSITION = 2
_MOVES_SINCE = 3
"""Opcode of xdg_popup, and the version of xdg_wm_base from which popups have it."""
_WITH_PARENT = -1
"""Key beside the opcodes: the popup's placement, kept a second time for its parent."""
_OWN_TOKEN = 0xF0000000
"""The token of the proxy's own repositions."""

POPUPS = {"xdg_popup"}
DEFERRED = {
    (interface, name)
    for interface in ("xdg_positioner", "zxdg_positioner_v6")
    for name in ("set_size", "set_anchor_rect", "set_offset", "set_parent_size")
}

Numbers = Mapping[int, list[int]]
"""A positioner's requests: arguments by opcode."""


class _Positioner:
    """A client's positioner.

    :ivar shell: client id of the xdg_wm_base that created it; :ivar numbers: its requests.
    """

    def __init__(self, shell: int) -> None:
        self.shell = shell
        self.numbers: dict[int, list[int]] = {}


class _Placement:
    """The placement of a popup: the positioner's numbers as the client sent them and as the host got them."""

    def __init__(self, popup: DirectSurface, positioner: _Positioner) -> None:
        self._popup = ref(popup)
        self._shell = positioner.shell
        self._numbers = dict(positioner.numbers)
        self._sent = self._converted(popup)

    def again(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """See :class:`~sommelier_shim.scaling.standing.Statement`. Moves the popup with a positioner of the
        proxy's own."""
        popup, shell = self._popup(), relay.host_id(self._shell)
        if popup is None or popup.contents is None or not shell:
            return b""
        converted = self._converted(popup)
        if converted == self._sent:
            return b""
        self._sent = converted
        own = translating(relay).own("xdg_positioner")
        translating(relay).disown(own, "xdg_positioner")
        said = encode(shell, _CREATE_POSITIONER, "n", own) + _requests(own, self._numbers | converted)
        said += encode(relay.host_id(object_id), _REPOSITION, "ou", own, _OWN_TOKEN)
        return said + encode(own, _DESTROY)

    def _converted(self, popup: DirectSurface) -> dict[int, list[int]]:
        return _converted(self._numbers, (popup.parent or popup).scale, popup.scale)


_POSITIONERS: FeatureKey[dict[int, _Positioner]] = FeatureKey("positioners", dict)
_SHELLS: FeatureKey[dict[int, int]] = FeatureKey("versions of xdg_wm_base objects", dict)


def install(hooks: Hooks) -> None:
    """Install the hooks of positioners and popups."""
    hooks.at_bind.setdefault("xdg_wm_base", []).append(_bound)
    for interface, surface, shell in (
        ("xdg_positioner", "xdg_surface", "xdg_wm_base"),
        ("zxdg_positioner_v6", "zxdg_surface_v6", "zxdg_shell_v6"),
    ):
        if not is_known(interface):
            continue
        for opcode, message in enumerate(interface_layout(interface).requests):
            if not message.destructor:
                keeper = _keeper(opcode, is_held=(interface, message.name) in DEFERRED)
                hooks.on_request(interface, message.name, keeper, Phase.REPLACE)
        hooks.on_request(interface, "destroy", _destroy_positioner, Phase.OBSERVE)
        hooks.on_request(shell, "create_positioner", _create_positioner, Phase.OBSERVE)
        hooks.on_request(surface, "get_popup", _get_popup, Phase.REPLACE)
    hooks.on_request("xdg_popup", "reposition", _reposition, Phase.REPLACE)
    hooks.on_event("xdg_popup", "repositioned", _repositioned, Phase.REPLACE)


def _bound(flow: Flow, name: int, version: int, object_id: int) -> None:
    _SHELLS.of(flow.relay)[object_id] = version


def _create_positioner(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _POSITIONERS.of(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = _Positioner(object_id)


def _destroy_positioner(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _POSITIONERS.of(flow.relay).pop(object_id, None)


def _keeper(opcode: int, *, is_held: bool) -> Hook:
    def keep(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        numbers = [INT.unpack_from(flow.buffer, offset)[0] for offset in range(at + 8, stop - 3, 4)]
        positioner = _POSITIONERS.of(flow.relay).get(object_id)
        if positioner is not None:
            positioner.numbers[opcode] = numbers[:4]
        return b"" if is_held else None

    return keep


def _get_popup(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = ATTACHED.of(flow.relay)
    surface = known.get(object_id)
    popup, parent, positioner = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12, 16))
    if surface is not None:
        surface.belongs_to(known.get(parent))
        _place(flow, popup, surface, positioner)


def _reposition(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        _place(flow, object_id, surface, UINT.unpack_from(flow.buffer, at + 8)[0])


def _repositioned(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    return b"" if UINT.unpack_from(flow.buffer, at + 8)[0] == _OWN_TOKEN else None


def _place(flow: Flow, popup: int, surface: DirectSurface, positioner: int) -> None:
    """Send the host the numbers of the positioner that a popup uses, and keep them for a change of the ratio."""
    relay = flow.relay
    known = _POSITIONERS.of(relay).get(positioner)
    if known is None:
        return
    converted = _converted(known.numbers, (surface.parent or surface).scale, surface.scale)
    flow.prefix += _requests(relay.host_id(positioner), converted)
    if _SHELLS.of(relay).get(known.shell, 0) >= _MOVES_SINCE:
        placement = _Placement(surface, known)
        STANDING.of(relay).keep(popup, _REPOSITION, surface, placement)
        STANDING.of(relay).keep(popup, _WITH_PARENT, surface.parent, placement)


def _converted(numbers: Numbers, parent: Scale, popup: Scale) -> dict[int, list[int]]:
    """The lengths of a positioner, in host units."""

    def extent(axis: Conversions) -> Callable[[int], int]:
        # An anchor is no window size, but hosts disconnect a client for an empty one.
        return lambda value: max(1, axis.to_host(value)) if value > 0 else value

    conversions: dict[int, Sequence[Callable[[int], int]]] = {
        _SET_SIZE: (popup.x.size_to_host, popup.y.size_to_host),
        _SET_ANCHOR_RECT: (parent.x.to_host, parent.y.to_host, extent(parent.x), extent(parent.y)),
        _SET_OFFSET: (parent.x.to_host, parent.y.to_host),
        _SET_PARENT_SIZE: (parent.x.size_to_host, parent.y.size_to_host),
    }
    return {
        opcode: [convert(number) for convert, number in zip(conversions[opcode], said, strict=True)]
        for opcode, said in numbers.items()
        if opcode in conversions
    }


def _requests(positioner: int, numbers: Numbers) -> bytes:
    """The requests that set a positioner's numbers on the host."""
    return b"".join(encode(positioner, opcode, "i" * len(said), *said) for opcode, said in numbers.items())

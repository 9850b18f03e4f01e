"""Popups under direct scale: a positioner's numbers are in the units of the parent and of the popup, which are
known only when a popup uses the positioner. The proxy holds the numbers back and sends them then. When the ratio of
parent or popup changes, it moves the popup with xdg_popup.reposition, where the client's version has that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import ref

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, interface_layout, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import Buffer
from sommelier_shim.features.scaling.arithmetic import Conversions, Scale
from sommelier_shim.features.scaling.direct import ATTACHED
from sommelier_shim.features.scaling.direct_surface import DirectSurface
from sommelier_shim.features.scaling.kept_state import KEPT_STATES

_MOVES_SINCE = 3
"""The version of xdg_wm_base from which popups have ``reposition``."""
_CREATE_POSITIONER = request("xdg_wm_base", "create_positioner")
_DESTROY_POSITIONER = request("xdg_positioner", "destroy")
_REPOSITION = request("xdg_popup", "reposition")
_read_reposition = _REPOSITION.reader("positioner")
_read_repositioned = event("xdg_popup", "repositioned").reader("token")
_WITH_PARENT = "reposition with the parent"
"""Key beside the names of requests: the popup's placement, kept a second time for its parent."""
_OWN_TOKEN = 0xF0000000
"""The token of the proxy's own repositions."""

POPUPS = {"xdg_popup"}
DEFERRED = {
    (interface, name)
    for interface in ("xdg_positioner", "zxdg_positioner_v6")
    for name in ("set_size", "set_anchor_rect", "set_offset", "set_parent_size")
}

Numbers = dict[MessageLayout, tuple[int, ...]]
"""A positioner's requests: their arguments."""


class _Positioner:
    """A client's positioner.

    :ivar shell: client id of the xdg_wm_base that created it; :ivar numbers: its requests.
    """

    def __init__(self, shell: int) -> None:
        self.shell = shell
        self.numbers: Numbers = {}


class _Placement:
    """The placement of a popup: the positioner's numbers as the client sent them and as the host got them."""

    def __init__(self, popup: DirectSurface, positioner: _Positioner) -> None:
        self._popup = ref(popup)
        self._shell = positioner.shell
        self._numbers = dict(positioner.numbers)
        self._sent = self._converted(popup)

    def resend(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """See :class:`~sommelier_shim.features.scaling.kept_state.KeptState`. Moves the popup with a
        positioner of the proxy's own."""
        popup, shell = self._popup(), relay.host_id(self._shell)
        if popup is None or popup.contents is None or not shell:
            return b""
        converted = self._converted(popup)
        if converted == self._sent:
            return b""
        self._sent = converted
        own = translating(relay).add_own("xdg_positioner")
        translating(relay).disown(own, "xdg_positioner")
        requests = _CREATE_POSITIONER.encode(shell, own) + _requests(own, self._numbers | converted)
        requests += _REPOSITION.encode(relay.host_id(object_id), own, _OWN_TOKEN)
        return requests + _DESTROY_POSITIONER.encode(own)

    def _converted(self, popup: DirectSurface) -> Numbers:
        return _converted(self._numbers, (popup.parent or popup).scale, popup.scale)


_POSITIONERS: FeatureKey[dict[int, _Positioner]] = FeatureKey("positioners", dict)
_SHELLS: FeatureKey[dict[int, int]] = FeatureKey("versions of xdg_wm_base objects", dict)


def install(hooks: Hooks) -> None:
    """Install the hooks of positioners and popups."""
    hooks.on_bind("xdg_wm_base", _bound)
    for interface, surface, shell in (
        ("xdg_positioner", "xdg_surface", "xdg_wm_base"),
        ("zxdg_positioner_v6", "zxdg_surface_v6", "zxdg_shell_v6"),
    ):
        for message in interface_layout(interface).requests:
            if not message.destructor:
                keeper = _keeper(message, is_held=(interface, message.name) in DEFERRED)
                hooks.on_request(interface, message.name, keeper, Phase.REPLACE)
        hooks.on_request(interface, "destroy", _destroy_positioner, Phase.OBSERVE)
        create = _create_positioner(request(shell, "create_positioner"))
        hooks.on_request(shell, "create_positioner", create, Phase.OBSERVE)
        hooks.on_request(surface, "get_popup", _get_popup(request(surface, "get_popup")), Phase.REPLACE)
    hooks.on_request("xdg_popup", "reposition", _reposition, Phase.REPLACE)
    hooks.on_event("xdg_popup", "repositioned", _repositioned, Phase.REPLACE)


def _bound(flow: Flow, name: int, version: int, object_id: int) -> None:
    _SHELLS.of(flow.relay)[object_id] = version


def _create_positioner(message: MessageLayout) -> Hook:
    read_id = message.reader("id")

    def create(flow: Flow, object_id: int, at: int, stop: int) -> None:
        (new,) = read_id(flow.buffer, at)
        _POSITIONERS.of(flow.relay)[new] = _Positioner(object_id)

    return create


def _destroy_positioner(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _POSITIONERS.of(flow.relay).pop(object_id, None)


def _keeper(message: MessageLayout, *, is_held: bool) -> Hook:
    read = message.reader(*message.arguments)

    def keep(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        positioner = _POSITIONERS.of(flow.relay).get(object_id)
        if positioner is not None:
            positioner.numbers[message] = read(flow.buffer, at)
        return b"" if is_held else None

    return keep


def _get_popup(message: MessageLayout) -> Hook:
    read = message.reader("id", "parent", "positioner")

    def get_popup(flow: Flow, object_id: int, at: int, stop: int) -> None:
        known = ATTACHED.of(flow.relay)
        surface = known.get(object_id)
        popup, parent, positioner = read(flow.buffer, at)
        if surface is not None:
            surface.belongs_to(known.get(parent))
            _place(flow, popup, surface, positioner)

    return get_popup


def _reposition(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        (positioner,) = _read_reposition(flow.buffer, at)
        _place(flow, object_id, surface, positioner)


def _repositioned(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    (token,) = _read_repositioned(flow.buffer, at)
    return b"" if token == _OWN_TOKEN else None


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
        KEPT_STATES.of(relay).keep(popup, _REPOSITION.name, surface, placement)
        KEPT_STATES.of(relay).keep(popup, _WITH_PARENT, surface.parent, placement)


def _converted(numbers: Numbers, parent: Scale, popup: Scale) -> Numbers:
    """The lengths of a positioner, in host units."""

    def extent(axis: Conversions) -> Callable[[int], int]:
        # An anchor is no window size, but hosts disconnect a client for an empty one.
        return lambda value: max(1, axis.to_host(value)) if value > 0 else value

    conversions: dict[str, Sequence[Callable[[int], int]]] = {
        "set_size": (popup.x.size_to_host, popup.y.size_to_host),
        "set_anchor_rect": (parent.x.to_host, parent.y.to_host, extent(parent.x), extent(parent.y)),
        "set_offset": (parent.x.to_host, parent.y.to_host),
        "set_parent_size": (parent.x.size_to_host, parent.y.size_to_host),
    }
    return {
        message: tuple(convert(value) for convert, value in zip(conversions[message.name], values, strict=True))
        for message, values in numbers.items()
        if message.name in conversions
    }


def _requests(positioner: int, numbers: Numbers) -> bytes:
    """The requests that set a positioner's numbers on the host."""
    return b"".join(message.encode(positioner, *values) for message, values in numbers.items())

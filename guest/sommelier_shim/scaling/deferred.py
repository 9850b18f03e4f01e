"""Regions and positioners under direct scale: in which units they are is known only when a surface uses them, so
the host hears of their numbers then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sommelier_shim.own_globals import own_globals
from sommelier_shim.relay import Flow, Hook
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Conversions, Scale
from sommelier_shim.scaling.direct import Direct, attached
from sommelier_shim.scaling.surfaces import RECTANGLE
from sommelier_shim.shapes import interface_shape, is_known, naming
from sommelier_shim.translation import TranslatingRelay
from sommelier_shim.wire import INT, NO_MEMORY, UINT, Buffer, WireError, encode

_REGIONS, _POSITIONERS = "regions", "positioners"
_RECTANGLE_LIMIT = 1 << 16
"""Rectangles that the regions of one client may have."""
COMPOSITOR = "wl_compositor"
"""Makes the host's regions for the proxy: the client may have released its own meanwhile."""
_UNCONFIRMED_LIMIT = 1 << 14
"""Rectangles that one client may have the host told of without its answer: twelve bytes that use a region become
as many messages as that has rectangles, which must not hold up the others."""
_CREATE_REGION = 1
_DESTROY_REGION = 0
_SET_SIZE, _SET_ANCHOR_RECT, _SET_OFFSET, _SET_PARENT_SIZE = 1, 2, 6, 8
"""Opcodes of positioners."""

DEFERRED = {("wl_region", "add"), ("wl_region", "subtract")} | {
    (interface, name)
    for interface in ("xdg_positioner", "zxdg_positioner_v6")
    for name in ("set_size", "set_anchor_rect", "set_offset", "set_parent_size")
}


class Regions:
    """The regions of one client: what was added and subtracted, by its numbers."""

    def __init__(self) -> None:
        self.parts: dict[int, list[tuple[int, tuple[int, int, int, int]]]] = {}
        self.count = 0
        self._unconfirmed: dict[int, int] = {}
        self._ahead = 0

    def told(self, relay: TranslatingRelay, own: int, cost: int) -> None:
        """The host hears of a region, which is gone at once.

        :param own: its number.
        :param cost: the messages that it takes.
        :raises WireError: the client is too far ahead of the host.
        """
        self._ahead += cost - self._unconfirmed.get(own, 0)
        self._unconfirmed[own] = cost
        if self._ahead > _UNCONFIRMED_LIMIT:
            gone, theirs = relay.routes.silent("wl_region"), relay.events.objects
            live = {one: known for one, known in self._unconfirmed.items() if theirs.get(one) is gone}
            self._unconfirmed = live | {own: cost}
            self._ahead = sum(self._unconfirmed.values())
        if self._ahead > _UNCONFIRMED_LIMIT:
            raise WireError(f"more than {_UNCONFIRMED_LIMIT} rectangles in use without an answer", NO_MEMORY)


def install(hooks: Hooks, space: Direct) -> None:
    """Hold regions and positioners back."""
    hooks.on_request(COMPOSITOR, "create_region", _create_region)
    hooks.on_request("wl_region", "destroy", _destroy_region)
    region = interface_shape("wl_region")
    for name in ("add", "subtract"):
        hooks.on_request("wl_region", name, _part_keeper(region.request(name)))
    surfaces = {(interface, message.name): at for interface, message, at in naming("wl_surface", requests=True)}
    for interface, message, named in naming("wl_region", requests=True):
        hooks.on_request(
            interface, message.name, _region_user(space, named, surfaces.get((interface, message.name), 0))
        )
    for interface, surface in (("xdg_positioner", "xdg_surface"), ("zxdg_positioner_v6", "zxdg_surface_v6")):
        if not is_known(interface):
            continue
        shape = interface_shape(interface)
        for message in shape.requests:
            if (interface, message.name) in DEFERRED:
                hooks.on_request(interface, message.name, _keeper(shape.request(message.name)))
        hooks.on_request(interface, "destroy", _destroy_positioner)
        hooks.on_request(surface, "get_popup", _get_popup)
    hooks.on_request("xdg_popup", "reposition", _reposition)


def _regions(flow: Flow) -> Regions:
    found = flow.relay.features.get(_REGIONS)
    if found is None:
        found = flow.relay.features[_REGIONS] = Regions()
    assert isinstance(found, Regions)
    return found


def _create_region(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay, regions = flow.relay, _regions(flow)
    assert isinstance(relay, TranslatingRelay)
    new = UINT.unpack_from(flow.buffer, at + 8)[0]
    relay.add_virtual(new, "wl_region")
    regions.parts[new] = []
    return b""


def _destroy_region(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay, regions = flow.relay, _regions(flow)
    assert isinstance(relay, TranslatingRelay)
    regions.count -= len(regions.parts.pop(object_id, ()))
    relay.remove_virtual(object_id)
    return b""


def _part_keeper(opcode: int) -> Hook:
    def keep(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        regions = _regions(flow)
        if regions.count >= _RECTANGLE_LIMIT:
            raise WireError(f"more than {_RECTANGLE_LIMIT} rectangles in regions", NO_MEMORY)
        regions.count += 1
        regions.parts[object_id].append((opcode, RECTANGLE.unpack_from(flow.buffer, at + 8)))
        return b""

    return keep


def _region_user(space: Direct, named: int, surface: int) -> Hook:
    """A message that uses a region gets one of the host's, which exists for it alone.

    :param surface: offset of the surface in whose units the region is; 0 where it is the message's own object's.
    """

    def use(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        relay, regions = flow.relay, _regions(flow)
        assert isinstance(relay, TranslatingRelay)
        region = UINT.unpack_from(flow.buffer, at + named)[0]
        compositor = own_globals(flow).bound.get(COMPOSITOR, 0)
        if region not in regions.parts or not compositor:
            return None
        scale = space.scale_of(relay, UINT.unpack_from(flow.buffer, at + surface)[0] if surface else object_id)
        own = relay.own("wl_region")
        regions.told(relay, own, len(regions.parts[region]) + 1)
        flow.before += encode(compositor, _CREATE_REGION, "n", own)
        for opcode, rectangle in regions.parts[region]:
            flow.before += encode(own, opcode, "iiii", *scale.rectangle(*rectangle))
        relay.host_ids[region] = own

        def forget() -> bytes:
            del relay.host_ids[region]
            relay.disown(own, "wl_region")
            return encode(own, _DESTROY_REGION)

        flow.later = forget
        return None

    return use


def _positioners(flow: Flow) -> dict[int, dict[int, list[int]]]:
    found: dict[int, dict[int, list[int]]] = flow.relay.features.setdefault(_POSITIONERS, {})
    return found


def _keeper(opcode: int) -> Hook:
    def keep(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        numbers = [INT.unpack_from(flow.buffer, offset)[0] for offset in range(at + 8, stop - 3, 4)]
        _positioners(flow).setdefault(object_id, {})[opcode] = numbers[:4]
        return b""

    return keep


def _destroy_positioner(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _positioners(flow).pop(object_id, None)


def _get_popup(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = attached(flow.relay)
    surface = known.get(object_id)
    parent, positioner = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (12, 16))
    if surface is not None:
        surface.belongs_to(known.get(parent))
        flow.before += _numbers(flow, positioner, (surface.parent or surface).scale, surface.scale)


def _reposition(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = attached(flow.relay).get(object_id)
    positioner = UINT.unpack_from(flow.buffer, at + 8)[0]
    if surface is not None:
        flow.before += _numbers(flow, positioner, (surface.parent or surface).scale, surface.scale)


def _numbers(flow: Flow, positioner: int, parent: Scale, popup: Scale) -> bytes:
    """What a positioner was told, in the units of a window and of a popup of it."""
    host_id = flow.relay.host_id(positioner)

    def extent(axis: Conversions) -> Callable[[int], int]:
        # No size of a window's, but hosts end the connection for an anchor that is nothing.
        return lambda value: max(1, axis.to_host(value)) if value > 0 else value

    conversions: dict[int, Sequence[Callable[[int], int]]] = {
        _SET_SIZE: (popup.x.size_to_host, popup.y.size_to_host),
        _SET_ANCHOR_RECT: (parent.x.to_host, parent.y.to_host, extent(parent.x), extent(parent.y)),
        _SET_OFFSET: (parent.x.to_host, parent.y.to_host),
        _SET_PARENT_SIZE: (parent.x.size_to_host, parent.y.size_to_host),
    }
    said = b""
    for opcode, numbers in _positioners(flow).get(positioner, {}).items():
        converted = [convert(number) for convert, number in zip(conversions[opcode], numbers, strict=True)]
        said += encode(host_id, opcode, "i" * len(numbers), *converted)
    return said

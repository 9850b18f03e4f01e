"""Regions under direct scale: a region's units are known only when a surface uses the region. The proxy holds the
rectangles back and creates a region on the host for each use."""

from __future__ import annotations

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, messages_with, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.translation import TranslatingRelay, translating
from sommelier_shim.core.wire import NO_MEMORY, Buffer, WireError
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.features.scaling.arithmetic import Scale
from sommelier_shim.features.scaling.direct import ATTACHED, PerOutputScale
from sommelier_shim.features.scaling.kept_state import KEPT_STATES

RegionParts = tuple[tuple[MessageLayout, tuple[int, ...]], ...]
"""The requests of a region: ``add`` or ``subtract``, and a rectangle in client units."""
_RECTANGLE_LIMIT = 1 << 16
"""Maximum number of rectangles in all regions of one client."""
COMPOSITOR = "wl_compositor"
"""The proxy's own wl_compositor creates the host regions, because the client may have released its own."""
_UNCONFIRMED_LIMIT = 1 << 14
"""Maximum number of rectangles of one client in host regions that the host has not yet deleted. A 12-byte request
that uses a region becomes one message per rectangle, and this must not delay other clients."""
_CREATE_REGION = request(COMPOSITOR, "create_region")
_DESTROY_REGION = request("wl_region", "destroy")
_read_create_region = _CREATE_REGION.reader("id")
DEFERRED = {("wl_region", "add"), ("wl_region", "subtract")}
USING = {
    "ext_background_effect_surface_v1",
    "wl_surface",
    "zwp_confined_pointer_v1",
    "zwp_locked_pointer_v1",
}
"""Interfaces whose objects keep a region as state."""


class Regions:
    """The regions of one client: added and subtracted rectangles by client id."""

    def __init__(self) -> None:
        self.parts: dict[int, list[tuple[MessageLayout, tuple[int, ...]]]] = {}
        self.count = 0
        self._unconfirmed: dict[int, int] = {}
        self._unconfirmed_total = 0

    def count_host_region(self, relay: TranslatingRelay, own: int, cost: int) -> None:
        """Count a host region, which the proxy creates for one use and destroys at once.

        :param own: host id of the region.
        :param cost: number of messages that create the region.
        :raises WireError: the client is too far ahead of the host.
        """
        self._unconfirmed_total += cost - self._unconfirmed.get(own, 0)
        self._unconfirmed[own] = cost
        if self._unconfirmed_total > _UNCONFIRMED_LIMIT:
            gone, theirs = relay.routes.dropped("wl_region"), relay.events.objects
            live = {one: known for one, known in self._unconfirmed.items() if theirs.get(one) is gone}
            self._unconfirmed = live | {own: cost}
            self._unconfirmed_total = sum(self._unconfirmed.values())
        if self._unconfirmed_total > _UNCONFIRMED_LIMIT:
            raise WireError(f"more than {_UNCONFIRMED_LIMIT} rectangles in use without an answer", NO_MEMORY)


_REGIONS = FeatureKey("regions", Regions)


def install(hooks: Hooks, space: PerOutputScale) -> None:
    """Install the hooks of regions."""
    hooks.on_request(COMPOSITOR, "create_region", _create_region, Phase.REPLACE)
    hooks.on_request("wl_region", "destroy", _destroy_region, Phase.REPLACE)
    for name in ("add", "subtract"):
        hooks.on_request("wl_region", name, _part_keeper(request("wl_region", name)), Phase.REPLACE)
    for message, region in messages_with("wl_region", is_request=True):
        hooks.on_request(message.interface, message.name, _region_user(space, message, region), Phase.REPLACE)


def _create_region(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay, regions = translating(flow.relay), _REGIONS.of(flow.relay)
    (new,) = _read_create_region(flow.buffer, at)
    relay.add_virtual(new, "wl_region")
    regions.parts[new] = []
    return b""


def _destroy_region(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay, regions = translating(flow.relay), _REGIONS.of(flow.relay)
    regions.count -= len(regions.parts.pop(object_id, ()))
    relay.remove_virtual(object_id)
    return b""


def _part_keeper(message: MessageLayout) -> Hook:
    read_rectangle = message.reader("x", "y", "width", "height")

    def keep(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        regions = _REGIONS.of(flow.relay)
        if regions.count >= _RECTANGLE_LIMIT:
            raise WireError(f"more than {_RECTANGLE_LIMIT} rectangles in regions", NO_MEMORY)
        regions.count += 1
        regions.parts[object_id].append((message, read_rectangle(flow.buffer, at)))
        return b""

    return keep


def host_region(relay: Relay, compositor: int, parts: RegionParts, scale: Scale) -> tuple[int, bytes]:
    """A region of the proxy's own on the host.

    :returns: its host id, and the requests that create it.
    :raises WireError: the client is too far ahead of the host.
    """
    own = translating(relay).add_own("wl_region")
    _REGIONS.of(relay).count_host_region(translating(relay), own, len(parts) + 1)
    requests = _CREATE_REGION.encode(compositor, own)
    for message, (x, y, width, height) in parts:
        requests += message.encode(own, *scale.rectangle(x, y, width, height))
    return own, requests


class _UsedRegion:
    """The last request that sets a region of an object, for instance ``set_opaque_region``: the host keeps it.

    :param message: a request whose only argument is the region.
    """

    def __init__(self, message: MessageLayout, compositor: int, parts: RegionParts, scale: Scale) -> None:
        self._message = message
        self._compositor = compositor
        self._parts = parts
        self._sent = self._rectangles(scale)

    def resend(self, relay: Relay, object_id: int, scale: Scale) -> bytes:
        """See :class:`~sommelier_shim.features.scaling.kept_state.KeptState`."""
        rectangles = self._rectangles(scale)
        if rectangles == self._sent:
            return b""
        self._sent = rectangles
        own, requests = host_region(relay, self._compositor, self._parts, scale)
        translating(relay).disown(own, "wl_region")
        requests += self._message.encode(relay.host_id(object_id), own)
        return requests + _DESTROY_REGION.encode(own)

    def _rectangles(self, scale: Scale) -> list[tuple[int, int, int, int]]:
        return [scale.rectangle(x, y, width, height) for _, (x, y, width, height) in self._parts]


def _region_user(space: PerOutputScale, message: MessageLayout, region_argument: str) -> Hook:
    """The hook of a request that uses a region: it creates a host region for this request alone."""
    read_region = message.reader(region_argument)
    read_new = read_surface = None
    set_again = message
    if message.new:
        # A pointer constraint: later the client can set another region on the object that the request creates.
        read_new = message.reader("id")
        set_again = request(message.new[0].interface, "set_region")
    surface_argument = message.argument_of("wl_surface")
    if surface_argument:  # otherwise the region is in the units of the message's own object
        read_surface = message.reader(surface_argument)

    def use(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        relay, regions = translating(flow.relay), _REGIONS.of(flow.relay)
        (region,) = read_region(flow.buffer, at)
        (holder,) = read_new(flow.buffer, at) if read_new is not None else (object_id,)
        (about,) = read_surface(flow.buffer, at) if read_surface is not None else (object_id,)
        compositor = OWN_GLOBALS.of(flow.relay).bound.get(COMPOSITOR, 0)
        if region not in regions.parts or not compositor:
            KEPT_STATES.of(relay).forget_request(holder, set_again.name)
            return None
        scale = space.scale_of(relay, about)
        parts = tuple(regions.parts[region])
        own, requests = host_region(relay, compositor, parts, scale)
        flow.prefix += requests
        used = _UsedRegion(set_again, compositor, parts, scale)
        KEPT_STATES.of(relay).keep(holder, set_again.name, ATTACHED.of(relay).get(about), used)
        relay.host_ids[region] = own

        def forget() -> bytes:
            del relay.host_ids[region]
            relay.disown(own, "wl_region")
            return _DESTROY_REGION.encode(own)

        flow.deferred_suffix = forget
        return None

    return use

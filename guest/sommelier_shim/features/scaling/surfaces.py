"""Surfaces under scaling: the proxy's own viewport on each surface sets its size on the host
(chromeos-sommelier.md §3.5).

A surface can have only one viewport, so a client's viewport has no counterpart on the host; the proxy merges its
source and destination into its own viewport.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import event, request
from sommelier_shim.core.relay import Flow, Relay
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import INVALID_OBJECT, Buffer, WireError
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.features.scaling import buffers
from sommelier_shim.features.scaling.arithmetic import Scale, clamped
from sommelier_shim.features.scaling.outputs import MOST_SCALE

_FIXED_ONE = 256
"""1 in 24.8 fixed point."""
_UNSET = -_FIXED_ONE
_VIEWPORT_EXISTS = 0
"""Error code of wp_viewporter."""
_BAD_VALUE, _NO_SURFACE = 0, 3
"""Error codes of wp_viewport."""
_ROTATED = (1, 3, 5, 7)
"""wl_output.transform values that swap width and height."""

_SET_BUFFER_SCALE = request("wl_surface", "set_buffer_scale")
_GET_VIEWPORT = request("wp_viewporter", "get_viewport")
_SET_SOURCE = request("wp_viewport", "set_source")
_SET_DESTINATION = request("wp_viewport", "set_destination")
_DESTROY_VIEWPORT = request("wp_viewport", "destroy")
_read_create_surface = request("wl_compositor", "create_surface").reader("id")
_read_attach = request("wl_surface", "attach").reader("buffer")
_read_transform = request("wl_surface", "set_buffer_transform").reader("transform")
_read_buffer_scale, _write_buffer_scale = _SET_BUFFER_SCALE.reader("scale"), _SET_BUFFER_SCALE.writer("scale")
_read_get_viewport = _GET_VIEWPORT.reader("id", "surface")
_read_source = _SET_SOURCE.reader("x", "y", "width", "height")
_read_destination = _SET_DESTINATION.reader("width", "height")
_read_damage = request("wl_surface", "damage").reader("x", "y", "width", "height")
_write_damage = request("wl_surface", "damage").writer("x", "y", "width", "height")
_read_preferred_scale = event("wp_fractional_scale_v1", "preferred_scale").reader("scale")
_write_preferred_scale = event("wp_fractional_scale_v1", "preferred_scale").writer("scale")
_read_preferred_buffer_scale = event("wl_surface", "preferred_buffer_scale").reader("factor")
_write_preferred_buffer_scale = event("wl_surface", "preferred_buffer_scale").writer("factor")


class Surface:
    """The state that determines a surface's size on the host.

    :ivar scale: the conversions of numbers inside the surface.
    :ivar contents: width and height of the attached buffer in pixels; None without a buffer.
    :ivar source: source rectangle of the client's viewport, raw 24.8 numbers; :ivar destination: its destination.
    :ivar viewport: client id of the client's viewport, 0 without; :ivar host_viewport: host id of the proxy's.
    :ivar sent: source and destination that the host got last.
    """

    __slots__ = (
        "buffer_scale",
        "contents",
        "destination",
        "host_viewport",
        "scale",
        "sent",
        "source",
        "transform",
        "viewport",
    )

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.contents: tuple[int, int] | None = None
        self.buffer_scale = 1
        self.transform = 0
        self.source: tuple[int, int, int, int] | None = None
        self.destination: tuple[int, int] | None = None
        self.viewport = 0
        self.host_viewport = 0
        self.sent: tuple[object, object] = (None, None)

    def shown_size(self) -> tuple[int, int] | None:
        """The size in host units, or None without a buffer."""
        if self.contents is None:
            return None
        scale = self.scale
        if self.destination is not None:
            width, height = self.destination
            return scale.x.destination(width), scale.y.destination(height)
        if self.source is not None:
            # The source is in surface units, after the buffer scale.
            _, _, width, height = self.source
            return scale.x.destination(width // _FIXED_ONE), scale.y.destination(height // _FIXED_ONE)
        width, height = self.contents if self.transform not in _ROTATED else self.contents[::-1]
        return scale.x.destination(width, self.buffer_scale), scale.y.destination(height, self.buffer_scale)

    def destroyed(self) -> None:
        """Called when the client has destroyed the surface."""


SURFACES: FeatureKey[dict[int, Surface]] = FeatureKey("surfaces", dict)
"""A client's surfaces by client id."""
VIEWPORTS: FeatureKey[dict[int, int]] = FeatureKey("viewports", dict)
"""Client id of the surface by client id of the client's viewport."""


class KeptRequest(NamedTuple):
    """A request whose numbers the host keeps.

    :ivar object_id: client id of its object; :ivar name: its name.
    :ivar request: the request as the client sent it; :ivar sent: the same with the numbers that the host got.
    :ivar about_offset: offset of an object id among the arguments, 0 if there is none.
    :ivar convert: ``convert(scale, buffer, at)`` converts the numbers of the request at ``at`` in place.
    """

    object_id: int
    name: str
    request: bytes
    sent: bytes
    about_offset: int
    convert: Callable[[Scale, bytearray, int], None]


Keeper: TypeAlias = Callable[[Relay, int, KeptRequest], None]
"""``keep(relay, about, request)``: keep a request to send it again when the scale of the object ``about`` changes,
see :mod:`~sommelier_shim.features.scaling.kept_state`."""


class CoordinateSpace(Protocol):
    """The relation between client units and host units.

    :ivar keep: called with requests whose numbers the host keeps; None if ratios never change.
    """

    @property
    def keep(self) -> Keeper | None: ...

    def new_surface(self, relay: Relay, object_id: int) -> Surface:
        """The state of a surface that a client creates."""

    def scale_of(self, relay: Relay, object_id: int) -> Scale:
        """The conversions for messages about a client object."""

    def fraction(self, preferred: int) -> int:
        """The fractional scale for clients, in 120ths, from the host's preferred one."""

    def buffer_scale(self, preferred: int) -> int:
        """The buffer scale for clients, from the host's preferred one."""


class UniformScale:
    """One scale for everything."""

    keep = None

    def __init__(self, factor: float, *, stable: bool) -> None:
        self.factor = factor
        self.scale = Scale.by(factor, stable=stable)

    def new_surface(self, relay: Relay, object_id: int) -> Surface:
        """See :class:`CoordinateSpace`."""
        return Surface(self.scale)

    def scale_of(self, relay: Relay, object_id: int) -> Scale:
        """See :class:`CoordinateSpace`."""
        return self.scale

    def fraction(self, preferred: int) -> int:
        """See :class:`CoordinateSpace`."""
        return max(1, clamped(round(preferred / self.factor)))

    def buffer_scale(self, preferred: int) -> int:
        """See :class:`CoordinateSpace`."""
        return max(1, min(MOST_SCALE, math.ceil(preferred / self.factor)))


def install(hooks: Hooks, space: CoordinateSpace) -> None:
    """Install the hooks of surfaces for a host with viewports."""

    def create_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (new,) = _read_create_surface(flow.buffer, at)
        SURFACES.of(flow.relay)[new] = space.new_surface(flow.relay, new)
        return None

    _install_common(hooks, space)
    buffers.install(hooks)
    hooks.on_request("wl_compositor", "create_surface", create_surface, Phase.OBSERVE)
    hooks.on_request("wl_surface", "set_buffer_scale", _set_buffer_scale, Phase.OBSERVE)
    hooks.on_request("wl_surface", "attach", _attach, Phase.OBSERVE)
    hooks.on_request("wl_surface", "set_buffer_transform", _set_buffer_transform, Phase.OBSERVE)
    hooks.on_request("wl_surface", "commit", _commit, Phase.REPLACE)
    hooks.on_request("wl_surface", "destroy", _destroy_surface, Phase.OBSERVE)
    hooks.on_request("wp_viewporter", "get_viewport", _get_viewport, Phase.REPLACE)
    hooks.on_request("wp_viewport", "set_source", _set_source, Phase.REPLACE)
    hooks.on_request("wp_viewport", "set_destination", _set_destination, Phase.REPLACE)
    hooks.on_request("wp_viewport", "destroy", _destroy_viewport, Phase.REPLACE)


def install_without_viewports(hooks: Hooks, space: UniformScale) -> None:
    """Install the hooks of surfaces for a host without viewports: they multiply buffer scales by a whole factor."""
    factor = int(space.factor)

    def create_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (new,) = _read_create_surface(flow.buffer, at)
        flow.deferred_suffix = lambda: _SET_BUFFER_SCALE.encode(flow.relay.host_id(new), factor)
        return None

    def set_buffer_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (wanted,) = _read_buffer_scale(flow.buffer, at)
        _write_buffer_scale(flow.buffer, at, max(-1, min(1000, wanted * factor)))
        return None

    _install_common(hooks, space)
    hooks.on_request("wl_surface", "set_buffer_scale", set_buffer_scale, Phase.CONVERT)
    hooks.on_request("wl_compositor", "create_surface", create_surface, Phase.OBSERVE)


def _install_common(hooks: Hooks, space: CoordinateSpace) -> None:
    def damage(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = flow.buffer
        x, y, width, height = _read_damage(buffer, at)
        scale = space.scale_of(flow.relay, object_id)
        left, right = scale.x.damage(x, x + width)
        top, bottom = scale.y.damage(y, y + height)
        _write_damage(buffer, at, left, top, clamped(right - left), clamped(bottom - top))
        return None

    def preferred_fraction(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (preferred,) = _read_preferred_scale(flow.buffer, at)
        _write_preferred_scale(flow.buffer, at, space.fraction(preferred))
        return None

    def preferred_buffer_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        (preferred,) = _read_preferred_buffer_scale(flow.buffer, at)
        _write_preferred_buffer_scale(flow.buffer, at, space.buffer_scale(preferred))
        return None

    hooks.on_request("wl_surface", "damage", damage, Phase.CONVERT)
    hooks.on_event("wp_fractional_scale_v1", "preferred_scale", preferred_fraction, Phase.CONVERT)
    hooks.on_event("wl_surface", "preferred_buffer_scale", preferred_buffer_scale, Phase.CONVERT)


def viewport_requests(flow: Flow, surface_id: int, surface: Surface) -> bytes:
    """The viewport requests to send before a commit so that the host shows the surface in the right size."""
    relay = translating(flow.relay)
    viewporter = OWN_GLOBALS.of(flow.relay).bound.get("wp_viewporter", 0)
    size = surface.shown_size()
    if size is None or not viewporter:
        return b""
    sent = b""
    if not surface.host_viewport:
        surface.host_viewport = relay.add_own("wp_viewport")
        sent += _GET_VIEWPORT.encode(viewporter, surface.host_viewport, relay.host_id(surface_id))
    told_source, told_size = surface.sent
    if surface.source != told_source:
        source = surface.source or (_UNSET,) * 4
        sent += _SET_SOURCE.encode(surface.host_viewport, *(value / _FIXED_ONE for value in source))
    if size != told_size:
        sent += _SET_DESTINATION.encode(surface.host_viewport, *size)
    surface.sent = (surface.source, size)
    return sent


def _commit(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = SURFACES.of(flow.relay).get(object_id)
    if surface is not None:
        flow.prefix += viewport_requests(flow, object_id, surface)
    return None


def _set_buffer_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    (wanted,) = _read_buffer_scale(flow.buffer, at)
    surface = SURFACES.of(flow.relay).get(object_id)
    if surface is not None and wanted > 0:
        surface.buffer_scale = wanted
    return None


def _attach(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = SURFACES.of(flow.relay).get(object_id)
    if surface is not None:
        (buffer,) = _read_attach(flow.buffer, at)
        surface.contents = buffers.size_of(flow.relay, buffer) if buffer else None
    return None


def _set_buffer_transform(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = SURFACES.of(flow.relay).get(object_id)
    if surface is not None:
        (surface.transform,) = _read_transform(flow.buffer, at)
    return None


def _destroy_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = SURFACES.of(flow.relay).pop(object_id, None)
    if surface is None:
        return None
    surface.destroyed()
    if surface.host_viewport:
        flow.prefix += _DESTROY_VIEWPORT.encode(surface.host_viewport)
        translating(flow.relay).disown(surface.host_viewport, "wp_viewport")
    return None


def _get_viewport(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay = translating(flow.relay)
    new, surface_id = _read_get_viewport(flow.buffer, at)
    surface = SURFACES.of(relay).get(surface_id)
    if surface is None:
        raise WireError(f"invalid object {surface_id} in get_viewport of object {object_id}", INVALID_OBJECT)
    if surface.viewport:
        raise WireError(f"surface {surface_id} has a viewport already", _VIEWPORT_EXISTS, object_id)
    relay.add_virtual(new, "wp_viewport")
    surface.viewport = new
    VIEWPORTS.of(relay)[new] = surface_id
    return b""


def _surface_of(flow: Flow, viewport: int) -> Surface:
    surface = SURFACES.of(flow.relay).get(VIEWPORTS.of(flow.relay).get(viewport, 0))
    if surface is None or surface.viewport != viewport:
        raise WireError(f"the surface of viewport {viewport} is gone", _NO_SURFACE, viewport)
    return surface


def _set_source(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    x, y, width, height = _read_source(flow.buffer, at)
    unset = (x, y, width, height) == (_UNSET,) * 4
    if not unset and (x < 0 or y < 0 or width <= 0 or height <= 0):
        raise WireError(f"invalid source of viewport {object_id}", _BAD_VALUE, object_id)
    _surface_of(flow, object_id).source = None if unset else (x, y, width, height)
    return b""


def _set_destination(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    width, height = _read_destination(flow.buffer, at)
    unset = (width, height) == (-1, -1)
    if not unset and (width <= 0 or height <= 0):
        raise WireError(f"invalid destination of viewport {object_id}", _BAD_VALUE, object_id)
    _surface_of(flow, object_id).destination = None if unset else (width, height)
    return b""


def _destroy_viewport(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay = translating(flow.relay)
    surface = SURFACES.of(relay).get(VIEWPORTS.of(relay).pop(object_id, 0))
    if surface is not None and surface.viewport == object_id:
        surface.viewport = 0
        surface.source = surface.destination = None
    relay.remove_virtual(object_id)
    return b""

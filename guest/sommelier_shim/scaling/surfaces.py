"""Surfaces under scaling: the proxy's own viewport on each says how large the host shows it (sommelier.md §3.5).

A client's viewport is an object that the host never hears of, because a surface can have one viewport only; its
source and destination are merged into the proxy's.
"""

from __future__ import annotations

from sommelier_shim.own_globals import own_globals
from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Scale, clamped
from sommelier_shim.shapes import is_known
from sommelier_shim.translation import TranslatingRelay
from sommelier_shim.wire import INT, INVALID_OBJECT, UINT, Buffer, WireError, encode

_SET_BUFFER_SCALE = 8
"""Opcode of wl_surface.set_buffer_scale."""
_UNSET = -256
"""-1 in 24.8 fixed point."""
_VIEWPORT_EXISTS = 0
"""Error code of wp_viewporter."""
_BAD_VALUE, _NO_SURFACE = 0, 3
"""Error codes of wp_viewport."""
_SURFACES, _BUFFERS, _VIEWPORTS = "surfaces", "buffers", "viewports"
_ROTATED = (1, 3, 5, 7)
"""wl_output.transform values that swap width and height."""

_BUFFER_REQUESTS = {
    ("wl_shm_pool", "create_buffer"): (8, 16),
    ("zwp_linux_buffer_params_v1", "create_immed"): (8, 12),
    ("wl_drm", "create_buffer"): (8, 16),
    ("wl_drm", "create_planar_buffer"): (8, 16),
    ("wl_drm", "create_prime_buffer"): (8, 12),
}
"""Requests that make a buffer: the offsets of its id and of its width, which the height follows. A prime buffer's
name is a descriptor and takes no bytes."""


class Surface:
    """What decides how large a surface is shown.

    :ivar contents: width and height of the attached buffer in pixels; None without one.
    :ivar source: of the client's viewport, raw fixed-point numbers; :ivar destination: of it.
    :ivar sent: what the host was told last: source and destination.
    """

    __slots__ = (
        "buffer_scale",
        "contents",
        "destination",
        "host_viewport",
        "sent",
        "source",
        "transform",
        "viewport",
    )

    def __init__(self) -> None:
        self.contents: tuple[int, int] | None = None
        self.buffer_scale = 1
        self.transform = 0
        self.source: tuple[int, int, int, int] | None = None
        self.destination: tuple[int, int] | None = None
        self.viewport = 0
        self.host_viewport = 0
        self.sent: tuple[object, object] = (None, None)

    def shown_size(self, scale: Scale) -> tuple[int, int] | None:
        """The size for the host, or None where nothing is shown."""
        if self.contents is None:
            return None
        if self.destination is not None:
            width, height = self.destination
            return scale.destination(width), scale.destination(height)
        if self.source is not None:
            # A source is in the surface's units already.
            return scale.destination(self.source[2] // 256), scale.destination(self.source[3] // 256)
        width, height = self.contents if self.transform not in _ROTATED else self.contents[::-1]
        return scale.destination(width, self.buffer_scale), scale.destination(height, self.buffer_scale)


def install(hooks: Hooks, scale: Scale, *, has_viewporter: bool) -> None:
    """Scale surfaces.

    :param has_viewporter: whether the host has viewports; a whole buffer scale must do where it has none.
    """

    def create_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        _surfaces(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = Surface()
        return None

    def damage(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = flow.buffer
        x, y, width, height = (INT.unpack_from(buffer, at + offset)[0] for offset in (8, 12, 16, 20))
        left, right = scale.damage(x, x + width)
        top, bottom = scale.damage(y, y + height)
        for offset, value in ((8, left), (12, top), (16, right - left), (20, bottom - top)):
            INT.pack_into(buffer, at + offset, clamped(value))
        return None

    def rectangle(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = flow.buffer
        x, y, width, height = (INT.unpack_from(buffer, at + offset)[0] for offset in (8, 12, 16, 20))
        left, top = scale.to_host(x), scale.to_host(y)
        right, bottom = scale.to_host(x + width), scale.to_host(y + height)
        for offset, value in ((8, left), (12, top), (16, right - left), (20, bottom - top)):
            INT.pack_into(buffer, at + offset, clamped(value))
        return None

    def commit(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        surface = _surfaces(flow.relay).get(object_id)
        if surface is not None:
            flow.before += _viewport_requests(flow, object_id, surface, scale)
        return None

    def set_buffer_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        wanted = INT.unpack_from(flow.buffer, at + 8)[0]
        surface = _surfaces(flow.relay).get(object_id)
        if surface is not None and wanted > 0:
            surface.buffer_scale = wanted
        if not has_viewporter:
            INT.pack_into(flow.buffer, at + 8, max(-1, min(1000, wanted * int(scale.factor))))
        return None

    def create_without_viewports(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        new = UINT.unpack_from(flow.buffer, at + 8)[0]
        flow.later = lambda: encode(flow.relay.host_id(new), _SET_BUFFER_SCALE, "i", int(scale.factor))
        return None

    hooks.on_request("wl_region", "add", rectangle)
    hooks.on_request("wl_region", "subtract", rectangle)
    hooks.on_request("wl_compositor", "create_surface", create_surface)
    hooks.on_request("wl_surface", "set_buffer_scale", set_buffer_scale)
    hooks.on_request("wl_surface", "damage", damage)
    if not has_viewporter:
        if int(scale.factor) > 1:
            hooks.on_request("wl_compositor", "create_surface", create_without_viewports)
        return
    hooks.on_request("wl_surface", "attach", _attach)
    hooks.on_request("wl_surface", "set_buffer_transform", _set_buffer_transform)
    hooks.on_request("wl_surface", "commit", commit)
    hooks.on_request("wl_surface", "destroy", _destroy_surface)
    hooks.on_request("wp_viewporter", "get_viewport", _get_viewport)
    hooks.on_request("wp_viewport", "set_source", _set_source)
    hooks.on_request("wp_viewport", "set_destination", _set_destination)
    hooks.on_request("wp_viewport", "destroy", _destroy_viewport)
    for (interface, name), (new, width) in _BUFFER_REQUESTS.items():
        if is_known(interface):
            hooks.on_request(interface, name, _buffer_recorder(new, width))
    if is_known("wp_single_pixel_buffer_manager_v1"):
        hooks.on_request("wp_single_pixel_buffer_manager_v1", "create_u32_rgba_buffer", _single_pixel)
    hooks.on_request("wl_buffer", "destroy", _destroy_buffer)
    if is_known("zwp_linux_buffer_params_v1"):
        hooks.on_request("zwp_linux_buffer_params_v1", "create", _params_create)
        hooks.on_event("zwp_linux_buffer_params_v1", "created", _params_created)


def _surfaces(relay: Relay) -> dict[int, Surface]:
    found: dict[int, Surface] = relay.features.setdefault(_SURFACES, {})
    return found


def _buffers(relay: Relay) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = relay.features.setdefault(_BUFFERS, {})
    return found


def _viewports(relay: Relay) -> dict[int, int]:
    found: dict[int, int] = relay.features.setdefault(_VIEWPORTS, {})
    return found


def _viewport_requests(flow: Flow, surface_id: int, surface: Surface, scale: Scale) -> bytes:
    """What must precede a commit so that the host shows the surface in the right size."""
    relay = flow.relay
    assert isinstance(relay, TranslatingRelay)
    viewporter = own_globals(flow).bound.get("wp_viewporter", 0)
    size = surface.shown_size(scale)
    if size is None or not viewporter:
        return b""
    sent = b""
    if not surface.host_viewport:
        surface.host_viewport = relay.own("wp_viewport")
        sent += encode(viewporter, 1, "no", surface.host_viewport, relay.host_id(surface_id))
    told_source, told_size = surface.sent
    if surface.source != told_source:
        values = surface.source or (_UNSET,) * 4
        sent += encode(surface.host_viewport, 1, "iiii", *values)
    if size != told_size:
        sent += encode(surface.host_viewport, 2, "ii", *size)
    surface.sent = (surface.source, size)
    return sent


def _attach(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = _surfaces(flow.relay).get(object_id)
    if surface is not None:
        buffer = UINT.unpack_from(flow.buffer, at + 8)[0]
        surface.contents = _buffers(flow.relay).get(buffer) if buffer else None
    return None


def _set_buffer_transform(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = _surfaces(flow.relay).get(object_id)
    if surface is not None:
        surface.transform = INT.unpack_from(flow.buffer, at + 8)[0]
    return None


def _destroy_surface(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = _surfaces(flow.relay).pop(object_id, None)
    if surface is not None and surface.host_viewport:
        relay = flow.relay
        assert isinstance(relay, TranslatingRelay)
        flow.before += encode(surface.host_viewport, 0)
        relay.disown(surface.host_viewport, "wp_viewport")
    return None


def _get_viewport(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay = flow.relay
    assert isinstance(relay, TranslatingRelay)
    new, surface_id = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12))
    surface = _surfaces(relay).get(surface_id)
    if surface is None:
        raise WireError(f"invalid object {surface_id} in get_viewport of object {object_id}", INVALID_OBJECT)
    if surface.viewport:
        raise WireError(f"surface {surface_id} has a viewport already", _VIEWPORT_EXISTS, object_id)
    relay.add_virtual(new, "wp_viewport")
    surface.viewport = new
    _viewports(relay)[new] = surface_id
    return b""


def _surface_of(flow: Flow, viewport: int) -> Surface:
    surface = _surfaces(flow.relay).get(_viewports(flow.relay).get(viewport, 0))
    if surface is None or surface.viewport != viewport:
        raise WireError(f"the surface of viewport {viewport} is gone", _NO_SURFACE, viewport)
    return surface


def _set_source(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    x, y, width, height = (INT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12, 16, 20))
    unset = (x, y, width, height) == (_UNSET,) * 4
    if not unset and (x < 0 or y < 0 or width <= 0 or height <= 0):
        raise WireError(f"invalid source of viewport {object_id}", _BAD_VALUE, object_id)
    _surface_of(flow, object_id).source = None if unset else (x, y, width, height)
    return b""


def _set_destination(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    width, height = (INT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12))
    unset = (width, height) == (-1, -1)
    if not unset and (width <= 0 or height <= 0):
        raise WireError(f"invalid destination of viewport {object_id}", _BAD_VALUE, object_id)
    _surface_of(flow, object_id).destination = None if unset else (width, height)
    return b""


def _destroy_viewport(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    relay = flow.relay
    assert isinstance(relay, TranslatingRelay)
    surface = _surfaces(relay).get(_viewports(relay).pop(object_id, 0))
    if surface is not None and surface.viewport == object_id:
        surface.viewport = 0
        surface.source = surface.destination = None
    relay.remove_virtual(object_id)
    return b""


def _buffer_recorder(new: int, width: int) -> Hook:
    def record(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        buffer = UINT.unpack_from(flow.buffer, at + new)[0]
        size = INT.unpack_from(flow.buffer, at + width)[0], INT.unpack_from(flow.buffer, at + width + 4)[0]
        _buffers(flow.relay)[buffer] = size
        return None

    return record


def _single_pixel(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    _buffers(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = (1, 1)
    return None


def _params_create(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    size = INT.unpack_from(flow.buffer, at + 8)[0], INT.unpack_from(flow.buffer, at + 12)[0]
    flow.relay.features.setdefault("buffer params", {})[object_id] = size
    return None


def _params_created(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    params = flow.relay.client_id(object_id)
    size = flow.relay.features.get("buffer params", {}).pop(params, None)
    if size is not None:
        _buffers(flow.relay)[UINT.unpack_from(flow.buffer, at + 8)[0]] = size
    return None


def _destroy_buffer(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    _buffers(flow.relay).pop(object_id, None)
    return None

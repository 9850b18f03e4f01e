"""``--direct-scale``: client units are pixels, by each output's own scale (chromeos-sommelier.md §3.3).

Every surface has its own conversions. The hooks find the surface of a message through the message's object: the
client created the object for a surface, or the last event of the object named a surface.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from sommelier_shim.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.layouts import interface_layout, is_known, naming
from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.scaling.direct_surface import DirectSurface, Window
from sommelier_shim.scaling.outputs import OUTPUTS, DirectOutputs
from sommelier_shim.scaling.standing import STANDING, Converter, Numbers
from sommelier_shim.scaling.surfaces import SURFACES, VIEWPORTS, Surface, viewport_requests
from sommelier_shim.wire import HEADER, INT, UINT, Buffer, decode, encode

ATTACHED: FeatureKey[WeakValueDictionary[int, DirectSurface]] = FeatureKey(
    "surface of each object", WeakValueDictionary
)
"""The surface of each client object, by client id. Destroyed surfaces drop out of the table."""
_FOLLOWERS: FeatureKey[dict[int, int]] = FeatureKey("objects that share the surface of another", dict)
"""The other object by client id: for instance the pointer of each relative pointer."""
_WHOLE = 120
"""Scale 1 (one pixel per unit) in the 120ths of wp_fractional_scale_v1."""
_ENTERED_LIMIT = 64
_COMMIT = 6
"""Opcode of wl_surface."""
_SET_CURSOR = 0
"""Opcode of wl_pointer and of tablet tools."""
_SHELLS = (("xdg_surface", "xdg_toplevel"), ("zxdg_surface_v6", "zxdg_toplevel_v6"))

CONVERTED_HERE = {("xdg_popup", "configure"), ("zxdg_popup_v6", "configure")}


class PerOutputScale:
    """The :class:`~sommelier_shim.scaling.surfaces.CoordinateSpace` of direct scale.

    :param factor: client units per pixel.
    """

    def __init__(self, factor: float, *, stable: bool) -> None:
        self.outputs = DirectOutputs(factor, stable=stable)
        self._fraction = max(1, round(_WHOLE / factor))

    def new_surface(self, relay: Relay, object_id: int) -> Surface:
        """See :class:`CoordinateSpace`."""
        surface = DirectSurface(relay, self.outputs)
        ATTACHED.of(relay)[object_id] = surface
        return surface

    def scale_of(self, relay: Relay, object_id: int) -> Scale:
        """See :class:`CoordinateSpace`."""
        known = ATTACHED.of(relay)
        surface = known.get(object_id) or known.get(_FOLLOWERS.of(relay).get(object_id, 0))
        if surface is not None:
            return surface.scale
        outputs = OUTPUTS.of(relay)
        view = outputs.views.get(object_id)
        return Scale(*self.outputs.axes(view.output if view is not None else outputs.internal))

    def fraction(self, preferred: int) -> int:
        """See :class:`CoordinateSpace`."""
        return self._fraction

    def buffer_scale(self, preferred: int) -> int:
        """See :class:`CoordinateSpace`."""
        return 1

    def keep(self, relay: Relay, about: int, request: bytes, sent: bytes, named: int, convert: Converter) -> None:
        """See :class:`CoordinateSpace`."""
        object_id, word = HEADER.unpack_from(request)
        statement = Numbers(request, sent, named, convert)
        STANDING.of(relay).keep(object_id, word & 0xFFFF, ATTACHED.of(relay).get(about), statement)

    def outputs_changed(self, relay: Relay) -> bytes:
        """Update the surfaces after an output's scale has changed.

        :returns: events for the client.
        """
        return followed(relay)


def followed(relay: Relay) -> bytes:
    """Set every surface's scale to that of its present output, and send the resulting requests to the host.

    :returns: events for the client.
    """
    surfaces = [surface for surface in SURFACES.of(relay).values() if isinstance(surface, DirectSurface)]
    told = b"".join(surface.follow() for surface in surfaces)
    host = renewed(relay, surfaces)
    if host:
        relay.to_host(host, None)
    return told


def renewed(relay: Relay, surfaces: list[DirectSurface]) -> bytes:
    """Requests for the host: commits of surfaces whose ratio has changed, on behalf of the client.

    A client may not commit subsurfaces, popups and cursors for a long time, so the proxy commits them, unless the
    client has pending state on them. The proxy does not commit a window: its client answers a configure.
    """
    stale = {id(one) for one in surfaces if one.is_stale and one.is_committed}
    said = b""
    if not stale:
        return said
    for object_id, surface in SURFACES.of(relay).items():
        if id(surface) not in stale or not isinstance(surface, DirectSurface):
            continue
        if surface.contents is not None and not surface.is_pending:
            said += _numbers_of(relay, object_id, surface) + encode(relay.host_id(object_id), _COMMIT)
    return said


def _numbers_of(relay: Relay, object_id: int, surface: DirectSurface) -> bytes:
    size = viewport_requests(relay.requests, object_id, surface)
    surface.is_stale = False
    return size + STANDING.of(relay).again(relay, surface)


def install(hooks: Hooks) -> None:
    """Install the hooks that find the surface of each object."""
    for interface, message, named in naming("wl_surface", requests=True):
        has_own_hook = interface in ("wl_subcompositor", "wp_viewporter")
        if message.new and not message.new[0].preceding and not has_own_hook:
            hooks.on_request(interface, message.name, _attacher(message.new[0].offset, named), Phase.OBSERVE)
    for interface, message, named in naming("wl_surface", requests=False):
        hooks.on_event(interface, message.name, _follower(named), Phase.OBSERVE)
    for interface, name, offset in (("zwp_text_input_v1", "activate", 12), ("zwp_text_input_v2", "enable", 8)):
        hooks.on_request(interface, name, _namer(offset), Phase.OBSERVE)
    for factory, name, interface in (
        ("wp_cursor_shape_manager_v1", "get_pointer", "wp_cursor_shape_device_v1"),
        ("wp_cursor_shape_manager_v1", "get_tablet_tool_v2", "wp_cursor_shape_device_v1"),
        ("zwp_relative_pointer_manager_v1", "get_relative_pointer", "zwp_relative_pointer_v1"),
        ("zcr_text_input_extension_v1", "get_extended_text_input", "zcr_extended_text_input_v1"),
    ):
        hooks.on_request(factory, name, _get_follower, Phase.OBSERVE)
        hooks.on_request(interface, "destroy", _destroy_follower, Phase.OBSERVE)
    hooks.on_request("wp_cursor_shape_device_v1", "set_shape", _set_shape, Phase.OBSERVE)
    hooks.on_request("zwlr_layer_shell_v1", "get_layer_surface", _get_layer_surface, Phase.OBSERVE)
    hooks.on_request("zwlr_layer_surface_v1", "destroy", _lose_role, Phase.OBSERVE)
    for message in interface_layout("zwlr_layer_surface_v1").requests:
        if not message.destructor:
            hooks.on_request("zwlr_layer_surface_v1", message.name, _said, Phase.OBSERVE)
    hooks.on_request("wl_subcompositor", "get_subsurface", _get_subsurface, Phase.OBSERVE)
    for interface in ("wl_pointer", "zwp_tablet_tool_v1", "zwp_tablet_tool_v2"):
        hooks.on_request(interface, "set_cursor", _set_cursor, Phase.OBSERVE)
    hooks.on_request("wl_data_device", "start_drag", _start_drag, Phase.OBSERVE)
    for shell_surface, toplevel in filter(lambda pair: is_known(pair[0]), _SHELLS):
        hooks.on_request(shell_surface, "get_toplevel", _get_role, Phase.OBSERVE)
        hooks.on_request(shell_surface, "get_popup", _get_role, Phase.OBSERVE)
        hooks.on_request(shell_surface, "get_toplevel", _get_toplevel, Phase.OBSERVE)
        hooks.on_request(toplevel, "destroy", _destroy_toplevel, Phase.OBSERVE)
        hooks.on_event(toplevel, "configure", _configured, Phase.OBSERVE)
        hooks.on_event(shell_surface, "configure", _numbered, Phase.OBSERVE)
        hooks.on_request(shell_surface, "ack_configure", _acknowledge, Phase.REPLACE)
    for interface in ("xdg_popup", "zxdg_popup_v6"):
        hooks.on_event(interface, "configure", _popup_configured, Phase.CONVERT)
        hooks.on_request(interface, "destroy", _lose_role, Phase.OBSERVE)
    hooks.on_event("xdg_toplevel", "configure_bounds", _bounded, Phase.OBSERVE)
    hooks.on_event("wl_surface", "enter", _entered, Phase.OBSERVE)
    hooks.on_event("wl_surface", "leave", _left, Phase.OBSERVE)
    for message in interface_layout("wl_surface").requests:
        if message.name not in ("commit", "destroy"):
            hooks.on_request("wl_surface", message.name, _said, Phase.OBSERVE)
    for name in ("set_source", "set_destination"):
        hooks.on_request("wp_viewport", name, _viewport_said, Phase.OBSERVE)
    hooks.on_request("wl_surface", "commit", _committed, Phase.FINISH)


def _said(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_pending = True


def _viewport_said(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _said(flow, VIEWPORTS.of(flow.relay).get(object_id, 0), at, stop)


def _committed(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_pending = False
        if surface.is_stale:
            flow.prefix += _numbers_of(flow.relay, object_id, surface)


def _namer(offset: int) -> Hook:
    def name(flow: Flow, object_id: int, at: int, stop: int) -> None:
        _attach(flow.relay, object_id, UINT.unpack_from(flow.buffer, at + offset)[0])

    return name


def _attacher(made: int, named: int) -> Hook:
    def attach(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        new, surface = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (made, named))
        _attach(flow.relay, new, surface)
        return None

    return attach


def _follower(named: int) -> Hook:
    def follow(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        relay = flow.relay
        _attach(relay, relay.client_id(object_id), relay.client_id(UINT.unpack_from(flow.buffer, at + named)[0]))
        return None

    return follow


def _attach(relay: Relay, object_id: int, to: int) -> None:
    known = ATTACHED.of(relay)
    surface = known.get(to)
    if surface is not None:
        known[object_id] = surface


def _get_subsurface(flow: Flow, object_id: int, at: int, stop: int) -> None:
    new, child, parent = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12, 16))
    known = ATTACHED.of(flow.relay)
    surface = known.get(child)
    if surface is not None:
        surface.belongs_to(known.get(parent), is_part=True)
    _attach(flow.relay, new, parent)  # a subsurface's position is in the parent's units


def _set_cursor(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = ATTACHED.of(flow.relay)
    cursor = known.get(UINT.unpack_from(flow.buffer, at + 12)[0])
    if cursor is not None:
        cursor.belongs_to(known.get(object_id))
        flow.prefix += renewed(flow.relay, [cursor])


def _get_follower(flow: Flow, object_id: int, at: int, stop: int) -> None:
    new, other = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12))
    _FOLLOWERS.of(flow.relay)[new] = other


def _destroy_follower(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _FOLLOWERS.of(flow.relay).pop(object_id, None)


def _set_shape(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """The pointer shows a shape of the host instead of the client's surface: forget set_cursor."""
    STANDING.of(flow.relay).forget_request(_FOLLOWERS.of(flow.relay).get(object_id, 0), _SET_CURSOR)


def _get_layer_surface(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(UINT.unpack_from(flow.buffer, at + 12)[0])
    if surface is not None:
        surface.is_committed = True


def _start_drag(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = ATTACHED.of(flow.relay)
    origin, icon = (known.get(UINT.unpack_from(flow.buffer, at + offset)[0]) for offset in (12, 16))
    if icon is not None:
        icon.belongs_to(origin)


def _lose_role(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_committed = False


def _get_role(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _attach(flow.relay, UINT.unpack_from(flow.buffer, at + 8)[0], object_id)


def _get_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.window = Window(object_id, UINT.unpack_from(flow.buffer, at + 8)[0])


def _destroy_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.window = None


def _configured(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        width, height, states = decode("iia", flow.buffer[at:stop])
        surface.window.size, surface.window.states = (width, height), states


def _numbered(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        window = surface.window
        window.serial = serial = UINT.unpack_from(flow.buffer, at + 8)[0]
        window.told(serial, surface.told)


def _bounded(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        surface.window.bounds = INT.unpack_from(flow.buffer, at + 8)[0], INT.unpack_from(flow.buffer, at + 12)[0]


def _acknowledge(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is None or surface.window is None:
        return None
    window, serial = surface.window, UINT.unpack_from(flow.buffer, at + 8)[0]
    bases = window.answered(serial)
    if bases is not None and bases != surface.known:
        family = surface.family
        for one in family:
            one.settle(bases)
        flow.prefix += renewed(flow.relay, family)
    serial = window.repeated.get(serial, serial)
    if serial == window.acknowledged:
        return b""
    window.acknowledged = serial
    UINT.pack_into(flow.buffer, at + 8, serial)
    return None


def _popup_configured(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """Convert a popup's configure: its position by the parent's scale, its size by its own."""
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if surface is None:
        return
    parent = (surface.parent or surface).scale
    for offset, conversion in (
        (8, parent.x.to_guest),
        (12, parent.y.to_guest),
        (16, surface.scale.x.size_to_guest),
        (20, surface.scale.y.size_to_guest),
    ):
        INT.pack_into(flow.buffer, at + offset, conversion(INT.unpack_from(flow.buffer, at + offset)[0]))


def _moved(surface: DirectSurface) -> bytes:
    """Update a surface that has entered or left an output, and the surfaces that depend on it.

    :returns: events for the client.
    """
    before = surface.told
    told = surface.follow()
    return told if surface.told == before else told + followed(surface.relay)


def _entered(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(UINT.unpack_from(flow.buffer, at + 8)[0])
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        surface.entered = [*(one for one in surface.entered if one is not output), output][-_ENTERED_LIMIT:]
        flow.suffix += _moved(surface)


def _left(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(UINT.unpack_from(flow.buffer, at + 8)[0])
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        # A surface on no output keeps the scale of its last output.
        surface.entered = [one for one in surface.entered if one is not output] or surface.entered
        flow.suffix += _moved(surface)

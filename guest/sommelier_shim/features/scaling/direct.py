"""``--direct-scale``: client units are pixels, by each output's own scale (chromeos-sommelier.md §3.3).

Every surface has its own conversions. The hooks find the surface of a message through the message's object: the
client created the object for a surface, or the last event of the object named a surface.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from sommelier_shim.core.hooks import FeatureKey, Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, interface_layout, messages_with, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.wire import Buffer
from sommelier_shim.features.scaling.arithmetic import Scale
from sommelier_shim.features.scaling.direct_surface import DirectSurface, Window
from sommelier_shim.features.scaling.kept_state import KEPT_STATES, KeptNumbers
from sommelier_shim.features.scaling.outputs import OUTPUTS, DirectOutputs
from sommelier_shim.features.scaling.surfaces import SURFACES, VIEWPORTS, KeptRequest, Surface, viewport_requests

ATTACHED: FeatureKey[WeakValueDictionary[int, DirectSurface]] = FeatureKey(
    "surface of each object", WeakValueDictionary
)
"""The surface of each client object, by client id. Destroyed surfaces drop out of the table."""
_FOLLOWERS: FeatureKey[dict[int, int]] = FeatureKey("objects that share the surface of another", dict)
"""The other object by client id: for instance the pointer of each relative pointer."""
_WHOLE = 120
"""Scale 1 (one pixel per unit) in the 120ths of wp_fractional_scale_v1."""
_ENTERED_LIMIT = 64
_COMMIT = request("wl_surface", "commit")
_read_get_subsurface = request("wl_subcompositor", "get_subsurface").reader("id", "surface", "parent")
_read_start_drag = request("wl_data_device", "start_drag").reader("origin", "icon")
_read_bounds = event("xdg_toplevel", "configure_bounds").reader("width", "height")
_read_enter = event("wl_surface", "enter").reader("output")
_read_leave = event("wl_surface", "leave").reader("output")
_read_get_layer_surface = request("zwlr_layer_shell_v1", "get_layer_surface").reader("surface")
_SHELLS = (("xdg_surface", "xdg_toplevel"), ("zxdg_surface_v6", "zxdg_toplevel_v6"))

_FOLLOWER_FACTORIES = (
    ("wp_cursor_shape_manager_v1", "get_pointer", "cursor_shape_device", "pointer", "wp_cursor_shape_device_v1"),
    (
        "wp_cursor_shape_manager_v1", "get_tablet_tool_v2", "cursor_shape_device", "tablet_tool",
        "wp_cursor_shape_device_v1",
    ),
    ("zwp_relative_pointer_manager_v1", "get_relative_pointer", "id", "pointer", "zwp_relative_pointer_v1"),
    ("zcr_text_input_extension_v1", "get_extended_text_input", "id", "text_input", "zcr_extended_text_input_v1"),
)  # fmt: skip
"""Requests that create an object about another one: interface, name, the arguments with the new and the other
object, and the new object's interface."""
_OTHERWISE_ATTACHED = ("wl_subcompositor", "wp_viewporter")
"""Interfaces whose requests create an object for a surface, and have a hook of their own for that."""

CONVERTED_HERE = {("xdg_popup", "configure"), ("zxdg_popup_v6", "configure")}


class PerOutputScale:
    """The :class:`~sommelier_shim.features.scaling.surfaces.CoordinateSpace` of direct scale.

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

    def keep(self, relay: Relay, about: int, kept: KeptRequest) -> None:
        """See :class:`CoordinateSpace`."""
        KEPT_STATES.of(relay).keep(kept.object_id, kept.name, ATTACHED.of(relay).get(about), KeptNumbers(kept))

    def outputs_changed(self, relay: Relay) -> bytes:
        """Update the surfaces after an output's scale has changed.

        :returns: events for the client.
        """
        return follow_outputs(relay)


def follow_outputs(relay: Relay) -> bytes:
    """Set every surface's scale to that of its present output, and send the resulting requests to the host.

    :returns: events for the client.
    """
    surfaces = [surface for surface in SURFACES.of(relay).values() if isinstance(surface, DirectSurface)]
    events = b"".join(surface.follow() for surface in surfaces)
    requests = commit_stale(relay, surfaces)
    if requests:
        relay.to_host(requests, None)
    return events


def commit_stale(relay: Relay, surfaces: list[DirectSurface]) -> bytes:
    """Requests for the host: commits of surfaces whose ratio has changed, on behalf of the client.

    A client may not commit subsurfaces, popups and cursors for a long time, so the proxy commits them, unless the
    client has pending state on them. The proxy does not commit a window: its client answers a configure.
    """
    stale = {id(one) for one in surfaces if one.is_stale and one.is_committed}
    requests = b""
    if not stale:
        return requests
    for object_id, surface in SURFACES.of(relay).items():
        if id(surface) not in stale or not isinstance(surface, DirectSurface):
            continue
        if surface.contents is not None and not surface.is_pending:
            requests += _converted_again(relay, object_id, surface) + _COMMIT.encode(relay.host_id(object_id))
    return requests


def _converted_again(relay: Relay, object_id: int, surface: DirectSurface) -> bytes:
    size = viewport_requests(relay.requests, object_id, surface)
    surface.is_stale = False
    return size + KEPT_STATES.of(relay).resend(relay, surface)


def install(hooks: Hooks) -> None:
    """Install the hooks that find the surface of each object."""
    for message, surface in messages_with("wl_surface", is_request=True):
        if message.new and not message.new[0].preceding and message.interface not in _OTHERWISE_ATTACHED:
            hook = _attach_new(message, surface)
            hooks.on_request(message.interface, message.name, hook, Phase.OBSERVE)
    for message, surface in messages_with("wl_surface", is_request=False):
        hooks.on_event(message.interface, message.name, _attach_to_event(message, surface), Phase.OBSERVE)
    for interface, name in (("zwp_text_input_v1", "activate"), ("zwp_text_input_v2", "enable")):
        hooks.on_request(interface, name, _attach_itself(request(interface, name)), Phase.OBSERVE)
    for factory, name, new, other, interface in _FOLLOWER_FACTORIES:
        hooks.on_request(factory, name, _get_follower(request(factory, name), new, other), Phase.OBSERVE)
        hooks.on_request(interface, "destroy", _destroy_follower, Phase.OBSERVE)
    hooks.on_request("wp_cursor_shape_device_v1", "set_shape", _set_shape, Phase.OBSERVE)
    hooks.on_request("wl_subcompositor", "get_subsurface", _get_subsurface, Phase.OBSERVE)
    for interface in ("wl_pointer", "zwp_tablet_tool_v1", "zwp_tablet_tool_v2"):
        hooks.on_request(interface, "set_cursor", _set_cursor(request(interface, "set_cursor")), Phase.OBSERVE)
    hooks.on_request("wl_data_device", "start_drag", _start_drag, Phase.OBSERVE)
    _install_roles(hooks)
    hooks.on_event("wl_surface", "enter", _entered, Phase.OBSERVE)
    hooks.on_event("wl_surface", "leave", _left, Phase.OBSERVE)
    _install_commits(hooks)


def _install_roles(hooks: Hooks) -> None:
    """The hooks of windows, popups and layer surfaces."""
    for interface, toplevel in _SHELLS:
        shell_surface = interface_layout(interface)
        for name in ("get_toplevel", "get_popup"):
            hooks.on_request(interface, name, _get_role(shell_surface.request(name)), Phase.OBSERVE)
        get_toplevel = _get_toplevel(shell_surface.request("get_toplevel"))
        hooks.on_request(interface, "get_toplevel", get_toplevel, Phase.OBSERVE)
        hooks.on_request(toplevel, "destroy", _destroy_toplevel, Phase.OBSERVE)
        hooks.on_event(toplevel, "configure", _record_size(event(toplevel, "configure")), Phase.OBSERVE)
        hooks.on_event(interface, "configure", _record_serial(shell_surface.event("configure")), Phase.OBSERVE)
        ack_configure = _ack_configure(shell_surface.request("ack_configure"))
        hooks.on_request(interface, "ack_configure", ack_configure, Phase.REPLACE)
    hooks.on_event("xdg_toplevel", "configure_bounds", _record_bounds, Phase.OBSERVE)
    for interface in ("xdg_popup", "zxdg_popup_v6"):
        hooks.on_event(interface, "configure", _convert_popup(event(interface, "configure")), Phase.CONVERT)
        hooks.on_request(interface, "destroy", _lose_role, Phase.OBSERVE)
    hooks.on_request("zwlr_layer_shell_v1", "get_layer_surface", _get_layer_surface, Phase.OBSERVE)
    hooks.on_request("zwlr_layer_surface_v1", "destroy", _lose_role, Phase.OBSERVE)


def _install_commits(hooks: Hooks) -> None:
    """The hooks that follow a surface's double-buffered state, and send what its commit needs."""
    for message in interface_layout("zwlr_layer_surface_v1").requests:
        if not message.destructor:
            hooks.on_request("zwlr_layer_surface_v1", message.name, _mark_pending, Phase.OBSERVE)
    for message in interface_layout("wl_surface").requests:
        if message.name not in ("commit", "destroy"):
            hooks.on_request("wl_surface", message.name, _mark_pending, Phase.OBSERVE)
    for name in ("set_source", "set_destination"):
        hooks.on_request("wp_viewport", name, _mark_surface_pending, Phase.OBSERVE)
    hooks.on_request("wl_surface", "commit", _commit, Phase.FINISH)


def _mark_pending(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_pending = True


def _mark_surface_pending(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _mark_pending(flow, VIEWPORTS.of(flow.relay).get(object_id, 0), at, stop)


def _commit(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_pending = False
        if surface.is_stale:
            flow.prefix += _converted_again(flow.relay, object_id, surface)


def _attach_itself(message: MessageLayout) -> Hook:
    """The hook of a request that names the surface of its own object."""
    read_surface = message.reader("surface")

    def attach(flow: Flow, object_id: int, at: int, stop: int) -> None:
        (surface,) = read_surface(flow.buffer, at)
        _attach(flow.relay, object_id, surface)

    return attach


def _attach_new(message: MessageLayout, surface_argument: str) -> Hook:
    """The hook of a request that creates an object for a surface."""
    new_argument = next(name for name in message.arguments if message.offset(name) == message.new[0].offset)
    read_new, read_surface = message.reader(new_argument), message.reader(surface_argument)

    def attach(flow: Flow, object_id: int, at: int, stop: int) -> None:
        (new,), (surface,) = read_new(flow.buffer, at), read_surface(flow.buffer, at)
        _attach(flow.relay, new, surface)

    return attach


def _attach_to_event(message: MessageLayout, surface_argument: str) -> Hook:
    """The hook of an event that names the surface of its object."""
    read_surface = message.reader(surface_argument)

    def attach(flow: Flow, object_id: int, at: int, stop: int) -> None:
        relay = flow.relay
        (surface,) = read_surface(flow.buffer, at)
        _attach(relay, relay.client_id(object_id), relay.client_id(surface))

    return attach


def _attach(relay: Relay, object_id: int, to: int) -> None:
    known = ATTACHED.of(relay)
    surface = known.get(to)
    if surface is not None:
        known[object_id] = surface


def _get_subsurface(flow: Flow, object_id: int, at: int, stop: int) -> None:
    new, child, parent = _read_get_subsurface(flow.buffer, at)
    known = ATTACHED.of(flow.relay)
    surface = known.get(child)
    if surface is not None:
        surface.belongs_to(known.get(parent), is_part=True)
    _attach(flow.relay, new, parent)  # a subsurface's position is in the parent's units


def _set_cursor(message: MessageLayout) -> Hook:
    read_surface = message.reader("surface")

    def set_cursor(flow: Flow, object_id: int, at: int, stop: int) -> None:
        known = ATTACHED.of(flow.relay)
        (surface,) = read_surface(flow.buffer, at)
        cursor = known.get(surface)
        if cursor is not None:
            cursor.belongs_to(known.get(object_id))
            flow.prefix += commit_stale(flow.relay, [cursor])

    return set_cursor


def _get_follower(message: MessageLayout, new_argument: str, other_argument: str) -> Hook:
    read = message.reader(new_argument, other_argument)

    def get_follower(flow: Flow, object_id: int, at: int, stop: int) -> None:
        new, other = read(flow.buffer, at)
        _FOLLOWERS.of(flow.relay)[new] = other

    return get_follower


def _destroy_follower(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _FOLLOWERS.of(flow.relay).pop(object_id, None)


def _set_shape(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """The pointer shows a shape of the host instead of the client's surface: forget set_cursor."""
    KEPT_STATES.of(flow.relay).forget_request(_FOLLOWERS.of(flow.relay).get(object_id, 0), "set_cursor")


def _get_layer_surface(flow: Flow, object_id: int, at: int, stop: int) -> None:
    (surface_id,) = _read_get_layer_surface(flow.buffer, at)
    surface = ATTACHED.of(flow.relay).get(surface_id)
    if surface is not None:
        surface.is_committed = True


def _start_drag(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = ATTACHED.of(flow.relay)
    origin, icon = map(known.get, _read_start_drag(flow.buffer, at))
    if icon is not None:
        icon.belongs_to(origin)


def _lose_role(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.is_committed = False


def _get_role(message: MessageLayout) -> Hook:
    read_id = message.reader("id")

    def get_role(flow: Flow, object_id: int, at: int, stop: int) -> None:
        (new,) = read_id(flow.buffer, at)
        _attach(flow.relay, new, object_id)

    return get_role


def _get_toplevel(message: MessageLayout) -> Hook:
    read_id = message.reader("id")

    def get_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
        surface = ATTACHED.of(flow.relay).get(object_id)
        if surface is not None:
            (toplevel,) = read_id(flow.buffer, at)
            surface.window = Window(object_id, toplevel)

    return get_toplevel


def _destroy_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(object_id)
    if surface is not None:
        surface.window = None


def _record_size(message: MessageLayout) -> Hook:
    read = message.decoder("width", "height", "states")

    def record(flow: Flow, object_id: int, at: int, stop: int) -> None:
        surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
        if surface is not None and surface.window is not None:
            width, height, states = read(flow.buffer, at, stop)
            surface.window.size, surface.window.states = (width, height), states

    return record


def _record_serial(message: MessageLayout) -> Hook:
    read_serial = message.reader("serial")

    def record(flow: Flow, object_id: int, at: int, stop: int) -> None:
        surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
        if surface is not None and surface.window is not None:
            (serial,) = read_serial(flow.buffer, at)
            surface.window.serial = serial
            surface.window.record(serial, surface.event_bases)

    return record


def _record_bounds(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        width, height = _read_bounds(flow.buffer, at)
        surface.window.bounds = width, height


def _ack_configure(message: MessageLayout) -> Hook:
    read_serial, write_serial = message.reader("serial"), message.writer("serial")

    def acknowledge(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        surface = ATTACHED.of(flow.relay).get(object_id)
        if surface is None or surface.window is None:
            return None
        window = surface.window
        (serial,) = read_serial(flow.buffer, at)
        bases = window.acknowledge(serial)
        if bases is not None and bases != surface.request_bases:
            family = surface.family
            for one in family:
                one.settle(bases)
            flow.prefix += commit_stale(flow.relay, family)
        serial = window.repeated.get(serial, serial)
        if serial == window.acknowledged:
            return b""
        window.acknowledged = serial
        write_serial(flow.buffer, at, serial)
        return None

    return acknowledge


def _convert_popup(message: MessageLayout) -> Hook:
    """The hook of a popup's configure: its position is in the parent's units, its size in its own."""
    names = "x", "y", "width", "height"
    read, write = message.reader(*names), message.writer(*names)

    def convert(flow: Flow, object_id: int, at: int, stop: int) -> None:
        surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
        if surface is None:
            return
        x, y, width, height = read(flow.buffer, at)
        parent, own = (surface.parent or surface).scale, surface.scale
        position = parent.x.to_guest(x), parent.y.to_guest(y)
        write(flow.buffer, at, *position, own.x.size_to_guest(width), own.y.size_to_guest(height))

    return convert


def _follow_output(surface: DirectSurface) -> bytes:
    """Update a surface that has entered or left an output, and the surfaces that depend on it.

    :returns: events for the client.
    """
    before = surface.event_bases
    events = surface.follow()
    return events if surface.event_bases == before else events + follow_outputs(surface.relay)


def _entered(flow: Flow, object_id: int, at: int, stop: int) -> None:
    (output_id,) = _read_enter(flow.buffer, at)
    output = OUTPUTS.of(flow.relay).own.get(output_id)
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        surface.entered = [*(one for one in surface.entered if one is not output), output][-_ENTERED_LIMIT:]
        flow.suffix += _follow_output(surface)


def _left(flow: Flow, object_id: int, at: int, stop: int) -> None:
    (output_id,) = _read_leave(flow.buffer, at)
    output = OUTPUTS.of(flow.relay).own.get(output_id)
    surface = ATTACHED.of(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        # A surface on no output keeps the scale of its last output.
        surface.entered = [one for one in surface.entered if one is not output] or surface.entered
        flow.suffix += _follow_output(surface)

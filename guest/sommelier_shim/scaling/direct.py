"""Clients whose units are pixels, on each output by its own scale (``--direct-scale``, sommelier.md §3.3).

Every surface has conversions of its own. What a message is about is known from the object that it was said to: by
the surface that the object was made for, or that an event for it named last.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from sommelier_shim.relay import Flow, Hook, Relay
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.scaling.outputs import DirectOutputs, Output, outputs_of
from sommelier_shim.scaling.surface_axis import SurfaceAxis
from sommelier_shim.scaling.surfaces import Surface, surfaces_of
from sommelier_shim.shapes import naming
from sommelier_shim.wire import INT, UINT, Buffer, decode, encode

_ATTACHED = "attached to surfaces"
_WHOLE = 120
"""One pixel for each unit, in the 120ths of wp_fractional_scale_v1."""
_GENERATIONS = 8
"""Popups of popups whose outputs are asked for."""
_ENTERED_LIMIT = 64
_OWN_SERIALS = 0xF0000000
"""Numbers of the proxy's own configures; a host counts up from nothing."""
_REPEATED_LIMIT = 1024

CONVERTED_HERE = {("xdg_popup", "configure"), ("zxdg_popup_v6", "configure")}


class Window:
    """What a toplevel was told.

    :ivar xdg_surface: the client's numbers of the object, :ivar toplevel: and of its role.
    :ivar size: the host's; :ivar states: the rest of the last configure; :ivar serial: its number.
    :ivar acknowledged: the last number of the host's that the client has answered.
    :ivar repeated: the host's numbers by those of configures that the proxy has made of them.
    """

    __slots__ = ("acknowledged", "repeated", "serial", "size", "states", "toplevel", "xdg_surface")

    def __init__(self, xdg_surface: int, toplevel: int) -> None:
        self.xdg_surface = xdg_surface
        self.toplevel = toplevel
        self.size = (0, 0)
        self.states = b""
        self.serial: int | None = None
        self.acknowledged: int | None = None
        self.repeated: dict[int, int] = {}

    def again(self, width: int, height: int) -> bytes:
        """The last configure with another size. It has a number of its own: toolkits pass over those they know."""
        assert self.serial is not None
        serial = _OWN_SERIALS + len(self.repeated)
        if len(self.repeated) >= _REPEATED_LIMIT:
            self.repeated.clear()
        self.repeated[serial] = self.serial
        return encode(self.toplevel, 0, "iia", width, height, self.states) + encode(
            self.xdg_surface, 0, "u", serial
        )


class DirectSurface(Surface):
    """A surface with conversions of its own.

    :ivar entered: the outputs that it is on, as far as known; :ivar parent: the surface that it belongs to, whose
        output counts until it enters one.
    """

    __slots__ = ("__weakref__", "axes", "entered", "outputs", "parent", "relay", "window")

    def __init__(self, relay: Relay, outputs: DirectOutputs) -> None:
        bases = outputs.axes(outputs_of(relay).internal)
        self.axes = SurfaceAxis(bases[0]), SurfaceAxis(bases[1])
        super().__init__(Scale(*self.axes))
        self.relay = relay
        self.outputs = outputs
        self.entered: list[Output] = []
        self.parent: DirectSurface | None = None
        self.window: Window | None = None

    @property
    def output(self) -> Output | None:
        """The output whose scale counts: the last one that it came to (sommelier.md §3.3)."""
        surface: DirectSurface | None = self
        for _ in range(_GENERATIONS):
            if surface is None:
                break
            for output in reversed(surface.entered):
                if not output.is_gone:
                    return output
            surface = surface.parent
        return outputs_of(self.relay).internal

    def shown_size(self) -> tuple[int, int] | None:
        """See :class:`Surface`."""
        told = self.follow()
        if told:
            self.relay.to_client(told, None)
        return super().shown_size()

    def destroyed(self) -> None:
        """See :class:`Surface`. What belongs to it may stay, but does not keep what it belonged to."""
        self.parent = None
        for axis in self.axes:
            axis.parent = None

    def belongs_to(self, parent: DirectSurface | None) -> None:
        """It is a part of another surface from now on."""
        if parent is self:
            return
        self.parent = parent
        for mine, axis in enumerate(self.axes):
            axis.parent = parent.axes[mine] if parent is not None else None
        self.follow()

    def follow(self) -> bytes:
        """Take the scale of the output that counts now.

        :returns: what the client is told: the size that the host gave, in the pixels of another output.
        """
        window = self.window
        keeps = window is not None and window.serial is not None and max(window.size) > 0
        bases = self.outputs.axes(self.output)
        changed = [axis.rebase(base, keeps=keeps) for axis, base in zip(self.axes, bases, strict=True)]
        if window is None or not keeps or not any(changed):
            return b""
        width, height = (axis.size_to_guest(size) for axis, size in zip(self.axes, window.size, strict=True))
        return window.again(width, height)


class Direct:
    """The :class:`~sommelier_shim.scaling.surfaces.Space` of these clients.

    :param factor: clients' units in one pixel.
    """

    def __init__(self, factor: float, *, stable: bool) -> None:
        self.outputs = DirectOutputs(factor, stable=stable)
        self._fraction = max(1, round(_WHOLE / factor))

    def new_surface(self, relay: Relay, object_id: int) -> Surface:
        """See :class:`Space`."""
        surface = DirectSurface(relay, self.outputs)
        attached(relay)[object_id] = surface
        return surface

    def scale_of(self, relay: Relay, object_id: int) -> Scale:
        """See :class:`Space`."""
        surface = attached(relay).get(object_id)
        if surface is not None:
            return surface.scale
        outputs = outputs_of(relay)
        view = outputs.views.get(object_id)
        return Scale(*self.outputs.axes(view.output if view is not None else outputs.internal))

    def fraction(self, preferred: int) -> int:
        """See :class:`Space`."""
        return self._fraction

    def buffer_scale(self, preferred: int) -> int:
        """See :class:`Space`."""
        return 1

    def outputs_changed(self, relay: Relay) -> bytes:
        """What clients are told when an output has another scale."""
        surfaces = [surface for surface in surfaces_of(relay).values() if isinstance(surface, DirectSurface)]
        return b"".join(surface.follow() for surface in surfaces)


def attached(relay: Relay) -> WeakValueDictionary[int, DirectSurface]:
    """The surfaces that a client's objects are about, by its numbers; those that are destroyed drop out."""
    found: WeakValueDictionary[int, DirectSurface] | None = relay.features.get(_ATTACHED)
    if found is None:
        found = relay.features[_ATTACHED] = WeakValueDictionary()
    return found


def install(hooks: Hooks) -> None:
    """Find out what is about which surface. Comes before everything that converts."""
    for interface, message, named in naming("wl_surface", requests=True):
        if message.new and not message.new[0].before:
            hooks.on_request(interface, message.name, _attacher(message.new[0].offset, named))
    for interface, message, named in naming("wl_surface", requests=False):
        hooks.on_event(interface, message.name, _follower(named))
    hooks.on_request("wl_subcompositor", "get_subsurface", _get_subsurface)
    hooks.on_request("wl_pointer", "set_cursor", _set_cursor)
    for interface in ("xdg_surface", "zxdg_surface_v6"):
        hooks.on_request(interface, "get_toplevel", _get_role)
        hooks.on_request(interface, "get_popup", _get_role)
    for interface in ("xdg_popup", "zxdg_popup_v6"):
        hooks.on_event(interface, "configure", _popup_configured)
    hooks.on_request("xdg_surface", "get_toplevel", _get_toplevel)
    hooks.on_request("xdg_toplevel", "destroy", _destroy_toplevel)
    hooks.on_event("xdg_toplevel", "configure", _configured)
    hooks.on_event("xdg_surface", "configure", _numbered)
    hooks.on_request("xdg_surface", "ack_configure", _acknowledge)
    hooks.on_event("wl_surface", "enter", _entered)
    hooks.on_event("wl_surface", "leave", _left)


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
    known = attached(relay)
    surface = known.get(to)
    if surface is not None:
        known[object_id] = surface


def _get_subsurface(flow: Flow, object_id: int, at: int, stop: int) -> None:
    new, child, parent = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12, 16))
    known = attached(flow.relay)
    surface = known.get(child)
    if surface is not None:
        surface.belongs_to(known.get(parent))
    _attach(flow.relay, new, parent)  # it lies in the parent's units


def _set_cursor(flow: Flow, object_id: int, at: int, stop: int) -> None:
    known = attached(flow.relay)
    cursor = known.get(UINT.unpack_from(flow.buffer, at + 12)[0])
    if cursor is not None:
        cursor.belongs_to(known.get(object_id))


def _get_role(flow: Flow, object_id: int, at: int, stop: int) -> None:
    _attach(flow.relay, UINT.unpack_from(flow.buffer, at + 8)[0], object_id)


def _get_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = attached(flow.relay).get(object_id)
    if surface is not None:
        surface.window = Window(object_id, UINT.unpack_from(flow.buffer, at + 8)[0])


def _destroy_toplevel(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = attached(flow.relay).get(object_id)
    if surface is not None:
        surface.window = None


def _configured(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = attached(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        width, height, states = decode("iia", flow.buffer[at:stop])
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert isinstance(states, bytes)
        surface.window.size, surface.window.states = (width, height), states


def _numbered(flow: Flow, object_id: int, at: int, stop: int) -> None:
    surface = attached(flow.relay).get(flow.relay.client_id(object_id))
    if surface is not None and surface.window is not None:
        surface.window.serial = UINT.unpack_from(flow.buffer, at + 8)[0]


def _acknowledge(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    surface = attached(flow.relay).get(object_id)
    if surface is None or surface.window is None:
        return None
    window, serial = surface.window, UINT.unpack_from(flow.buffer, at + 8)[0]
    serial = window.repeated.get(serial, serial)
    if serial == window.acknowledged:
        return b""
    window.acknowledged = serial
    UINT.pack_into(flow.buffer, at + 8, serial)
    return None


def _popup_configured(flow: Flow, object_id: int, at: int, stop: int) -> None:
    """A popup lies in its parent's units."""
    surface = attached(flow.relay).get(flow.relay.client_id(object_id))
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


def _entered(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    output = outputs_of(flow.relay).own.get(UINT.unpack_from(flow.buffer, at + 8)[0])
    surface = attached(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        surface.entered = [*(one for one in surface.entered if one is not output), output][-_ENTERED_LIMIT:]
        flow.after += surface.follow()
        return b""
    return None


def _left(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
    output = outputs_of(flow.relay).own.get(UINT.unpack_from(flow.buffer, at + 8)[0])
    surface = attached(flow.relay).get(flow.relay.client_id(object_id))
    if output is not None and surface is not None:
        # What is on no output at all keeps the scale of the last one.
        surface.entered = [one for one in surface.entered if one is not output] or surface.entered
        flow.after += surface.follow()
        return b""
    return None

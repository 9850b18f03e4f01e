"""Hooks for outputs: they record the host's events in :mod:`~sommelier_shim.features.scaling.outputs`, and send
clients the converted ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sommelier_shim.core.hooks import Hooks, Phase
from sommelier_shim.core.layouts import MessageLayout, event, messages_with, request
from sommelier_shim.core.relay import Flow, Hook, Relay
from sommelier_shim.core.translation import translating
from sommelier_shim.core.wire import Buffer
from sommelier_shim.features.output_places import XDG_OUTPUT, OutputPlace
from sommelier_shim.features.own_globals import OWN_GLOBALS
from sommelier_shim.features.scaling.outputs import OUTPUTS, Describer, HostOutput, Outputs, View, logical_events

AURA = "zaura_shell"
_SOURCES = {XDG_OUTPUT: "zxdg_output_v1", AURA: "zaura_output"}
"""More sources of facts on outputs: the interface of the per-output object, by the global that creates it."""
_AURA_OUTPUTS, _AURA_RELEASES = 2, 38
"""Versions of zaura_shell since which it has get_aura_output, and since which zaura_output has a destructor."""
_OUTPUT_VERSION, _OUTPUT_RELEASES = 3, 3
_INTERNAL = 1
"""zaura_output.connection_type."""
_CURRENT = 1
"""The flag ``current`` of wl_output.mode and of zaura_output.scale."""
_OUTPUT_LIMIT = 64

_BIND = request("wl_registry", "bind")
_RELEASE_OUTPUT = request("wl_output", "release")
_GET_XDG_OUTPUT = request(XDG_OUTPUT, "get_xdg_output")
_FACTORIES = {XDG_OUTPUT: _GET_XDG_OUTPUT, AURA: request(AURA, "get_aura_output")}
_DESTRUCTORS = {
    _SOURCES[XDG_OUTPUT]: request(_SOURCES[XDG_OUTPUT], "destroy"),
    _SOURCES[AURA]: request(_SOURCES[AURA], "release"),
}
_read_geometry = event("wl_output", "geometry").decoder(
    "x", "y", "physical_width", "physical_height", "subpixel", "make", "model", "transform"
)
_read_mode = event("wl_output", "mode").reader("flags", "width", "height", "refresh")
_read_scale = event("wl_output", "scale").reader("factor")
_read_logical_position = event("zxdg_output_v1", "logical_position").reader("x", "y")
_read_logical_size = event("zxdg_output_v1", "logical_size").reader("width", "height")
_read_zoom = event("zaura_output", "scale").reader("flags", "scale")
_read_device_scale = event("zaura_output", "device_scale_factor").reader("scale")
_read_connection = event("zaura_output", "connection").reader("connection")
_read_get_xdg_output = _GET_XDG_OUTPUT.reader("id", "output")


def install(
    hooks: Hooks,
    describer: Describer,
    places: Mapping[int, OutputPlace],
    at_change: Callable[[Relay], bytes] | None = None,
) -> None:
    """Install hooks that describe outputs in client units.

    :param places: positions of outputs by the names of their globals, from the proxy's own connection. The hooks
        use them where the client's connection has no xdg-output.
    :param at_change: called when the host has sent events of an output; returns more events for the client.
    """

    events = _OutputEvents(describer, places, at_change)
    hooks.on_own_global("wl_output", _announced)
    hooks.on_own_global(XDG_OUTPUT, _source_announced)
    hooks.on_own_global(AURA, _source_announced)
    hooks.at_own_removal.append(events.own_removed)
    hooks.at_outputs_moved.append(events.moved)
    for interface, name, handler in (
        ("wl_output", "geometry", _own_geometry),
        ("wl_output", "mode", events.own_mode),
        ("wl_output", "scale", _own_scale),
        ("wl_output", "done", events.own_done),
        (_SOURCES[XDG_OUTPUT], "logical_position", _own_logical_position),
        (_SOURCES[XDG_OUTPUT], "logical_size", _own_logical_size),
        (_SOURCES[XDG_OUTPUT], "done", events.own_done),
        (_SOURCES[AURA], "scale", _own_zoom),
        (_SOURCES[AURA], "device_scale_factor", _own_device_scale),
        (_SOURCES[AURA], "connection", _own_connection),
    ):
        hooks.on_own_event(interface, name, handler)
    hooks.on_bind("wl_output", _bound)
    hooks.on_bind(XDG_OUTPUT, _manager_bound)
    hooks.on_request("wl_output", "release", _release, Phase.OBSERVE)
    hooks.on_request(XDG_OUTPUT, "get_xdg_output", _get_xdg_output, Phase.OBSERVE)
    hooks.on_request("zxdg_output_v1", "destroy", _destroy_xdg_output, Phase.OBSERVE)
    for name, hook in (
        ("geometry", _drop),
        ("mode", events.client_mode),
        ("scale", _drop),
        ("done", events.client_done),
    ):
        hooks.on_event("wl_output", name, hook, Phase.REPLACE)
    hooks.on_event("zxdg_output_v1", "logical_position", events.client_logical, Phase.REPLACE)
    hooks.on_event("zxdg_output_v1", "logical_size", _drop, Phase.REPLACE)
    _hide_own_outputs(hooks)


class _OutputEvents:
    """The hooks that need the settings, see :func:`install`."""

    def __init__(
        self,
        describer: Describer,
        places: Mapping[int, OutputPlace],
        at_change: Callable[[Relay], bytes] | None,
    ) -> None:
        self._describer = describer
        self._places = places
        self._at_change = at_change

    def _described(self, view: View, outputs: Outputs, *, ends_set: bool = False) -> bytes:
        # The client's own group of events ends after the host has described all outputs to the proxy.
        if not view.output.pixels[0] or not (ends_set or self._describer.is_ready(outputs)):
            return b""
        return view.events(self._describer.described(view.output, outputs), ends_set=ends_set)

    def _changed_events(self, relay: Relay) -> bytes:
        """Events for all outputs that have changed: one output may move others."""
        outputs = OUTPUTS.of(relay)
        for name, output in outputs.by_name.items():
            if name in self._places and _SOURCES[XDG_OUTPUT] not in output.sources.values():
                output.logical_position, output.logical_size = self._places[name]
        events = b"".join(self._described(view, outputs) for view in outputs.views.values())
        return events + (self._at_change(relay) if self._at_change is not None else b"")

    def moved(self, relay: Relay) -> None:
        events = self._changed_events(relay)
        if events:
            relay.to_client(events, None)

    def own_mode(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = OUTPUTS.of(flow.relay).own.get(object_id)
        flags, width, height, refresh = _read_mode(flow.buffer, at)
        if output is None or not flags & _CURRENT:
            return None
        output.refresh = refresh
        output.pixels = max(0, width), max(0, height)
        return self._changed_events(flow.relay) if output.version < 2 else None

    def own_done(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        return self._changed_events(flow.relay)

    def own_removed(self, flow: Flow, name: int) -> bytes:
        relay = translating(flow.relay)
        outputs = OUTPUTS.of(relay)
        output = outputs.by_name.pop(name, None)
        if output is None:
            return b""
        output.is_gone = True
        for number, interface in output.sources.items():
            del outputs.own[number]
            if interface == _SOURCES[XDG_OUTPUT] or OWN_GLOBALS.of(flow.relay).versions[AURA] >= _AURA_RELEASES:
                relay.to_host(_DESTRUCTORS[interface].encode(number), None)
                relay.disown(number, interface)
        del outputs.own[output.host_id]
        if output.version >= _OUTPUT_RELEASES:
            relay.to_host(_RELEASE_OUTPUT.encode(output.host_id), None)
            relay.disown(output.host_id, "wl_output")
        return self._changed_events(flow.relay)

    def client_mode(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        outputs = OUTPUTS.of(flow.relay)
        view = outputs.views.get(flow.relay.client_id(object_id))
        # Version 1 has no wl_output.done: mode ends the group of events.
        return self._described(view, outputs) if view is not None and view.version < 2 else b""

    def client_done(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        outputs = OUTPUTS.of(flow.relay)
        view = outputs.views.get(flow.relay.client_id(object_id))
        return self._described(view, outputs, ends_set=True) if view is not None else b""

    def client_logical(self, flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
        outputs, number = OUTPUTS.of(flow.relay), flow.relay.client_id(object_id)
        view = outputs.xdg.get(number)
        if view is None or not view.output.pixels[0]:
            return b""
        logical = logical_events(number, self._describer.described(view.output, outputs))
        view.xdg[number] = view.xdg[number][0], logical
        return logical


def _hide_own_outputs(hooks: Hooks) -> None:
    """Drop events that name one of the proxy's own wl_outputs: hosts send such an event for every wl_output of the
    connection, and the client knows only its own."""

    def hider(message: MessageLayout, argument: str) -> Hook:
        read_output = message.reader(argument)

        def hide(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
            (output,) = read_output(flow.buffer, at)
            return b"" if output in OUTPUTS.of(flow.relay).own else None

        return hide

    for message, argument in messages_with("wl_output", is_request=False):
        hooks.on_event(message.interface, message.name, hider(message, argument), Phase.REPLACE)


def _announced(flow: Flow, name: int, version: int) -> None:
    relay, outputs = translating(flow.relay), OUTPUTS.of(flow.relay)
    if name in outputs.by_name or len(outputs.by_name) >= _OUTPUT_LIMIT:
        return
    new = relay.add_own("wl_output")
    output = outputs.by_name[name] = outputs.own[new] = HostOutput(new, min(version, _OUTPUT_VERSION))
    registry = OWN_GLOBALS.of(flow.relay).registry
    relay.to_host(_BIND.encode(registry, name, "wl_output", output.version, new), None)
    _create_sources(flow, outputs, output)


def _source_announced(flow: Flow, name: int, version: int) -> None:
    outputs = OUTPUTS.of(flow.relay)
    for output in outputs.by_name.values():
        _create_sources(flow, outputs, output)


def _create_sources(flow: Flow, outputs: Outputs, output: HostOutput) -> None:
    """Create the xdg-output and aura output of an output, if the host has their globals."""
    relay, own = translating(flow.relay), OWN_GLOBALS.of(flow.relay)
    for factory, interface in _SOURCES.items():
        can = factory in own.bound and (factory != AURA or own.versions[AURA] >= _AURA_OUTPUTS)
        if can and interface not in output.sources.values():
            new = relay.add_own(interface)
            output.sources[new] = interface
            outputs.own[new] = output
            relay.to_host(_FACTORIES[factory].encode(own.bound[factory], new, output.host_id), None)


def _own_geometry(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    if output is None:
        return
    x, y, width, height, subpixel, make, model, transform = _read_geometry(flow.buffer, at, stop)
    output.x, output.y, output.millimetres, output.subpixel = x, y, (width, height), subpixel
    output.make, output.model = make or b"", model or b""
    output.transform = transform


def _own_scale(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    if output is not None:
        (output.scale,) = _read_scale(flow.buffer, at)


def _own_logical_position(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    if output is not None:
        x, y = _read_logical_position(flow.buffer, at)
        output.logical_position = x, y


def _own_logical_size(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    if output is not None:
        width, height = _read_logical_size(flow.buffer, at)
        output.logical_size = width, height


def _own_zoom(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    flags, value = _read_zoom(flow.buffer, at)
    if output is not None and flags & _CURRENT and value:
        output.zoom = value / 1000


def _own_device_scale(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    (value,) = _read_device_scale(flow.buffer, at)
    if output is not None and value:
        output.device_scale = value / 1000


def _own_connection(flow: Flow, object_id: int, at: int, stop: int) -> None:
    output = OUTPUTS.of(flow.relay).own.get(object_id)
    if output is not None:
        (connection,) = _read_connection(flow.buffer, at)
        output.is_internal = connection == _INTERNAL


def _bound(flow: Flow, name: int, version: int, object_id: int) -> None:
    outputs = OUTPUTS.of(flow.relay)
    outputs.views[object_id] = View(object_id, version, outputs.by_name.get(name) or HostOutput())


def _manager_bound(flow: Flow, name: int, version: int, object_id: int) -> None:
    OUTPUTS.of(flow.relay).managers[object_id] = version


def _release(flow: Flow, object_id: int, at: int, stop: int) -> None:
    OUTPUTS.of(flow.relay).views.pop(object_id, None)


def _get_xdg_output(flow: Flow, object_id: int, at: int, stop: int) -> None:
    outputs = OUTPUTS.of(flow.relay)
    new, of = _read_get_xdg_output(flow.buffer, at)
    view = outputs.views.get(of)
    if view is not None:
        outputs.xdg[new] = view
        view.xdg[new] = outputs.managers.get(object_id, 1), b""


def _destroy_xdg_output(flow: Flow, object_id: int, at: int, stop: int) -> None:
    view = OUTPUTS.of(flow.relay).xdg.pop(object_id, None)
    if view is not None:
        view.xdg.pop(object_id, None)


def _drop(flow: Flow, object_id: int, at: int, stop: int) -> Buffer:
    return b""

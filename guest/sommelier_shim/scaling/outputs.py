"""Outputs under scaling: clients see sizes in their own units (sommelier.md §3.2).

An output's events are held back until the host has sent all of them, and made anew from what they said. The size
in the host's units comes from the host's xdg-output where there is one, so that fractional scales are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sommelier_shim.own_globals import own_globals
from sommelier_shim.relay import Flow
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling.arithmetic import Scale, clamped
from sommelier_shim.translation import TranslatingRelay
from sommelier_shim.wire import INT, UINT, Buffer, decode, encode

_OUTPUTS, _OWN = "outputs", "own outputs"
_MOST_SCALE = 2
"""The largest scale that clients are told (sommelier.md, appendix C)."""
_ROTATED = (1, 3, 5, 7)
_CURRENT = 1
_GEOMETRY, _MODE, _DONE, _SCALE = range(4)
"""Opcodes of wl_output's events."""
_MILLIMETRES = 25.4
XDG_OUTPUT, AURA = "zxdg_output_manager_v1", "zaura_shell"
_AURA_OUTPUTS, _AURA_RELEASES = 2, 38
"""Versions of zaura_shell from which it makes objects for outputs, and from which these can be destroyed."""


class Output:
    """What the host said of one output, and how a client sees it.

    :ivar logical: position and size in the host's units, as far as xdg-output tells; zeros otherwise.
    :ivar zoom: applied scale where ChromeOS tells it (device scale factor times current zoom), else 0.
    :ivar sources: the proxy's own objects that tell of it: interface by the host's number.
    """

    def __init__(self, client_id: int, version: int, *, awaits_logical: bool) -> None:
        self.client_id = client_id
        self.version = version
        self.awaits_logical = awaits_logical
        self.x = self.y = 0
        self.millimetres = (0, 0)
        self.subpixel = 0
        self.make = self.model = b""
        self.transform = 0
        self.pixels = (0, 0)
        self.refresh = 0
        self.scale = 1
        self.logical_position: tuple[int, int] | None = None
        self.logical_size: tuple[int, int] | None = None
        self.device_scale = 1.0
        self.zoom = 0.0
        self.sources: dict[int, str] = {}
        self._told = b""

    @property
    def applied(self) -> float:
        """Pixels in one unit of the host's."""
        if self.zoom:
            return self.device_scale * self.zoom
        if self.logical_size and self.logical_size[0] > 0 and self.pixels[0] > 0:
            width = self.pixels[1] if self.transform in _ROTATED else self.pixels[0]
            return width / self.logical_size[0]
        return float(max(1, self.scale))

    def events(self, scale: Scale, buckets: Sequence[int]) -> bytes:
        """What the client is told now: the whole set, when any of it has changed."""
        shown = max(1, min(_MOST_SCALE, math.ceil(self.applied / scale.factor)))
        width, height = (clamped(int(pixels * scale.factor * shown / self.applied)) for pixels in self.pixels)
        x, y = self.logical_position or (self.x, self.y)
        millimetres = nearest_density((width, height), self.millimetres, buckets)
        events = encode(
            self.client_id, _GEOMETRY, "iiiiissi", scale.to_guest(x), scale.to_guest(y), *millimetres,
            self.subpixel, self.make, self.model, self.transform,
        )  # fmt: skip
        events += encode(self.client_id, _MODE, "uiii", _CURRENT, width, height, self.refresh)
        if self.version < 2:
            return events
        events += encode(self.client_id, _SCALE, "i", shown)
        # A done may end a set of another interface's: what has not changed is not said again.
        repeated, self._told = events == self._told, events
        return encode(self.client_id, _DONE) if repeated else events + encode(self.client_id, _DONE)


def nearest_density(
    pixels: tuple[int, int], millimetres: tuple[int, int], buckets: Sequence[int]
) -> tuple[int, int]:
    """The physical size with which an output has one of the allowed densities (``--dpi``).

    :param buckets: dots per inch; empty leaves the size alone.
    """
    if not buckets or millimetres[0] <= 0 or pixels[0] <= 0:
        return millimetres
    density = pixels[0] * _MILLIMETRES / millimetres[0]
    nearest = min(buckets, key=lambda bucket: abs(bucket - density))
    return int(pixels[0] * _MILLIMETRES / nearest), int(pixels[1] * _MILLIMETRES / nearest)


def install(hooks: Hooks, scale: Scale, buckets: Sequence[int]) -> None:
    """Describe outputs in the clients' units."""

    def bound(flow: Flow, name: int, version: int, object_id: int) -> None:
        relay = flow.relay
        assert isinstance(relay, TranslatingRelay)
        own = own_globals(flow)
        manager, aura = own.bound.get(XDG_OUTPUT, 0), own.bound.get(AURA, 0)
        output = Output(object_id, version, awaits_logical=bool(manager))
        relay.features.setdefault(_OUTPUTS, {})[object_id] = output
        for factory, interface in ((manager, "zxdg_output_v1"), (aura, "zaura_output")):
            if factory and (factory == manager or own.versions[AURA] >= _AURA_OUTPUTS):
                new = relay.own(interface)
                output.sources[new] = interface
                relay.features.setdefault(_OWN, {})[new] = output
                flow.after += encode(factory, 1, "no", new, relay.host_id(object_id))

    def release(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        relay = flow.relay
        assert isinstance(relay, TranslatingRelay)
        output: Output | None = relay.features.get(_OUTPUTS, {}).pop(object_id, None)
        for own, interface in output.sources.items() if output is not None else ():
            del relay.features[_OWN][own]
            if interface == "zxdg_output_v1" or own_globals(flow).versions[AURA] >= _AURA_RELEASES:
                flow.before += encode(own, 0)
                relay.disown(own, interface)
        return None

    def geometry(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _of(flow, object_id)
        if output is None:
            return None
        x, y, width, height, subpixel, make, model, transform = decode("iiiiissi", flow.buffer[at:stop])
        assert isinstance(x, int)
        assert isinstance(y, int)
        assert isinstance(width, int)
        assert isinstance(height, int)
        assert isinstance(subpixel, int)
        assert isinstance(transform, int)
        output.x, output.y, output.millimetres, output.subpixel = x, y, (width, height), subpixel
        output.make = make if isinstance(make, bytes) else b""
        output.model = model if isinstance(model, bytes) else b""
        output.transform = transform
        return b""

    def mode(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _of(flow, object_id)
        if output is None:
            return None
        if UINT.unpack_from(flow.buffer, at + 8)[0] & _CURRENT:
            width, height, refresh = (INT.unpack_from(flow.buffer, at + offset)[0] for offset in (12, 16, 20))
            output.pixels, output.refresh = (max(0, width), max(0, height)), refresh
        if output.version >= 2:
            return b""
        flow.after += output.events(scale, buckets)  # version 1 has no other end of a set
        return b""

    def output_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _of(flow, object_id)
        if output is None:
            return None
        output.scale = INT.unpack_from(flow.buffer, at + 8)[0]
        return b""

    def done(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _of(flow, object_id)
        if output is None:
            return None
        if not output.awaits_logical:
            flow.after += output.events(scale, buckets)
        return b""

    def own_done(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        """xdg-output before version 3 ends its sets by itself."""
        output = _own(flow, object_id)
        if output is None or flow.relay.client_id(flow.relay.host_id(output.client_id)) == 0:
            return None
        output.awaits_logical = False
        return output.events(scale, buckets)

    def logical_position(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _own(flow, object_id)
        if output is not None:
            output.logical_position = (
                INT.unpack_from(flow.buffer, at + 8)[0],
                INT.unpack_from(flow.buffer, at + 12)[0],
            )
        return None

    def logical_size(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _own(flow, object_id)
        if output is not None:
            output.logical_size = INT.unpack_from(flow.buffer, at + 8)[0], INT.unpack_from(flow.buffer, at + 12)[0]
            # Version 3 has no done of its own; wl_output's follows.
            output.awaits_logical = own_globals(flow).versions[XDG_OUTPUT] < 3
        return None

    def aura_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _own(flow, object_id)
        flags, value = (UINT.unpack_from(flow.buffer, at + offset)[0] for offset in (8, 12))
        if output is not None and flags & _CURRENT and value:
            output.zoom = value / 1000
        return None

    def aura_device_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        output = _own(flow, object_id)
        value = UINT.unpack_from(flow.buffer, at + 8)[0]
        if output is not None and value:
            output.device_scale = value / 1000
        return None

    def preferred_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        value = UINT.unpack_from(flow.buffer, at + 8)[0]
        UINT.pack_into(flow.buffer, at + 8, max(1, clamped(round(value / scale.factor))))
        return None

    def preferred_buffer_scale(flow: Flow, object_id: int, at: int, stop: int) -> Buffer | None:
        value = INT.unpack_from(flow.buffer, at + 8)[0]
        INT.pack_into(flow.buffer, at + 8, max(1, min(_MOST_SCALE, math.ceil(value / scale.factor))))
        return None

    hooks.at_bind.setdefault("wl_output", []).append(bound)
    hooks.on_request("wl_output", "release", release)
    for name, hook in (("geometry", geometry), ("mode", mode), ("scale", output_scale), ("done", done)):
        hooks.on_event("wl_output", name, hook)
    hooks.own_handlers["zxdg_output_v1"] = {
        "logical_position": logical_position,
        "logical_size": logical_size,
        "done": own_done,
    }
    hooks.own_handlers["zaura_output"] = {"scale": aura_scale, "device_scale_factor": aura_device_scale}
    hooks.on_event("wp_fractional_scale_v1", "preferred_scale", preferred_scale)
    hooks.on_event("wl_surface", "preferred_buffer_scale", preferred_buffer_scale)


def _of(flow: Flow, host_id: int) -> Output | None:
    found: Output | None = flow.relay.features.get(_OUTPUTS, {}).get(flow.relay.client_id(host_id))
    return found


def _own(flow: Flow, host_id: int) -> Output | None:
    found: Output | None = flow.relay.features.get(_OWN, {}).get(host_id)
    return found

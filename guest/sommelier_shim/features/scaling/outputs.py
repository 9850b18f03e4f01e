"""Outputs as the host describes them, and as clients see them, in client units (chromeos-sommelier.md §3.2).

The proxy binds every output on each client's connection, before the client can. It records the events of these own
objects, and replaces the events of the client's objects by converted ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from sommelier_shim.core.hooks import FeatureKey
from sommelier_shim.core.layouts import event
from sommelier_shim.features.scaling.arithmetic import Axis, clamped
from sommelier_shim.features.scaling.arrangement import Place, arranged

MOST_SCALE = 2
"""Maximum of the wl_output.scale that clients get (chromeos-sommelier.md, appendix C)."""
_ROTATED = (1, 3, 5, 7)
_CURRENT = 1
_GEOMETRY, _MODE, _SCALE, _DONE = (event("wl_output", name) for name in ("geometry", "mode", "scale", "done"))
_LOGICAL_POSITION = event("zxdg_output_v1", "logical_position")
_LOGICAL_SIZE = event("zxdg_output_v1", "logical_size")
_LOGICAL_DONE = event("zxdg_output_v1", "done")
_LOGICAL_DONE_UNTIL = 3
"""Since this version of xdg-output, wl_output.done replaces zxdg_output_v1.done."""
_MILLIMETRES = 25.4


class HostOutput:
    """The host's description of one output.

    :param host_id: host id of the proxy's own wl_output, bound with :ivar version:.
    :ivar logical_position: position and :ivar logical_size: size in host units from xdg-output; None without.
    :ivar zoom: the current scale from zaura_output, 0 on hosts other than ChromeOS; times
        :ivar device_scale: it is the applied scale.
    :ivar is_internal: whether this is the built-in panel; only ChromeOS reports that.
    :ivar is_gone: whether the host has removed the output.
    :ivar sources: interface by host id of the proxy's own objects for this output besides the wl_output.
    """

    def __init__(self, host_id: int = 0, version: int = 3) -> None:
        self.host_id = host_id
        self.version = version
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
        self.is_internal = False
        self.is_gone = False
        self.sources: dict[int, str] = {}

    @property
    def applied(self) -> float:
        """Pixels per host unit."""
        if self.zoom:
            return self.device_scale * self.zoom
        if self.logical_size and self.logical_size[0] > 0 and self.pixels[0] > 0:
            return self.turned(self.pixels)[0] / self.logical_size[0]
        return float(max(1, self.scale))

    @property
    def is_described(self) -> bool:
        """Whether the host has sent its mode, and its logical size if there is an xdg-output."""
        return self.pixels[0] > 0 and (
            self.logical_size is not None or "zxdg_output_v1" not in self.sources.values()
        )

    @property
    def place(self) -> Place:
        """Position and size in host units."""
        size = self.logical_size or [max(1, int(size / self.applied)) for size in self.turned(self.pixels)]
        return Place(*(self.logical_position or (self.x, self.y)), *size)

    def turned(self, size: tuple[int, int]) -> tuple[int, int]:
        """A size with the output's transform applied: width and height swapped when it is rotated."""
        return size[::-1] if self.transform in _ROTATED else size


class Description(NamedTuple):
    """The description of an output for clients, in client units.

    :ivar mode: width and height of wl_output.mode; :ivar logical: size of xdg-output, with the transform applied
        and divided by the scale.
    """

    position: tuple[int, int]
    millimetres: tuple[int, int]
    mode: tuple[int, int]
    scale: int
    logical: tuple[int, int]


class View:
    """A client's wl_output.

    :ivar xdg: its xdg-outputs by client id: the version, and the events that the client got last.
    """

    def __init__(self, client_id: int, version: int, output: HostOutput) -> None:
        self.client_id = client_id
        self.version = version
        self.output = output
        self.xdg: dict[int, tuple[int, bytes]] = {}
        self._sent_group = b""

    def events(self, described: Description, *, ends_set: bool) -> bytes:
        """Events for the client: the complete group if any event has changed since the last one.

        :param ends_set: whether to send ``done`` even if nothing has changed.
        """
        output = self.output
        group = _GEOMETRY.encode(
            self.client_id, *described.position, *described.millimetres, output.subpixel, output.make, output.model,
            output.transform,
        )  # fmt: skip
        group += _MODE.encode(self.client_id, _CURRENT, *described.mode, output.refresh)
        if self.version >= 2:
            group += _SCALE.encode(self.client_id, described.scale)
        changed = b"" if group == self._sent_group else group
        self._sent_group = group
        for client_id, (version, sent) in self.xdg.items():
            logical = logical_events(client_id, described)
            if logical != sent:
                self.xdg[client_id] = version, logical
                changed += logical + (_LOGICAL_DONE.encode(client_id) if version < _LOGICAL_DONE_UNTIL else b"")
        if self.version >= 2 and (changed or ends_set):
            changed += _DONE.encode(self.client_id)
        return changed


def logical_events(client_id: int, described: Description) -> bytes:
    """The events of an xdg-output, without done."""
    position = _LOGICAL_POSITION.encode(client_id, *described.position)
    return position + _LOGICAL_SIZE.encode(client_id, *described.logical)


class Outputs:
    """The outputs of one client's connection.

    :ivar by_name: the host's outputs by global name, in the order in which the host announced them; :ivar own: the
        same outputs by the host ids of the proxy's own objects.
    :ivar views: the client's wl_outputs by client id; :ivar xdg: the same by the client ids of their xdg-outputs;
        :ivar managers: version by client id of the client's xdg-output managers.
    """

    def __init__(self) -> None:
        self.by_name: dict[int, HostOutput] = {}
        self.own: dict[int, HostOutput] = {}
        self.views: dict[int, View] = {}
        self.xdg: dict[int, View] = {}
        self.managers: dict[int, int] = {}

    @property
    def internal(self) -> HostOutput | None:
        """The built-in panel, else the first output (chromeos-sommelier.md §3.1)."""
        outputs = self.by_name.values()
        return next((output for output in outputs if output.is_internal), None) or next(iter(outputs), None)

    def arranged(self, sizes: Iterable[tuple[int, int]]) -> dict[HostOutput, tuple[int, int]]:
        """The outputs' positions for these sizes."""
        outputs = list(self.by_name.values())
        return dict(zip(outputs, arranged([output.place for output in outputs], list(sizes)), strict=True))


OUTPUTS = FeatureKey("outputs", Outputs)


class Describer(Protocol):
    """Converts the descriptions of outputs for clients."""

    def is_ready(self, outputs: Outputs) -> bool:
        """Whether the host has said enough to describe any output."""

    def described(self, output: HostOutput, outputs: Outputs) -> Description:
        """The description of one output for clients."""


class ScaledOutputs:
    """Descriptions under ``--scale``.

    :param buckets: the densities that outputs may report, in dots per inch.
    """

    def __init__(self, factor: float, *, stable: bool = False, buckets: Sequence[int] = ()) -> None:
        self._axis = Axis(factor, stable=stable)
        self._buckets = buckets

    def is_ready(self, outputs: Outputs) -> bool:
        """See :meth:`Describer.is_ready`."""
        return True

    def described(self, output: HostOutput, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        factor, applied = self._axis.guest, output.applied
        shown = max(1, min(MOST_SCALE, math.ceil(applied / factor)))
        width, height = (clamped(int(pixels * factor * shown / applied)) for pixels in output.pixels)
        x, y, *logical = (self._axis.to_guest(value) for value in output.place)
        millimetres = nearest_density((width, height), output.millimetres, self._buckets)
        return Description((x, y), millimetres, (width, height), shown, (logical[0], logical[1]))


class MeasuredOutputs:
    """Descriptions under ``--dpi`` alone: those of the host, with another physical size.

    :param buckets: the densities that outputs may report, in dots per inch.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        self._buckets = buckets

    def is_ready(self, outputs: Outputs) -> bool:
        """See :meth:`Describer.is_ready`."""
        return True

    def described(self, output: HostOutput, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        x, y, *logical = output.place
        millimetres = nearest_density(output.pixels, output.millimetres, self._buckets)
        return Description((x, y), millimetres, output.pixels, max(1, output.scale), (logical[0], logical[1]))


class DirectOutputs:
    """Descriptions under ``--direct-scale``: in pixels times a factor (chromeos-sommelier.md §3.3)."""

    def __init__(self, factor: float, *, stable: bool = False) -> None:
        self.factor = factor
        self.stable = stable

    def is_ready(self, outputs: Outputs) -> bool:
        """See :meth:`Describer.is_ready`."""
        return True

    def described(self, output: HostOutput, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        sizes = [other.turned(self.virtual(other)) for other in outputs.by_name.values()]
        position = outputs.arranged(sizes).get(output, (0, 0))
        mode = self.virtual(output)
        return Description(position, output.millimetres, mode, 1, output.turned(mode))

    def virtual(self, output: HostOutput) -> tuple[int, int]:
        """The size of an output in client units, before the transform."""
        width, height = (clamped(int(pixels * self.factor)) for pixels in output.pixels)
        return width, height

    def axes(self, output: HostOutput | None) -> tuple[Axis, Axis]:
        """The conversions for surfaces on an output."""
        ratios: list[tuple[float, float]] = [(self.factor * (output.applied if output else 1), 1)] * 2
        if output is not None and output.logical_size and min(*output.logical_size, *output.pixels) > 0:
            virtual = output.turned(self.virtual(output))
            ratios = [(max(1, guest), host) for guest, host in zip(virtual, output.logical_size, strict=True)]
        across, down = (Axis(guest, host, self.stable, direct=True) for guest, host in ratios)
        return across, down


def nearest_density(
    pixels: tuple[int, int], millimetres: tuple[int, int], buckets: Sequence[int]
) -> tuple[int, int]:
    """The physical size that gives an output the nearest of the allowed densities (``--dpi``).

    :param buckets: dots per inch; if there are none, the size stays.
    """
    if not buckets or millimetres[0] <= 0 or pixels[0] <= 0:
        return millimetres
    density = pixels[0] * _MILLIMETRES / millimetres[0]
    nearest = min(buckets, key=lambda bucket: abs(bucket - density))
    return int(pixels[0] * _MILLIMETRES / nearest), int(pixels[1] * _MILLIMETRES / nearest)

"""The units of X11 programs: pixels of the densest output, times ``--scale`` (chromeos-sommelier.md §3.1, §3.2).

X11 knows one density for all outputs, and most programs draw pixels. So Xwayland sees every output at one density,
the host shows each surface by a viewport, and on the densest output its pixels are the screen's.
Outputs follow each other from the corner 0, 0: an X server has no negative positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.relay import Relay
from sommelier_shim.features import scaling
from sommelier_shim.features.output_places import OutputPlace
from sommelier_shim.features.scaling import coordinates, output_events, surfaces
from sommelier_shim.features.scaling.arithmetic import Axis, Scale, clamped
from sommelier_shim.features.scaling.outputs import OUTPUTS, Description, HostOutput, Outputs
from sommelier_shim.xwayland.window_manager.window import Rectangle

DENSITY = 96
"""Dots per inch that X11 programs take for an unscaled output (chromeos-sommelier.md §3.2)."""
_STEPS = 120
"""Hosts' fractional scales are multiples of 1/120 (wp_fractional_scale_v1); a logical size is rounded."""
_MILLIMETRES = 25.4


class NearestAxis(Axis):
    """Conversions to the nearest number, as hosts place the edges of windows on their pixels. With more pixels than
    host units a host's size comes back unchanged."""

    __slots__ = ()

    def to_guest(self, value: int) -> int:
        """See :class:`~sommelier_shim.features.scaling.arithmetic.Conversions`."""
        return clamped(math.floor(value * self.guest / self.host + 0.5))

    def to_host(self, value: int) -> int:
        """See :class:`~sommelier_shim.features.scaling.arithmetic.Conversions`."""
        return clamped(math.floor(value * self.host / self.guest + 0.5))

    def destination(self, size: float, buffer_scale: float = 1) -> int:
        """See :class:`~sommelier_shim.features.scaling.arithmetic.Conversions`."""
        return max(1, clamped(math.floor(size * self.host / (self.guest * buffer_scale) + 0.5)))


class X11Surface(surfaces.Surface):
    """A surface whose size the host may have decided.

    :ivar decided: a size of its contents, and the host's size that they are the answer to.
    """

    __slots__ = ("decided",)

    def __init__(self, scale: Scale) -> None:
        super().__init__(scale)
        self.decided: tuple[tuple[int, int], tuple[int, int]] | None = None

    def shown_size(self) -> tuple[int, int] | None:
        """See :class:`~sommelier_shim.features.scaling.surfaces.Surface`."""
        if self.decided is not None and self.destination is None and self.contents == self.decided[0]:
            return self.decided[1]
        return super().shown_size()


class X11Units(surfaces.UniformScale):
    """The units of one run of Xwayland. The first output events of the host decide them.

    :param wanted: ``--scale``.
    :param buckets: the densities that outputs may report, in dots per inch; any if there are none.
    :ivar factor: X's units per host unit.
    """

    def __init__(self, wanted: float = 1.0, buckets: Sequence[int] = ()) -> None:
        super().__init__(1.0, stable=False)
        self._wanted = wanted
        self._buckets = buckets
        self._has_viewporter = False
        self._is_decided = False
        self._set(1.0)

    def install(self, hooks: Hooks, *, has_viewporter: bool, places: Mapping[int, OutputPlace]) -> dict[str, int]:
        """Install the hooks on Xwayland's connection.

        :param has_viewporter: whether clients get viewports; without them a unit is the host's.
        :param places: positions of outputs by the names of their globals, where clients do not get xdg-output.
        :returns: the host globals that the hooks bind, with the highest version of each.
        """
        self._has_viewporter = has_viewporter
        coordinates.install(hooks, self)
        if has_viewporter:
            surfaces.install(hooks, self)
        output_events.install(hooks, self, places)
        return scaling.wanted_globals()

    @property
    def density(self) -> int:
        """Dots per inch for programs."""
        exact = DENSITY * self.factor
        return round(min(self._buckets, key=lambda bucket: abs(bucket - exact)) if self._buckets else exact)

    def new_surface(self, relay: Relay, object_id: int) -> surfaces.Surface:
        """See :class:`~sommelier_shim.features.scaling.surfaces.CoordinateSpace`."""
        return X11Surface(self.scale)

    def is_ready(self, outputs: Outputs) -> bool:
        """See :class:`~sommelier_shim.features.scaling.outputs.Describer`: the densest output decides."""
        return self._is_decided or all(output.is_described for output in outputs.by_name.values())

    def described(self, output: HostOutput, outputs: Outputs) -> Description:
        """See :class:`~sommelier_shim.features.scaling.outputs.Describer`."""
        if not self._is_decided:
            self._is_decided = True
            self._decide(outputs)
        x, y, *size = self._place(output, outputs)
        width, height = output.turned((size[0], size[1]))
        millimetres = tuple(max(1, round(pixels * _MILLIMETRES / self.density)) for pixels in (width, height))
        return Description((x, y), (millimetres[0], millimetres[1]), (width, height), 1, (size[0], size[1]))

    def area(self, relay: Relay, host_id: int) -> Rectangle | None:
        """The place of one of the proxy's own outputs in X's units; ``None`` for another one."""
        outputs = OUTPUTS.of(relay)
        output = outputs.own.get(host_id)
        return self._place(output, outputs) if output is not None and output.pixels[0] else None

    def fit(self, size: int) -> int:
        """The nearest size of a window that the host can show pixel by pixel."""
        return self.scale.x.to_guest(self.scale.x.size_to_host(size))

    def _decide(self, outputs: Outputs) -> None:
        known = [output for output in outputs.by_name.values() if output.pixels[0]]
        panels = [output for output in known if output.is_internal]
        density = max((_density(output) for output in panels or known), default=1.0)
        self._set(scaling.usable(self._wanted * density, has_viewporter=True) if self._has_viewporter else 1.0)

    def _set(self, factor: float) -> None:
        self.factor = factor
        self.scale = Scale(NearestAxis(factor), NearestAxis(factor))

    def _place(self, output: HostOutput, outputs: Outputs) -> Rectangle:
        position = outputs.arranged([self._size(other) for other in outputs.by_name.values()]).get(output, (0, 0))
        return Rectangle(*position, *self._size(output))

    def _size(self, output: HostOutput) -> tuple[int, int]:
        ratio = self.factor / _density(output)
        width, height = output.turned(output.pixels)
        return max(1, clamped(int(width * ratio + 1e-6))), max(1, clamped(int(height * ratio + 1e-6)))


def _density(output: HostOutput) -> float:
    """Pixels per host unit."""
    return max(1, round(output.applied * _STEPS)) / _STEPS

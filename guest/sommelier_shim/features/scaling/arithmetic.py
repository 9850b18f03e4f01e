"""Conversion of numbers between host units and client units (chromeos-sommelier.md §3.4)."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

INT_MAX = 0x7FFFFFFF
_DAMAGE_LIMIT = INT_MAX // 10
"""Programs send damage rectangles of up to INT_MAX; below this limit no conversion overflows."""


class Conversions(Protocol):
    """The conversions along one axis: by one ratio (:class:`Axis`), or by the ratios of a surface
    (:class:`~sommelier_shim.features.scaling.surface_axis.SurfaceAxis`)."""

    def to_guest(self, value: int) -> int:
        """Convert a length or coordinate from host units to client units."""

    def to_host(self, value: int) -> int:
        """Convert a length or coordinate from client units to host units."""

    def fixed_to_guest(self, raw: int) -> int:
        """Convert a 24.8 fixed-point number from host units to client units."""

    def fixed_to_host(self, raw: int) -> int:
        """Convert a 24.8 fixed-point number from client units to host units."""

    def size_to_guest(self, value: int) -> int:
        """Convert a window's size from host units to client units."""

    def size_to_host(self, value: int) -> int:
        """Convert a size from client units to host units: at least 1. Zero and negative values have a meaning of
        their own and stay."""

    def edge_to_host(self, value: int) -> int:
        """Convert the right or bottom edge of a rectangle from client units to host units."""

    def destination(self, size: int, buffer_scale: int = 1) -> int:
        """The size in host units at which the host shows a surface.

        :param size: size of the surface's contents, with ``buffer_scale`` pixels per client unit.
        """

    def damage(self, first: int, last: int) -> tuple[int, int]:
        """Convert a damaged range, given by its first and last edge, to a range in host units that covers it."""


class Axis(NamedTuple):
    """Conversions along one axis by one ratio.

    :ivar guest: a length in client units that equals :ivar host: in host units. With two whole numbers the ratio
        is exact in both directions.
    :ivar stable: round so that a round trip gives the same number (``--stable-scaling``).
    :ivar direct: client units are pixels (``--direct-scale``): sizes are truncated like all other numbers, and
        damage gets no margin.
    """

    guest: float
    host: float = 1
    stable: bool = False
    direct: bool = False

    def to_guest(self, value: int) -> int:
        """See :class:`Conversions`."""
        product = value * self.guest / self.host
        return clamped(math.ceil(product) if self.stable else math.trunc(product))

    def to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        quotient = value * self.host / self.guest
        return clamped(math.floor(quotient) if self.stable else math.trunc(quotient))

    def fixed_to_guest(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return clamped(round(raw * self.guest / self.host))

    def fixed_to_host(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return clamped(round(raw * self.host / self.guest))

    def size_to_guest(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self.to_guest(value)

    def size_to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return max(1, self.to_host(value)) if value > 0 else value

    def edge_to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self.to_host(value)

    def destination(self, size: float, buffer_scale: float = 1) -> int:
        """See :class:`Conversions`. Here sizes and scales may be fractions."""
        quotient = size * self.host / (self.guest * buffer_scale)
        return max(1, clamped(math.trunc(quotient) if self.direct else math.ceil(quotient)))

    def damage(self, first: int, last: int, buffer_scale: float = 1) -> tuple[int, int]:
        """See :class:`Conversions`. One unit wider on each side, because the host's filter blurs over the edge,
        unless units are pixels."""
        spread = 0 if self.direct else 1
        scale = self.guest * buffer_scale
        start = max(first - spread, -_DAMAGE_LIMIT) * self.host / scale
        low = math.floor(start) if self.direct and self.stable else math.trunc(start)
        high = math.ceil(min(last + spread, _DAMAGE_LIMIT) * self.host / scale)
        return clamped(low), clamped(high)


class Scale(NamedTuple):
    """Conversions along both axes."""

    x: Conversions
    y: Conversions

    @classmethod
    def by(cls, factor: float, *, stable: bool = False) -> Scale:
        """Conversions by one factor: client units per host unit."""
        return cls(*[Axis(factor, stable=stable)] * 2)

    def rectangle(self, x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Convert a client's rectangle to host units, corner by corner (chromeos-sommelier.md §1.2)."""
        left, top = self.x.to_host(x), self.y.to_host(y)
        right, bottom = self.x.edge_to_host(x + width), self.y.edge_to_host(y + height)
        return left, top, clamped(right - left), clamped(bottom - top)


def clamped(value: int) -> int:
    """A number clamped to the range of a signed 32-bit integer."""
    return max(-INT_MAX - 1, min(INT_MAX, value))


def usable(desired: float, *, has_viewporter: bool) -> float:
    """The nearest possible factor: 0.1 to 10, and whole without viewports (chromeos-sommelier.md §2.2)."""
    factor = min(10.0, max(0.1, desired))
    return factor if has_viewporter else float(max(1, round(factor)))

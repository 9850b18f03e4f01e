"""How numbers are converted between the host's units and the clients' (chromeos-sommelier.md §3.4)."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

INT_MAX = 0x7FFFFFFF
_DAMAGE_LIMIT = INT_MAX // 10
"""Programs damage rectangles as large as the numbers go; inside this limit nothing can overflow."""


class Conversions(Protocol):
    """What can be converted along one axis: by one ratio (:class:`Axis`), or as a surface needs it."""

    def to_guest(self, value: int) -> int:
        """A length or coordinate of the host's."""

    def to_host(self, value: int) -> int:
        """A length or coordinate of a client's."""

    def fixed_to_guest(self, raw: int) -> int:
        """A 24.8 number of the host's."""

    def fixed_to_host(self, raw: int) -> int:
        """A 24.8 number of a client's."""

    def size_to_guest(self, value: int) -> int:
        """A window's size of the host's."""

    def size_to_host(self, value: int) -> int:
        """A size that may not become nothing; 0 and below mean something else and stay."""

    def edge_to_host(self, value: int) -> int:
        """The far edge of a rectangle of a client's."""

    def destination(self, size: int, buffer_scale: int = 1) -> int:
        """The size in the host's units at which a surface is shown.

        :param size: of the surface's contents, in pixels of ``buffer_scale`` for each of the client's units.
        """

    def damage(self, first: int, last: int) -> tuple[int, int]:
        """The range that covers a damaged range."""


class Axis(NamedTuple):
    """Conversions along one axis by one ratio.

    :ivar guest: clients' units that are as long as :ivar host: units of the host's. Two whole numbers make an exact
        ratio: either converts into the other.
    :ivar stable: round so that a round trip gives the same number (``--stable-scaling``).
    :ivar direct: clients' units are pixels (``--direct-scale``): sizes are cut like everything else, and damage
        does not spread.
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
        """See :class:`Conversions`. Sizes and scales may be fractions here."""
        quotient = size * self.host / (self.guest * buffer_scale)
        return max(1, clamped(math.trunc(quotient) if self.direct else math.ceil(quotient)))

    def damage(self, first: int, last: int, buffer_scale: float = 1) -> tuple[int, int]:
        """See :class:`Conversions`. One unit wider for what filtering spreads, unless units are pixels."""
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
        """Conversions by one factor: clients' units in one of the host's."""
        return cls(*[Axis(factor, stable=stable)] * 2)

    def rectangle(self, x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
        """A rectangle of a client's, corner by corner (chromeos-sommelier.md §1.2)."""
        left, top = self.x.to_host(x), self.y.to_host(y)
        right, bottom = self.x.edge_to_host(x + width), self.y.edge_to_host(y + height)
        return left, top, clamped(right - left), clamped(bottom - top)


def clamped(value: int) -> int:
    """A number kept inside 32 bits."""
    return max(-INT_MAX - 1, min(INT_MAX, value))


def usable(desired: float, *, has_viewporter: bool) -> float:
    """The factor that can be had: 0.1 to 10, and whole without viewports (chromeos-sommelier.md §2.2)."""
    factor = min(10.0, max(0.1, desired))
    return factor if has_viewporter else float(max(1, round(factor)))

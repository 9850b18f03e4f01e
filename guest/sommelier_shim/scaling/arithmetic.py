"""How numbers are converted between the host's units and the clients' (sommelier.md §3.4)."""

from __future__ import annotations

import math
from typing import NamedTuple

INT_MAX = 0x7FFFFFFF
_DAMAGE_LIMIT = INT_MAX // 10
"""Programs damage rectangles as large as the numbers go; inside this limit nothing can overflow."""


class Scale(NamedTuple):
    """Conversions by one factor.

    :ivar factor: clients' units in one unit of the host.
    :ivar stable: round so that a round trip gives the same number (``--stable-scaling``).
    """

    factor: float
    stable: bool = False

    def to_guest(self, value: int) -> int:
        """A length or coordinate of the host's."""
        product = value * self.factor
        return clamped(math.ceil(product) if self.stable else math.trunc(product))

    def to_host(self, value: int) -> int:
        """A length or coordinate of a client's."""
        quotient = value / self.factor
        return clamped(math.floor(quotient) if self.stable else math.trunc(quotient))

    def fixed_to_guest(self, raw: int) -> int:
        """A 24.8 number of the host's."""
        return clamped(round(raw * self.factor))

    def fixed_to_host(self, raw: int) -> int:
        """A 24.8 number of a client's."""
        return clamped(round(raw / self.factor))

    def size_to_host(self, value: int) -> int:
        """A size that may not become nothing; 0 and below mean something else and stay."""
        return max(1, self.to_host(value)) if value > 0 else value

    def destination(self, size: float, buffer_scale: float = 1) -> int:
        """The size in the host's units at which a surface is shown.

        :param size: of the surface's contents, in pixels of ``buffer_scale`` for each of the client's units.
        """
        return max(1, clamped(math.ceil(size / (self.factor * buffer_scale))))

    def damage(self, first: int, last: int, buffer_scale: float = 1) -> tuple[int, int]:
        """The range that covers a damaged range, one unit wider for what filtering spreads."""
        scale = self.factor * buffer_scale
        low = math.trunc(max(first - 1, -_DAMAGE_LIMIT) / scale)
        high = math.ceil(min(last + 1, _DAMAGE_LIMIT) / scale)
        return clamped(low), clamped(high)


def clamped(value: int) -> int:
    """A number kept inside 32 bits."""
    return max(-INT_MAX - 1, min(INT_MAX, value))


def usable(desired: float, *, has_viewporter: bool) -> float:
    """The factor that can be had: 0.1 to 10, and whole without viewports (sommelier.md §2.2)."""
    factor = min(10.0, max(0.1, desired))
    return factor if has_viewporter else float(max(1, round(factor)))

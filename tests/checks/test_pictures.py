"""The pictures in docs/: no text overlaps another text, or leaves its box."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from typing import NamedTuple

from support.stage import CHECKOUT

_SVG = "{http://www.w3.org/2000/svg}"
_SIZES = {"title": 14.0, "name": 13.0, "small": 11.0}
_WIDTHS = {"title": 0.66, "name": 0.64, "small": 0.56}
"""About the mean advance of DejaVu Sans, bold and regular, in ems."""


class Box(NamedTuple):
    """A rectangle in the picture's units."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Box) -> bool:
        """Whether the two rectangles share a point."""
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.bottom < other.top or other.bottom < self.top)

    def holds(self, other: Box) -> bool:
        """Whether the other rectangle lies inside this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


def _extent(element: ET.Element) -> Box:
    kind = element.get("class", "small")
    size = _SIZES[kind]
    width = len(element.text or "") * _WIDTHS[kind] * size
    left = float(element.get("x", "0")) - (width / 2 if element.get("text-anchor") == "middle" else 0)
    baseline = float(element.get("y", "0"))
    return Box(left, baseline - 0.76 * size, left + width, baseline + 0.24 * size)


def _rectangle(element: ET.Element) -> Box:
    left, top, width, height = (float(element.get(name, "0")) for name in ("x", "y", "width", "height"))
    return Box(left, top, left + width, top + height)


def test_the_architecture_can_be_read() -> None:
    root = ET.parse(CHECKOUT / "docs/architecture.svg").getroot()
    texts = [(element.text or "", _extent(element)) for element in root.iter(f"{_SVG}text")]
    named = [element for element in root.iter(f"{_SVG}rect") if element.get("class") not in (None, "side")]
    boxes = [_rectangle(element) for element in named]
    assert len(texts) > 40
    touching = [(a[0], b[0]) for a, b in itertools.combinations(texts, 2) if a[1].touches(b[1])]
    assert not touching
    leaving = [text for text, place in texts for box in boxes if box.touches(place) and not box.holds(place)]
    assert not leaving

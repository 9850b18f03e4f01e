"""The places of the host's outputs in X's units, and where windows are on them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sommelier_shim.xwayland.window_manager.window import Rectangle, Window


class OutputAreas:
    """The outputs of one X server, the primary one first."""

    def __init__(self) -> None:
        self._areas: tuple[Rectangle, ...] = (Rectangle(0, 0, 1024, 768),)

    def replace(self, areas: Sequence[Rectangle]) -> None:
        """The server has these outputs now, at least one."""
        self._areas = tuple(areas)

    @property
    def desktop(self) -> Rectangle:
        """The smallest rectangle with all outputs."""
        left, top = min(area.x for area in self._areas), min(area.y for area in self._areas)
        right = max(area.x + area.width for area in self._areas)
        bottom = max(area.y + area.height for area in self._areas)
        return Rectangle(left, top, right - left, bottom - top)

    def meets(self, place: Rectangle) -> bool:
        """Whether a part of a place is on an output."""
        return any(area.meets(place) for area in self._areas)

    def centered(self, place: Rectangle, around: Rectangle | None) -> Rectangle:
        """A place in the middle of another one, or of the first output, but not left of that output or above it."""
        first = self._areas[0]
        around = around or first
        x = max(around.x + (around.width - place.width) // 2, first.x)
        y = max(around.y + (around.height - place.height) // 2, first.y)
        return place._replace(x=x, y=y)

    def expanded(self, window: Window) -> Rectangle:
        """The place of a window that becomes fullscreen or maximized: its output's corner. The window remembers the
        place that it had."""
        if window.restored is None:
            window.restored = window.place
        place = self.on_output_of(window, window.place)
        area = self._area_of(place) or self._areas[0]
        return place._replace(x=area.x, y=area.y)

    def restored(self, window: Window) -> Rectangle:
        """The place of a window that is neither: the one that it had before."""
        restored, window.restored = window.restored, None
        return self.on_output_of(window, restored) if restored is not None else window.place

    def on_output_of(self, window: Window, place: Rectangle) -> Rectangle:
        """A place of a window, moved to an output on which the host shows the window."""
        areas, before = window.areas, self._area_of(place)
        if not areas or before in areas:
            return place
        area = areas[-1]
        before = before or area
        x = area.x + max(0, min(place.x - before.x, area.width - place.width))
        y = area.y + max(0, min(place.y - before.y, area.height - place.height))
        return place._replace(x=x, y=y)

    def _area_of(self, place: Rectangle) -> Rectangle | None:
        """The output that has the middle of a place."""
        middle = place.x + place.width // 2, place.y + place.height // 2
        return next((area for area in self._areas if area.contains(*middle)), None)

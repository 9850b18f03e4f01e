"""A client under direct scale (one scale per output) that sends raw messages; its host has two outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

from support.scaled import Scaled
from support.wayland_peers import GLOBALS, heard_by


class Panel(NamedTuple):
    """One of the host's outputs."""

    logical: tuple[int, int, int, int]
    pixels: tuple[int, int]


LEFT, RIGHT = Panel((0, 0, 960, 540), (1920, 2160)), Panel((960, 0, 1000, 800), (1000, 800))
"""The left one has two pixels per unit horizontally and four vertically, as in chromeos-sommelier.md §9."""
DIRECT_GLOBALS = (*GLOBALS, ("wl_output", 3), ("zxdg_output_manager_v1", 3), ("wp_fractional_scale_manager_v1", 1))


class Direct(Scaled):
    """A client under direct scale whose host has two outputs."""

    def own_outputs(self) -> list[int]:
        """The host ids of the proxy's own objects for both outputs."""
        return self.host.bound["wl_output"][:2]

    def describe(self, panel: Panel, output: int, xdg_output: int = 0) -> None:
        """Send the host's events that describe an output."""
        if xdg_output:
            self.host.event(xdg_output, "logical_position", *panel.logical[:2])
            self.host.event(xdg_output, "logical_size", *panel.logical[2:])
        self.host.event(output, "geometry", *panel.logical[:2], 344, 193, 0, "maker", "panel", 0)
        self.host.event(output, "mode", 3, *panel.pixels, 60000)
        self.host.event(output, "scale", 2)
        self.host.event(output, "done")

    def describe_all(self) -> None:
        """Send the events that a host sends to the proxy when a client connects."""
        asked = [m for m in self.host.requests if m.object_id == self.host.bound["zxdg_output_manager_v1"][0]]
        xdg = {output: new for new, output in (m.arguments for m in asked)}
        for panel, output in zip((LEFT, RIGHT), self.own_outputs(), strict=True):
            self.describe(panel, output, xdg[output])
        self.client.sync()

    def window(self) -> Window:
        """A toplevel with its surface."""
        surface, host_surface = self.surface()
        xdg = self.client.create(self.wm, "get_xdg_surface", surface)
        toplevel = self.client.create(xdg, "get_toplevel")
        self.client.sync()
        host_xdg = self.made(self.host_id("xdg_wm_base"), "get_xdg_surface")
        return Window(surface, xdg, toplevel, host_surface, host_xdg, self.made(host_xdg, "get_toplevel"))

    def show(self, surface: int, width: int, height: int) -> None:
        """Attach a buffer and commit."""
        self.client.request(surface, "attach", self.buffer(width, height), 0, 0)
        self.client.request(surface, "commit")

    def shown(self, host_surface: int) -> list[int]:
        """The size in which the host shows a surface."""
        self.client.sync()
        (viewporter,) = self.host.bound["wp_viewporter"]
        made = heard_by(self.host.requests, viewporter, "get_viewport")
        (viewport,) = [new for new, surface in made if surface == host_surface]
        return self.host.wait_request(viewport, "set_destination").arguments

    def enter(self, window: Window, output: int) -> list[Any]:
        """Send wl_surface.enter from the host for a window; returns the events that the client receives.

        The proxy has handled the client's earlier requests by then; without a sync it may read the event first.
        """
        heard = self.client.sync()
        self.host.event(window.host_surface, "enter", self.own_outputs()[output])
        return [*heard, *self.client.sync()]


class Window(NamedTuple):
    """Ids of a window's objects."""

    surface: int
    xdg: int
    toplevel: int
    host_surface: int
    host_xdg: int
    host_toplevel: int

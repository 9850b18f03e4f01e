"""Scaling: clients see outputs, coordinates and sizes in client units. A client unit is ``1/scale`` of a host unit,
or ``1/scale`` of a pixel of each output (chromeos-sommelier.md §3). The proxy leaves buffers as they are and sets
each surface's size on the host with a viewport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.layouts import version_of
from sommelier_shim.features.output_places import XDG_OUTPUT, OutputPlace
from sommelier_shim.features.scaling import (
    coordinates,
    direct,
    kept_state,
    output_events,
    popups,
    regions,
    surfaces,
)
from sommelier_shim.features.scaling.arithmetic import usable
from sommelier_shim.features.scaling.outputs import MeasuredOutputs, ScaledOutputs

__all__ = [
    "DIRECT_NEEDS", "VIEWPORTER", "XDG_OUTPUT", "install", "install_densities", "install_direct", "usable",
    "wanted_globals",
]  # fmt: skip

VIEWPORTER = "wp_viewporter"
DIRECT_NEEDS = (VIEWPORTER, XDG_OUTPUT)
"""Globals of the host that direct scale requires."""


def install(
    hooks: Hooks,
    factor: float,
    buckets: Sequence[int] = (),
    *,
    stable: bool = False,
    has_viewporter: bool,
    places: Mapping[int, OutputPlace],
) -> dict[str, int]:
    """Install the hooks of ``--scale``: one factor for everything.

    :param factor: client units per host unit.
    :param buckets: the densities that outputs may report, in dots per inch.
    :param has_viewporter: whether the host has viewports for clients; otherwise the hooks multiply the buffer
        scale by the factor, which must be a whole number.
    :param places: positions of outputs by the names of their globals, where clients do not get xdg-output.
    :returns: the host globals that the hooks bind, with the highest version of each.
    """
    space = surfaces.UniformScale(factor, stable=stable)
    coordinates.install(hooks, space)
    if has_viewporter:
        surfaces.install(hooks, space)
    else:
        surfaces.install_without_viewports(hooks, space)
    output_events.install(hooks, ScaledOutputs(factor, stable=stable, buckets=buckets), places)
    return wanted_globals()


def install_direct(
    hooks: Hooks, factor: float, *, stable: bool = False, places: Mapping[int, OutputPlace]
) -> dict[str, int]:
    """Install the hooks of ``--direct-scale``: one ratio per output.

    :param factor: client units per pixel.
    :param places: as of :func:`install`.
    :returns: as :func:`install`.
    """
    space = direct.PerOutputScale(factor, stable=stable)
    surfaces.install(hooks, space)
    direct.install(hooks)
    regions.install(hooks, space)
    popups.install(hooks)
    coordinates.install(hooks, space, direct.CONVERTED_HERE | regions.DEFERRED | popups.DEFERRED)
    kept_state.install(hooks, {interface for interface, _ in coordinates.KEPT} | regions.USING | popups.POPUPS)
    output_events.install(hooks, space.outputs, places, space.outputs_changed)
    return {regions.COMPOSITOR: 1, **wanted_globals()}


def install_densities(hooks: Hooks, buckets: Sequence[int], *, places: Mapping[int, OutputPlace]) -> dict[str, int]:
    """Install the hooks of ``--dpi`` alone: outputs report densities of a list, and nothing is scaled.

    :param places: as of :func:`install`.
    :returns: as :func:`install`.
    """
    output_events.install(hooks, MeasuredOutputs(buckets), places)
    return {name: version for name, version in wanted_globals().items() if name != VIEWPORTER}


def wanted_globals() -> dict[str, int]:
    """The host globals that the hooks of scaling bind, with the highest version of each."""
    return {VIEWPORTER: 1, XDG_OUTPUT: 3, output_events.AURA: version_of(output_events.AURA)}

"""Units of the clients' own: they see outputs, coordinates and sizes in units that are ``1/scale`` of the host's,
or of the pixels of each output (chromeos-sommelier.md §3). Buffers are not touched; a viewport on every surface
tells the host how large it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sommelier_shim.output_places import XDG_OUTPUT, OutputPlace
from sommelier_shim.routes import Hooks
from sommelier_shim.scaling import coordinates, direct, output_events, popups, regions, standing, surfaces
from sommelier_shim.scaling.arithmetic import usable
from sommelier_shim.scaling.outputs import MeasuredOutputs, ScaledOutputs
from sommelier_shim.shapes import version_of

__all__ = ["DIRECT_NEEDS", "VIEWPORTER", "XDG_OUTPUT", "install", "install_densities", "install_direct", "usable"]

VIEWPORTER = "wp_viewporter"
DIRECT_NEEDS = (VIEWPORTER, XDG_OUTPUT)
"""Globals of the host without which there is no direct scale."""


def install(
    hooks: Hooks,
    factor: float,
    buckets: Sequence[int] = (),
    *,
    stable: bool = False,
    has_viewporter: bool,
    places: Mapping[int, OutputPlace],
) -> dict[str, int]:
    """Switch on one scale for everything.

    :param factor: clients' units in one of the host's.
    :param buckets: densities that may be reported.
    :param has_viewporter: whether clients get viewports; a whole buffer scale must do where they do not.
    :param places: of outputs by the names of their globals, where clients do not get xdg-output.
    :returns: the host's globals that this needs, with the highest version of each.
    """
    space = surfaces.Uniform(factor, stable=stable)
    coordinates.install(hooks, space)
    if has_viewporter:
        surfaces.install(hooks, space)
    else:
        surfaces.install_without_viewports(hooks, space)
    output_events.install(hooks, ScaledOutputs(factor, stable=stable, buckets=buckets), places)
    return _wanted()


def install_direct(
    hooks: Hooks, factor: float, *, stable: bool = False, places: Mapping[int, OutputPlace]
) -> dict[str, int]:
    """Switch on scales by output.

    :param factor: clients' units in one pixel.
    :param places: as of :func:`install`.
    :returns: as :func:`install`.
    """
    space = direct.Direct(factor, stable=stable)
    surfaces.install(hooks, space)
    direct.install(hooks)
    regions.install(hooks, space)
    popups.install(hooks)
    coordinates.install(hooks, space, direct.CONVERTED_HERE | regions.DEFERRED | popups.DEFERRED)
    standing.install(hooks, {interface for interface, _ in coordinates.STANDING} | regions.USING | popups.POPUPS)
    output_events.install(hooks, space.outputs, places, space.outputs_changed)
    return {regions.COMPOSITOR: 1, **_wanted()}


def install_densities(hooks: Hooks, buckets: Sequence[int], *, places: Mapping[int, OutputPlace]) -> dict[str, int]:
    """Report densities of a list, and scale nothing.

    :param places: as of :func:`install`.
    :returns: as :func:`install`.
    """
    output_events.install(hooks, MeasuredOutputs(buckets), places)
    return {name: version for name, version in _wanted().items() if name != VIEWPORTER}


def _wanted() -> dict[str, int]:
    return {VIEWPORTER: 1, XDG_OUTPUT: 3, output_events.AURA: version_of(output_events.AURA)}

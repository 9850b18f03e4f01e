"""A scale of the clients' own: they see outputs, coordinates and sizes in units that are ``1/scale`` of the host's
(sommelier.md §3). Buffers are not touched; a viewport on every surface tells the host how large it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from sommelier_shim.routes import Hooks
from sommelier_shim.scaling import coordinates, outputs, surfaces
from sommelier_shim.scaling.arithmetic import Scale
from sommelier_shim.shapes import version_of


def install(hooks: Hooks, scale: Scale, buckets: Sequence[int], *, has_viewporter: bool) -> dict[str, int]:
    """Switch scaling on.

    :param buckets: densities that may be reported.
    :returns: the host's globals that this needs, with the highest version of each.
    """
    coordinates.install(hooks, scale)
    surfaces.install(hooks, scale, has_viewporter=has_viewporter)
    outputs.install(hooks, scale, buckets)
    return {"wp_viewporter": 1, outputs.XDG_OUTPUT: 3, outputs.AURA: version_of(outputs.AURA)}

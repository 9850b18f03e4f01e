"""Outputs as the host describes them, and as clients see them: in their own units (chromeos-sommelier.md §3.2).

The proxy binds every output for itself on each client's connection, before the client can. What the host says to
these objects of its own is what is known; what it says to the client's is replaced by that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from sommelier_shim.relay import Relay
from sommelier_shim.scaling.arithmetic import Axis, clamped
from sommelier_shim.scaling.layout import Place, arranged
from sommelier_shim.wire import encode

MOST_SCALE = 2
"""The largest scale that clients are told (sommelier.md, appendix C)."""
_ROTATED = (1, 3, 5, 7)
_CURRENT = 1
_GEOMETRY, _MODE, _DONE, _SCALE = range(4)
"""Opcodes of wl_output's events."""
_LOGICAL_POSITION, _LOGICAL_SIZE, _LOGICAL_DONE = range(3)
"""Opcodes of zxdg_output_v1's events."""
_LOGICAL_DONE_UNTIL = 3
"""From this version on wl_output's end of a set is xdg-output's, too."""
_MILLIMETRES = 25.4
_KEY = "outputs"


class Output:
    """What the host said of one output.

    :param host_id: of the proxy's own object, bound with :ivar version:.
    :ivar logical_size: position and size in the host's units, as far as xdg-output tells.
    :ivar zoom: applied scale where ChromeOS tells it (device scale factor times current zoom), else 0.
    :ivar is_internal: whether it is the built-in panel, where ChromeOS tells.
    :ivar is_gone: whether the host has it no more.
    :ivar sources: the proxy's own objects that tell of it: interface by the host's number.
    """

    def __init__(self, host_id: int = 0, version: int = 3) -> None:
        self.host_id = host_id
        self.version = version
        self.x = self.y = 0
        self.millimetres = (0, 0)
        self.subpixel = 0
        self.make = self.model = b""
        self.transform = 0
        self.pixels = (0, 0)
        self.refresh = 0
        self.scale = 1
        self.logical_position: tuple[int, int] | None = None
        self.logical_size: tuple[int, int] | None = None
        self.device_scale = 1.0
        self.zoom = 0.0
        self.is_internal = False
        self.is_gone = False
        self.sources: dict[int, str] = {}

    @property
    def applied(self) -> float:
        """Pixels in one unit of the host's."""
        if self.zoom:
            return self.device_scale * self.zoom
        if self.logical_size and self.logical_size[0] > 0 and self.pixels[0] > 0:
            return self.turned(self.pixels)[0] / self.logical_size[0]
        return float(max(1, self.scale))

    @property
    def place(self) -> Place:
        """Where it lies, in the host's units."""
        size = self.logical_size or [max(1, int(size / self.applied)) for size in self.turned(self.pixels)]
        return Place(*(self.logical_position or (self.x, self.y)), *size)

    def turned(self, size: tuple[int, int]) -> tuple[int, int]:
        """A size as its transform has it, from one as its panel has it."""
        return size[::-1] if self.transform in _ROTATED else size


class Description(NamedTuple):
    """What a client is told of an output.

    :ivar mode: width and height; :ivar logical: the same as the transform has it, without the scale.
    """

    position: tuple[int, int]
    millimetres: tuple[int, int]
    mode: tuple[int, int]
    scale: int
    logical: tuple[int, int]


class View:
    """A client's wl_output.

    :ivar xdg: its xdg-outputs: what was told of each by its id, with the version.
    """

    def __init__(self, client_id: int, version: int, output: Output) -> None:
        self.client_id = client_id
        self.version = version
        self.output = output
        self.xdg: dict[int, tuple[int, bytes]] = {}
        self._told = b""

    def events(self, described: Description, *, ends_set: bool) -> bytes:
        """What the client is told now: the whole set when any of it has changed.

        :param ends_set: whether to say that a set has ended, whose other parts the host has told.
        """
        output = self.output
        told = encode(
            self.client_id, _GEOMETRY, "iiiiissi", *described.position, *described.millimetres, output.subpixel,
            output.make, output.model, output.transform,
        )  # fmt: skip
        told += encode(self.client_id, _MODE, "uiii", _CURRENT, *described.mode, output.refresh)
        if self.version >= 2:
            told += encode(self.client_id, _SCALE, "i", described.scale)
        changed = b"" if told == self._told else told
        self._told = told
        for client_id, (version, before) in self.xdg.items():
            logical = logical_events(client_id, described)
            if logical != before:
                self.xdg[client_id] = version, logical
                changed += logical + (encode(client_id, _LOGICAL_DONE) if version < _LOGICAL_DONE_UNTIL else b"")
        if self.version >= 2 and (changed or ends_set):
            changed += encode(self.client_id, _DONE)
        return changed


def logical_events(client_id: int, described: Description) -> bytes:
    """What an xdg-output is told."""
    told = encode(client_id, _LOGICAL_POSITION, "ii", *described.position)
    return told + encode(client_id, _LOGICAL_SIZE, "ii", *described.logical)


class Outputs:
    """The outputs of one client's connection.

    :ivar by_name: those that the host has, in the order in which it announced them; :ivar own: the same by the
        numbers of all the proxy's own objects that tell of one.
    :ivar views: the client's, by its numbers; :ivar xdg: the same by the numbers of its xdg-outputs;
        :ivar managers: versions of what made those.
    """

    def __init__(self) -> None:
        self.by_name: dict[int, Output] = {}
        self.own: dict[int, Output] = {}
        self.views: dict[int, View] = {}
        self.xdg: dict[int, View] = {}
        self.managers: dict[int, int] = {}

    @property
    def internal(self) -> Output | None:
        """The built-in panel, or what comes nearest to it (chromeos-sommelier.md §3.1)."""
        outputs = self.by_name.values()
        return next((output for output in outputs if output.is_internal), None) or next(iter(outputs), None)

    def arranged(self, sizes: Iterable[tuple[int, int]]) -> dict[Output, tuple[int, int]]:
        """Where the outputs lie if they have these sizes."""
        outputs = list(self.by_name.values())
        return dict(zip(outputs, arranged([output.place for output in outputs], list(sizes)), strict=True))


def outputs_of(relay: Relay) -> Outputs:
    """The state of a relay."""
    found = relay.features.get(_KEY)
    if found is None:
        found = relay.features[_KEY] = Outputs()
    assert isinstance(found, Outputs)
    return found


class Describer(Protocol):
    """How outputs look to clients."""

    def described(self, output: Output, outputs: Outputs) -> Description:
        """What clients are told of one output."""


class ScaledOutputs:
    """How outputs look by one scale.

    :param buckets: densities that may be reported.
    """

    def __init__(self, factor: float, *, stable: bool = False, buckets: Sequence[int] = ()) -> None:
        self._axis = Axis(factor, stable=stable)
        self._buckets = buckets

    def described(self, output: Output, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        factor, applied = self._axis.guest, output.applied
        shown = max(1, min(MOST_SCALE, math.ceil(applied / factor)))
        width, height = (clamped(int(pixels * factor * shown / applied)) for pixels in output.pixels)
        x, y, *logical = (self._axis.to_guest(value) for value in output.place)
        millimetres = nearest_density((width, height), output.millimetres, self._buckets)
        return Description((x, y), millimetres, (width, height), shown, (logical[0], logical[1]))


class MeasuredOutputs:
    """Outputs as the host has them, but for their density.

    :param buckets: densities that may be reported.
    """

    def __init__(self, buckets: Sequence[int]) -> None:
        self._buckets = buckets

    def described(self, output: Output, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        x, y, *logical = output.place
        millimetres = nearest_density(output.pixels, output.millimetres, self._buckets)
        return Description((x, y), millimetres, output.pixels, max(1, output.scale), (logical[0], logical[1]))


class DirectOutputs:
    """How outputs look when clients' units are their pixels, or pixels times a factor
    (chromeos-sommelier.md §3.3)."""

    def __init__(self, factor: float, *, stable: bool = False) -> None:
        self.factor = factor
        self.stable = stable

    def described(self, output: Output, outputs: Outputs) -> Description:
        """See :meth:`Describer.described`."""
        sizes = [other.turned(self.virtual(other)) for other in outputs.by_name.values()]
        position = outputs.arranged(sizes).get(output, (0, 0))
        mode = self.virtual(output)
        return Description(position, output.millimetres, mode, 1, output.turned(mode))

    def virtual(self, output: Output) -> tuple[int, int]:
        """The size of an output's panel in clients' units."""
        width, height = (clamped(int(pixels * self.factor)) for pixels in output.pixels)
        return width, height

    def axes(self, output: Output | None) -> tuple[Axis, Axis]:
        """How numbers are converted for what is shown on an output."""
        ratios: list[tuple[float, float]] = [(self.factor * (output.applied if output else 1), 1)] * 2
        if output is not None and output.logical_size and min(*output.logical_size, *output.pixels) > 0:
            virtual = output.turned(self.virtual(output))
            ratios = [(max(1, guest), host) for guest, host in zip(virtual, output.logical_size, strict=True)]
        across, down = (Axis(guest, host, self.stable, direct=True) for guest, host in ratios)
        return across, down


def nearest_density(
    pixels: tuple[int, int], millimetres: tuple[int, int], buckets: Sequence[int]
) -> tuple[int, int]:
    """The physical size with which an output has one of the allowed densities (``--dpi``).

    :param buckets: dots per inch; empty leaves the size alone.
    """
    if not buckets or millimetres[0] <= 0 or pixels[0] <= 0:
        return millimetres
    density = pixels[0] * _MILLIMETRES / millimetres[0]
    nearest = min(buckets, key=lambda bucket: abs(bucket - density))
    return int(pixels[0] * _MILLIMETRES / nearest), int(pixels[1] * _MILLIMETRES / nearest)

"""Surfaces whose units are pixels, and what their windows were told."""

from __future__ import annotations

from sommelier_shim.relay import Relay
from sommelier_shim.scaling.arithmetic import Axis, Scale
from sommelier_shim.scaling.outputs import DirectOutputs, Output, outputs_of
from sommelier_shim.scaling.surface_axis import SurfaceAxis
from sommelier_shim.scaling.surfaces import Surface, surfaces_of
from sommelier_shim.wire import encode

_GENERATIONS = 8
"""Popups of popups whose outputs are asked for."""
_OWN_SERIALS = 0xF0000000
"""Numbers of the proxy's own configures; a host counts up from nothing."""
_REPEATED_LIMIT = 1024
_UNANSWERED_LIMIT = 64
"""Configures without an answer whose ratio is remembered."""
_CONFIGURE, _CONFIGURE_BOUNDS = 0, 2
"""Opcodes of xdg_toplevel's events; the first is xdg_surface's, too."""

Bases = tuple[Axis, Axis]


class Window:
    """What a toplevel was told.

    :ivar xdg_surface: the client's numbers of the object, :ivar toplevel: and of its role.
    :ivar size: the host's; :ivar states: the rest of the last configure; :ivar serial: its number;
        :ivar bounds: the host's last configure_bounds, None without.
    :ivar acknowledged: the last number of the host's that the client has answered.
    :ivar repeated: the host's numbers by those of configures that the proxy has made of them.
    :ivar unanswered: by the number of a configure, the ratios by which the client was told the size.
    """

    __slots__ = (
        "acknowledged",
        "bounds",
        "repeated",
        "serial",
        "size",
        "states",
        "toplevel",
        "unanswered",
        "xdg_surface",
    )

    def __init__(self, xdg_surface: int, toplevel: int) -> None:
        self.xdg_surface = xdg_surface
        self.toplevel = toplevel
        self.size = (0, 0)
        self.states = b""
        self.serial: int | None = None
        self.bounds: tuple[int, int] | None = None
        self.acknowledged: int | None = None
        self.repeated: dict[int, int] = {}
        self.unanswered: dict[int, Bases] = {}

    def again(self, scale: Scale, bases: Bases) -> bytes:
        """The last configure in other pixels. It has a number of its own: toolkits pass over those they know."""
        assert self.serial is not None
        serial = _OWN_SERIALS + len(self.repeated)
        if len(self.repeated) >= _REPEATED_LIMIT:
            self.repeated.clear()
        self.repeated[serial] = self.serial
        self.told(serial, bases)
        said = b""
        if self.bounds is not None:
            bounds = scale.x.to_guest(self.bounds[0]), scale.y.to_guest(self.bounds[1])
            said += encode(self.toplevel, _CONFIGURE_BOUNDS, "ii", *bounds)
        size = scale.x.size_to_guest(self.size[0]), scale.y.size_to_guest(self.size[1])
        said += encode(self.toplevel, _CONFIGURE, "iia", *size, self.states)
        return said + encode(self.xdg_surface, _CONFIGURE, "u", serial)

    def told(self, serial: int, bases: Bases) -> None:
        """The client gets a configure by these ratios."""
        self.unanswered[serial] = bases
        if len(self.unanswered) > _UNANSWERED_LIMIT:
            del self.unanswered[next(iter(self.unanswered))]

    def answered(self, serial: int) -> Bases | None:
        """The ratios that the client knows of by its answer; None if it has answered that before."""
        bases = self.unanswered.get(serial)
        for earlier in list(self.unanswered):
            if bases is None:
                break
            del self.unanswered[earlier]
            if earlier == serial:
                break
        return bases


class DirectSurface(Surface):
    """A surface with conversions of its own.

    :ivar entered: the outputs that it is on, as far as known; :ivar parent: the surface that it belongs to, whose
        output counts until it enters one.
    :ivar is_part: whether it is drawn inside its parent, whose ratio is its own.
    :ivar is_stale: whether the host may hold numbers of it that were converted by another ratio.
    :ivar is_pending: whether the client has said something of it that waits for its commit.
    :ivar is_committed: whether the proxy may commit it: hosts end the connection for those that lost their role.
    """

    __slots__ = ("__weakref__", "axes", "entered", "is_committed", "is_part", "is_pending", "is_stale", "outputs",
                 "parent", "relay", "window")  # fmt: skip

    def __init__(self, relay: Relay, outputs: DirectOutputs) -> None:
        bases = outputs.axes(outputs_of(relay).internal)
        self.axes = SurfaceAxis(bases[0]), SurfaceAxis(bases[1])
        super().__init__(Scale(*self.axes))
        self.relay = relay
        self.outputs = outputs
        self.entered: list[Output] = []
        self.parent: DirectSurface | None = None
        self.is_part = self.is_stale = self.is_pending = self.is_committed = False
        self.window: Window | None = None

    @property
    def root(self) -> DirectSurface:
        """The surface that it is drawn in."""
        surface = self
        for _ in range(_GENERATIONS):
            if not surface.is_part or surface.parent is None:
                break
            surface = surface.parent
        return surface

    @property
    def output(self) -> Output | None:
        """The output whose scale counts: the last one that it came to (chromeos-sommelier.md §3.3)."""
        surface: DirectSurface | None = self.root
        for _ in range(_GENERATIONS):
            if surface is None:
                break
            for output in reversed(surface.entered):
                if not output.is_gone:
                    return output
            surface = surface.parent
        return outputs_of(self.relay).internal

    @property
    def told(self) -> Bases:
        """The ratios by which the client is told sizes."""
        return self.axes[0].base, self.axes[1].base

    @property
    def known(self) -> Bases:
        """The ratios in whose pixels the client's numbers are."""
        return self.axes[0].known, self.axes[1].known

    @property
    def family(self) -> list[DirectSurface]:
        """It and its parts."""
        if self.is_part:
            return [self]
        every = surfaces_of(self.relay).values()
        return [one for one in every if isinstance(one, DirectSurface) and one.root is self]

    def shown_size(self) -> tuple[int, int] | None:
        """See :class:`Surface`. Contents of another ratio convert anew what was said before they were there."""
        told = self.follow()
        if told:
            self.relay.to_client(told, None)
        before = [axis.shown for axis in self.axes]
        size = super().shown_size()
        self.is_stale = self.is_stale or before != [axis.shown for axis in self.axes]
        return size

    def destroyed(self) -> None:
        """See :class:`Surface`. What belongs to it may stay, but does not keep what it belonged to."""
        self.parent = None
        for axis in self.axes:
            axis.parent = None

    def belongs_to(self, parent: DirectSurface | None, *, is_part: bool = False) -> None:
        """It is shown with another surface from now on, or inside it: a popup, a picture of a pointer, a part."""
        if parent is self:
            return
        self.parent = parent
        self.is_part = is_part
        self.is_committed = True
        for mine, axis in enumerate(self.axes):
            axis.parent = parent.axes[mine] if parent is not None else None
        self.follow()

    def follow(self) -> bytes:
        """Take the scale of the output that counts now.

        A window that was configured hears its size in the new pixels, and what it and its parts say counts as the
        old ones until it answers. Everything else is converted anew with its next commit.

        :returns: what the client is told.
        """
        root, bases = self.root, self.outputs.axes(self.output)
        waits = root.window is not None and root.window.serial is not None
        changed = [axis.rebase(base, keeps=waits) for axis, base in zip(self.axes, bases, strict=True)]
        if root is not self:
            self.settle(root.known)
        elif any(changed):
            if not waits:
                self.is_stale = True
            elif self.window is not None:
                return self.window.again(self.scale, bases)
        return b""

    def settle(self, bases: Bases) -> None:
        """The client knows these ratios; see :meth:`SurfaceAxis.settle`."""
        changed = [axis.settle(base) for axis, base in zip(self.axes, bases, strict=True)]
        self.is_stale = self.is_stale or any(changed)

"""Surfaces under direct scale, and the configures that their windows got."""

from __future__ import annotations

from sommelier_shim.core.layouts import event
from sommelier_shim.core.relay import Relay
from sommelier_shim.features.scaling.arithmetic import Axis, Scale
from sommelier_shim.features.scaling.outputs import OUTPUTS, DirectOutputs, HostOutput
from sommelier_shim.features.scaling.surface_axis import SurfaceAxis
from sommelier_shim.features.scaling.surfaces import SURFACES, Surface

_GENERATIONS = 8
"""Maximum number of parents that :attr:`DirectSurface.root` and :attr:`DirectSurface.output` follow."""
_OWN_SERIALS = 0xF0000000
"""First serial of the proxy's own configures; hosts count from 0."""
_REPEATED_LIMIT = 1024
_UNACKNOWLEDGED_LIMIT = 64
"""Maximum number of unacknowledged configures whose ratios a window keeps."""
_CONFIGURE = event("xdg_surface", "configure")
_CONFIGURE_TOPLEVEL = event("xdg_toplevel", "configure")
_CONFIGURE_BOUNDS = event("xdg_toplevel", "configure_bounds")

Bases = tuple[Axis, Axis]


class Window:
    """The configures of a toplevel.

    :ivar xdg_surface: client id of the xdg_surface, :ivar toplevel: client id of its toplevel.
    :ivar size: size of the host's last configure, in host units; :ivar states: its states; :ivar serial: its
        serial; :ivar bounds: the host's last configure_bounds, None if the host has sent none.
    :ivar acknowledged: the last host serial that the proxy has acknowledged to the host.
    :ivar repeated: the host's serial by the serial of the proxy's own configure that repeats it.
    :ivar unacknowledged: by serial of a configure, the ratios that converted its size.
    """

    __slots__ = (
        "acknowledged",
        "bounds",
        "repeated",
        "serial",
        "size",
        "states",
        "toplevel",
        "unacknowledged",
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
        self.unacknowledged: dict[int, Bases] = {}

    def repeat(self, scale: Scale, bases: Bases) -> bytes:
        """The host's last configure, converted by another ratio.

        It gets a serial of the proxy's own, because toolkits ignore a configure with a known serial.
        """
        assert self.serial is not None
        serial = _OWN_SERIALS + len(self.repeated)
        if len(self.repeated) >= _REPEATED_LIMIT:
            self.repeated.clear()
        self.repeated[serial] = self.serial
        self.record(serial, bases)
        events = b""
        if self.bounds is not None:
            bounds = scale.x.to_guest(self.bounds[0]), scale.y.to_guest(self.bounds[1])
            events += _CONFIGURE_BOUNDS.encode(self.toplevel, *bounds)
        size = scale.x.size_to_guest(self.size[0]), scale.y.size_to_guest(self.size[1])
        events += _CONFIGURE_TOPLEVEL.encode(self.toplevel, *size, self.states)
        return events + _CONFIGURE.encode(self.xdg_surface, serial)

    def record(self, serial: int, bases: Bases) -> None:
        """Record the ratios of a configure that the client gets."""
        self.unacknowledged[serial] = bases
        if len(self.unacknowledged) > _UNACKNOWLEDGED_LIMIT:
            del self.unacknowledged[next(iter(self.unacknowledged))]

    def acknowledge(self, serial: int) -> Bases | None:
        """Handle an ack_configure, which also answers all earlier configures.

        :returns: the ratios of that configure; None if the client has acknowledged it before.
        """
        bases = self.unacknowledged.get(serial)
        for earlier in list(self.unacknowledged):
            if bases is None:
                break
            del self.unacknowledged[earlier]
            if earlier == serial:
                break
        return bases


class DirectSurface(Surface):
    """A surface with its own conversions.

    :ivar entered: the outputs that the surface has entered and not left; :ivar parent: the surface that it belongs
        to, whose output applies until this surface enters one.
    :ivar is_part: whether this is a subsurface, which has its parent's ratio.
    :ivar is_stale: whether the host may have numbers of this surface that another ratio converted.
    :ivar is_pending: whether the client has sent double-buffered state for this surface since its last commit.
    :ivar is_committed: whether the proxy may commit this surface. It may not after the surface has lost its role:
        hosts disconnect a client for such a commit.
    """

    __slots__ = ("__weakref__", "axes", "entered", "is_committed", "is_part", "is_pending", "is_stale", "outputs",
                 "parent", "relay", "window")  # fmt: skip

    def __init__(self, relay: Relay, outputs: DirectOutputs) -> None:
        bases = outputs.axes(OUTPUTS.of(relay).internal)
        self.axes = SurfaceAxis(bases[0]), SurfaceAxis(bases[1])
        super().__init__(Scale(*self.axes))
        self.relay = relay
        self.outputs = outputs
        self.entered: list[HostOutput] = []
        self.parent: DirectSurface | None = None
        self.is_part = self.is_stale = self.is_pending = self.is_committed = False
        self.window: Window | None = None

    @property
    def root(self) -> DirectSurface:
        """The surface in which this one is drawn: the window of a subsurface, otherwise the surface itself."""
        surface = self
        for _ in range(_GENERATIONS):
            if not surface.is_part or surface.parent is None:
                break
            surface = surface.parent
        return surface

    @property
    def output(self) -> HostOutput | None:
        """The output whose scale applies: the last one that the surface entered (chromeos-sommelier.md §3.3)."""
        surface: DirectSurface | None = self.root
        for _ in range(_GENERATIONS):
            if surface is None:
                break
            for output in reversed(surface.entered):
                if not output.is_gone:
                    return output
            surface = surface.parent
        return OUTPUTS.of(self.relay).internal

    @property
    def event_bases(self) -> Bases:
        """The ratios that convert sizes in events for the client."""
        return self.axes[0].event_base, self.axes[1].event_base

    @property
    def request_bases(self) -> Bases:
        """The ratios that convert the numbers in the client's requests."""
        return self.axes[0].request_base, self.axes[1].request_base

    @property
    def family(self) -> list[DirectSurface]:
        """This surface and its subsurfaces."""
        if self.is_part:
            return [self]
        every = SURFACES.of(self.relay).values()
        return [one for one in every if isinstance(one, DirectSurface) and one.root is self]

    def shown_size(self) -> tuple[int, int] | None:
        """See :class:`Surface`. When the contents change the ratio, the surface becomes stale: the host has
        numbers that the old ratio converted."""
        events = self.follow()
        if events:
            self.relay.to_client(events, None)
        before = [axis.shown for axis in self.axes]
        size = super().shown_size()
        self.is_stale = self.is_stale or before != [axis.shown for axis in self.axes]
        return size

    def destroyed(self) -> None:
        """See :class:`Surface`. Surfaces that belong to this one may live on; they must not keep this one's parent
        alive."""
        self.parent = None
        for axis in self.axes:
            axis.parent = None

    def belongs_to(self, parent: DirectSurface | None, *, is_part: bool = False) -> None:
        """Set the parent surface: of a popup, a cursor, a drag icon, or (``is_part``) a subsurface."""
        if parent is self:
            return
        self.parent = parent
        self.is_part = is_part
        self.is_committed = True
        for mine, axis in enumerate(self.axes):
            axis.parent = parent.axes[mine] if parent is not None else None
        self.follow()

    def follow(self) -> bytes:
        """Set the scale to that of the present output.

        A configured window gets another configure with its size in the new pixels. Until the client acknowledges
        that, the old ratio converts the requests of the window and its subsurfaces. The proxy converts the numbers
        of all other surfaces again at their next commit.

        :returns: events for the client.
        """
        root, bases = self.root, self.outputs.axes(self.output)
        waits = root.window is not None and root.window.serial is not None
        changed = [axis.rebase(base, keeps=waits) for axis, base in zip(self.axes, bases, strict=True)]
        if root is not self:
            self.settle(root.request_bases)
        elif any(changed):
            if not waits:
                self.is_stale = True
            elif self.window is not None:
                return self.window.repeat(self.scale, bases)
        return b""

    def settle(self, bases: Bases) -> None:
        """The client uses these ratios from now on; see :meth:`SurfaceAxis.settle`."""
        changed = [axis.settle(base) for axis, base in zip(self.axes, bases, strict=True)]
        self.is_stale = self.is_stale or any(changed)

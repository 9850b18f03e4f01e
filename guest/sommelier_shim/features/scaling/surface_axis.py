"""Conversions inside a surface under direct scale: by the ratio at which the host shows it, with stable sizes."""

from __future__ import annotations

from sommelier_shim.features.scaling.arithmetic import Axis

_REMEMBERED = 8
"""Sizes per ratio and direction: a client may be some configures behind the host."""
_RATIOS = 4
"""Ratios per surface: a window may move between outputs of different scales."""


class _SizePairs:
    """Pairs of equivalent sizes, for the ratio of one output.

    :ivar base: the ratio; :ivar hosts: host sizes by client size; :ivar guests: client sizes by host size.
    """

    __slots__ = ("base", "guests", "hosts")

    def __init__(self, base: Axis) -> None:
        self.base = base
        self.hosts: dict[int, int] = {}
        self.guests: dict[int, int] = {}

    def add(self, guest: int, host: int) -> None:
        for table, key, value in ((self.hosts, guest, host), (self.guests, host, guest)):
            table.pop(key, None)
            table[key] = value
            if len(table) > _REMEMBERED:
                del table[next(iter(table))]


class SurfaceAxis:
    """Conversions along one axis of a surface under direct scale (chromeos-sommelier.md §3.3).

    Pixels rarely divide evenly into host units. So the axis remembers pairs of client and host sizes: a size that
    was converted one way converts back to the same number, otherwise windows would shrink with every configure.
    All other numbers inside the surface are converted by the ratio at which the host really shows it. After a
    change of the ratio, events convert sizes by the new ratio at once; requests are in the old ratio's pixels until
    the client has acknowledged (:meth:`settle`). The axis keeps the pairs of several ratios, so that a window that
    returns to an output gets the sizes that it had there.

    :ivar parent: the same axis of the parent surface: its size pairs apply here, too.
    """

    __slots__ = ("_event_pairs", "_pairs", "_request_pairs", "_shown", "parent")

    def __init__(self, base: Axis) -> None:
        self._shown = base
        self._event_pairs = self._request_pairs = _SizePairs(base)
        self._pairs = {base: self._event_pairs}
        self.parent: SurfaceAxis | None = None

    @property
    def event_base(self) -> Axis:
        """The ratio that converts sizes in events for the client."""
        return self._event_pairs.base

    @property
    def request_base(self) -> Axis:
        """The ratio that converts sizes in the client's requests."""
        return self._request_pairs.base

    @property
    def shown(self) -> Axis:
        """The ratio at which the host shows the surface."""
        return self._shown

    def rebase(self, base: Axis, *, keeps: bool) -> bool:
        """Set the ratio of another output.

        :param keeps: whether the client's requests are in the old output's pixels until :meth:`settle`.
        :returns: whether the ratio has changed.
        """
        if base == self._event_pairs.base:
            return False
        self._event_pairs = self._pairs.get(base) or _SizePairs(base)
        self._pairs.pop(base, None)
        self._pairs[base] = self._event_pairs
        if len(self._pairs) > _RATIOS:
            oldest = next(iter(self._pairs))
            del self._pairs[oldest]
        if not keeps:
            self.settle(base)
        return True

    def settle(self, base: Axis) -> bool:
        """The client uses a ratio from now on: for its next requests, and for the state that it has set before.

        :returns: whether the ratio has changed.
        """
        if base == self._request_pairs.base:
            return False
        self._request_pairs = (
            self._event_pairs if base == self._event_pairs.base else self._pairs.get(base) or _SizePairs(base)
        )
        self._shown = base
        return True

    def to_guest(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._shown.to_guest(value)

    def to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._shown.to_host(value)

    def fixed_to_guest(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return self._shown.fixed_to_guest(raw)

    def fixed_to_host(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return self._shown.fixed_to_host(raw)

    def size_to_guest(self, value: int) -> int:
        """See :class:`Conversions`. A host size that has a pair converts to the client size of that pair."""
        if value <= 0:
            return value
        found = self._event_pairs.guests.get(value)
        if found is None:
            found = max(1, self._event_pairs.base.to_guest(value))
            self._event_pairs.add(found, value)
        return found

    def size_to_host(self, value: int) -> int:
        """See :class:`Conversions`. A client size that has a pair converts to the host size of that pair."""
        return self._host_size(value) if value > 0 else value

    def edge_to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._paired_host_size(value) or self.to_host(value)

    def destination(self, size: int, buffer_scale: int = 1) -> int:
        """See :class:`Conversions`. The ratio of these contents applies inside the surface from now on."""
        found = self._host_size(size // buffer_scale)
        self._shown = self._request_pairs.base._replace(guest=max(1, size), host=found * buffer_scale)
        return found

    def damage(self, first: int, last: int) -> tuple[int, int]:
        """See :class:`Conversions`."""
        return self._shown.damage(first, last)

    def _paired_host_size(self, guest: int) -> int:
        found = self._request_pairs.hosts.get(guest, 0)
        if not found and self.parent is not None and self.parent._request_pairs.base == self._request_pairs.base:
            found = self.parent._request_pairs.hosts.get(guest, 0)
        return found

    def _host_size(self, guest: int) -> int:
        host = self._paired_host_size(guest)
        if not host:
            host = self._request_pairs.base.destination(guest)
            self._request_pairs.add(guest, host)
        return host

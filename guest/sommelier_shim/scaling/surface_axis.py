"""Conversions inside a surface whose units are pixels: by the ratio in which it is shown, with sizes that stay."""

from __future__ import annotations

from sommelier_shim.scaling.arithmetic import Axis

_REMEMBERED = 8
"""A client may be some configures behind the host."""
_RATIOS = 4
"""Outputs of different scales between which a window is moved."""


class _Agreement:
    """Which sizes mean the same on both sides, by the ratio of one output.

    :ivar base: the ratio; :ivar hosts: the host's sizes by the client's; :ivar guests: the reverse.
    """

    __slots__ = ("base", "guests", "hosts")

    def __init__(self, base: Axis) -> None:
        self.base = base
        self.hosts: dict[int, int] = {}
        self.guests: dict[int, int] = {}

    def agree(self, guest: int, host: int) -> None:
        for table, key, value in ((self.hosts, guest, host), (self.guests, host, guest)):
            table.pop(key, None)
            table[key] = value
            if len(table) > _REMEMBERED:
                del table[next(iter(table))]


class SurfaceAxis:
    """Conversions along one axis of a surface whose units are pixels (chromeos-sommelier.md §3.3).

    Pixels and the host's units divide each other without a rest only by chance. A size that went one way comes back
    as what it was, or windows would shrink with every configure; and inside the surface everything is converted by
    the ratio in which it really is shown. When the ratio changes, the client is told sizes by the new one at once;
    what it says is in the old one's pixels until it has answered (:meth:`settle`). What was agreed for a ratio is
    remembered, so that a window that comes back gets the sizes that it had.

    :ivar parent: the same axis of the surface that this one is a part of: equal sizes of both mean the same.
    """

    __slots__ = ("_agreements", "_own", "_said", "_told", "parent")

    def __init__(self, base: Axis) -> None:
        self._own = base
        self._told = self._said = _Agreement(base)
        self._agreements = {base: self._told}
        self.parent: SurfaceAxis | None = None

    @property
    def base(self) -> Axis:
        """The ratio by which the client is told sizes."""
        return self._told.base

    @property
    def known(self) -> Axis:
        """The ratio in whose pixels the client's numbers are."""
        return self._said.base

    @property
    def shown(self) -> Axis:
        """The ratio in which it is shown."""
        return self._own

    def rebase(self, base: Axis, *, keeps: bool) -> bool:
        """Go to another output.

        :param keeps: whether what the client says is in the old output's pixels until :meth:`settle`.
        :returns: whether the ratio is another one.
        """
        if base == self._told.base:
            return False
        self._told = self._agreements.get(base) or _Agreement(base)
        self._agreements.pop(base, None)
        self._agreements[base] = self._told
        if len(self._agreements) > _RATIOS:
            oldest = next(iter(self._agreements))
            del self._agreements[oldest]
        if not keeps:
            self.settle(base)
        return True

    def settle(self, base: Axis) -> bool:
        """The client knows a ratio: what it says, and what it has said, is in the pixels of that from now on.

        :returns: whether it was another one before.
        """
        if base == self._said.base:
            return False
        self._said = self._told if base == self._told.base else self._agreements.get(base) or _Agreement(base)
        self._own = base
        return True

    def to_guest(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._own.to_guest(value)

    def to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._own.to_host(value)

    def fixed_to_guest(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return self._own.fixed_to_guest(raw)

    def fixed_to_host(self, raw: int) -> int:
        """See :class:`Conversions`."""
        return self._own.fixed_to_host(raw)

    def size_to_guest(self, value: int) -> int:
        """See :class:`Conversions`. A size that the client has chosen, or was given before, is the same again."""
        if value <= 0:
            return value
        found = self._told.guests.get(value)
        if found is None:
            found = max(1, self._told.base.to_guest(value))
            self._told.agree(found, value)
        return found

    def size_to_host(self, value: int) -> int:
        """See :class:`Conversions`. A size that the host has given is the same again."""
        return self._agreed(value) if value > 0 else value

    def edge_to_host(self, value: int) -> int:
        """See :class:`Conversions`."""
        return self._known(value) or self.to_host(value)

    def destination(self, size: int, buffer_scale: int = 1) -> int:
        """See :class:`Conversions`. From now on the ratio of these contents counts inside the surface."""
        found = self._agreed(size // buffer_scale)
        self._own = self._said.base._replace(guest=max(1, size), host=found * buffer_scale)
        return found

    def damage(self, first: int, last: int) -> tuple[int, int]:
        """See :class:`Conversions`."""
        return self._own.damage(first, last)

    def _known(self, guest: int) -> int:
        found = self._said.hosts.get(guest, 0)
        if not found and self.parent is not None and self.parent._said.base == self._said.base:
            found = self.parent._said.hosts.get(guest, 0)
        return found

    def _agreed(self, guest: int) -> int:
        host = self._known(guest)
        if not host:
            host = self._said.base.destination(guest)
            self._said.agree(guest, host)
        return host

"""Conversions inside a surface whose units are pixels: by the ratio in which it is shown, with sizes that stay."""

from __future__ import annotations

from sommelier_shim.scaling.arithmetic import Axis

_REMEMBERED = 8
"""A client may be some configures behind the host."""


class SurfaceAxis:
    """Conversions along one axis of a surface whose units are pixels (sommelier.md §3.3).

    Pixels and the host's units divide each other without a rest only by chance. A size that went one way comes back
    as what it was, or windows would shrink with every configure; and inside the surface everything is converted by
    the ratio in which it really is shown.

    :ivar base: the ratio of the output.
    :ivar parent: the same axis of the surface that this one is a part of: equal sizes of both mean the same.
    """

    __slots__ = ("_guests", "_hosts", "_own", "base", "parent")

    def __init__(self, base: Axis) -> None:
        self.base = self._own = base
        self.parent: SurfaceAxis | None = None
        self._hosts: dict[int, int] = {}
        self._guests: dict[int, int] = {}

    def rebase(self, base: Axis, *, keeps: bool) -> bool:
        """Go to another output.

        :param keeps: whether what the client shows stays as large as it is until it shows something else.
        :returns: whether the ratio is another one.
        """
        if base == self.base:
            return False
        self.base = self._own = base
        self._guests.clear()
        if not keeps:
            self._hosts.clear()
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
        found = self._guests.get(value)
        if found is None:
            found = max(1, self.base.to_guest(value))
            self._agree(found, value)
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
        self._own = self.base._replace(guest=max(1, size), host=found * buffer_scale)
        return found

    def damage(self, first: int, last: int) -> tuple[int, int]:
        """See :class:`Conversions`."""
        return self._own.damage(first, last)

    def _known(self, guest: int) -> int:
        return self._hosts.get(guest) or (self.parent._hosts.get(guest, 0) if self.parent is not None else 0)

    def _agreed(self, guest: int) -> int:
        host = self._known(guest)
        if not host:
            host = self.base.destination(guest)
            self._agree(guest, host)
        return host

    def _agree(self, guest: int, host: int) -> None:
        for table, key, value in ((self._hosts, guest, host), (self._guests, host, guest)):
            table.pop(key, None)
            table[key] = value
            if len(table) > _REMEMBERED:
                del table[next(iter(table))]

"""Which number stands for which object, as one side of a conversation sees it.

Objects that the client makes are numbered without gaps (chromeos-sommelier.md §6.2), so that a list finds them
faster than a dictionary would. Those that the host makes have numbers of their own far above, and are few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sommelier_shim.wire import DISPLAY, FIRST_SERVER_ID

Entry: TypeAlias = Any
"""What happens to a message: None to forward it untouched, or a hook; see :mod:`sommelier_shim.relay`."""
Entries: TypeAlias = Sequence[Entry]
"""What happens to an object's messages, by opcode."""

NOTHING: Entries = ()
"""Stands where there is no object. Entries of interfaces are lists, so that none equals it."""
_NOBODY: Entries = []
"""Number 0 is taken, and has no messages."""


class ObjectTable:
    """The entries of objects by their numbers.

    :ivar near: those of the client's making; :data:`NOTHING` where one was. It never gets shorter.
    :ivar far: those of the host's making.
    """

    __slots__ = ("far", "near")

    def __init__(self) -> None:
        self.near: list[Entries] = [_NOBODY, NOTHING]
        self.far: dict[int, Entries] = {}

    def __contains__(self, object_id: int) -> bool:
        near = self.near
        if object_id < len(near):
            return object_id > 0 and near[object_id] is not NOTHING
        return object_id in self.far

    def __len__(self) -> int:
        """How many objects there are. It takes as long as there have been objects at a time."""
        near = self.near
        return len(near) - 1 - near.count(NOTHING) + len(self.far)

    def get(self, object_id: int) -> Entries:
        """The entries of an object; :data:`NOTHING` if there is none."""
        near = self.near
        return near[object_id] if object_id < len(near) else self.far.get(object_id, NOTHING)

    def put(self, object_id: int, entries: Entries) -> None:
        """Let a number stand for an object, whatever it stood for.

        :param object_id: not so high that a list could not be as long, unless it is of the host's making.
        """
        near = self.near
        if object_id < len(near):
            near[object_id] = entries
        elif object_id < FIRST_SERVER_ID:
            # Whoever floods gives thousands of numbers before the first is free again: make room for some more.
            near.extend([NOTHING] * (object_id + 1 - len(near) + len(near) // 2))
            near[object_id] = entries
        else:
            self.far[object_id] = entries

    def remove(self, object_id: int) -> None:
        """Forget an object, if there is one."""
        if object_id < len(self.near):
            self.near[object_id] = NOTHING
        else:
            self.far.pop(object_id, None)

    def change(self, function: Callable[[Entries], Entries]) -> None:
        """Give every object the entries that a function makes of its present ones."""
        near, far = self.near, self.far
        near[DISPLAY:] = [NOTHING if entries is NOTHING else function(entries) for entries in near[DISPLAY:]]
        for object_id, entries in far.items():
            far[object_id] = function(entries)

    def clear(self) -> None:
        """Forget everything."""
        del self.near[1:]
        self.far.clear()

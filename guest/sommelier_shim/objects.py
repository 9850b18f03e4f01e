"""The object table of one side of a connection: entries by object id.

The client allocates ids without gaps (chromeos-sommelier.md §6.2), so a list holds its objects and is faster than a
dictionary. The host creates few objects, with ids from 0xff000000; a dictionary holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sommelier_shim.wire import DISPLAY, FIRST_SERVER_ID

Entry: TypeAlias = Any
"""How to handle a message: None forwards it untouched, otherwise a hook; see :mod:`sommelier_shim.relay`."""
Entries: TypeAlias = Sequence[Entry]
"""The entries of an object's messages, by opcode."""

NOTHING: Entries = ()
"""Marks an unused id. Interfaces have lists as entries, so none of them equals this tuple."""
_NOBODY: Entries = []
"""Id 0 is null: reserved, no messages."""


class ObjectTable:
    """The entries of objects by id.

    :ivar near: objects that the client created; :data:`NOTHING` at unused ids. The list never shrinks.
    :ivar far: objects that the host created.
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
        """The number of objects. O(the highest client id so far)."""
        near = self.near
        return len(near) - 1 - near.count(NOTHING) + len(self.far)

    def get(self, object_id: int) -> Entries:
        """The entries of an object; :data:`NOTHING` if there is none."""
        near = self.near
        return near[object_id] if object_id < len(near) else self.far.get(object_id, NOTHING)

    def put(self, object_id: int, entries: Entries) -> None:
        """Set the entries of an id, whether or not the id is in use.

        :param object_id: a host id, or a client id that the caller has checked against its limit, because the
            list grows up to it.
        """
        near = self.near
        if object_id < len(near):
            near[object_id] = entries
        elif object_id < FIRST_SERVER_ID:
            # A flooding client uses thousands of ids before the first is free again: grow by half.
            near.extend([NOTHING] * (object_id + 1 - len(near) + len(near) // 2))
            near[object_id] = entries
        else:
            self.far[object_id] = entries

    def remove(self, object_id: int) -> None:
        """Remove an object, if the id is in use."""
        if object_id < len(self.near):
            self.near[object_id] = NOTHING
        else:
            self.far.pop(object_id, None)

    def change(self, function: Callable[[Entries], Entries]) -> None:
        """Replace the entries of every object with ``function(entries)``."""
        near, far = self.near, self.far
        near[DISPLAY:] = [NOTHING if entries is NOTHING else function(entries) for entries in near[DISPLAY:]]
        for object_id, entries in far.items():
            far[object_id] = function(entries)

    def clear(self) -> None:
        """Remove all objects."""
        del self.near[1:]
        self.far.clear()

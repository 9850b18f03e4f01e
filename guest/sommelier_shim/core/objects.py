"""The object table of one side of a connection: entries by object id.

The client allocates ids without gaps (chromeos-sommelier.md §6.2), so a list holds its objects and is faster than a
dictionary. The host creates few objects, with ids from 0xff000000; a dictionary holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sommelier_shim.core.wire import DISPLAY, FIRST_SERVER_ID

Entry: TypeAlias = Any
"""How to handle a message: None forwards it untouched, otherwise a hook; see :mod:`sommelier_shim.core.relay`."""
Entries: TypeAlias = Sequence[Entry]
"""The entries of an object's messages, by opcode."""

UNUSED: Entries = ()
"""Marks an unused id. Interfaces have lists as entries, so none of them equals this tuple."""
_NULL: Entries = []
"""Id 0 is null: reserved, no messages."""


class ObjectTable:
    """The entries of objects by id.

    :ivar client_entries: objects whose ids the client's side allocated; :data:`UNUSED` at unused ids. The list
        never shrinks. :ivar server_entries: objects whose ids the host allocated. (The names are libwayland's.)
    """

    __slots__ = ("client_entries", "server_entries")

    def __init__(self) -> None:
        self.client_entries: list[Entries] = [_NULL, UNUSED]
        self.server_entries: dict[int, Entries] = {}

    def __contains__(self, object_id: int) -> bool:
        if object_id < len(self.client_entries):
            return object_id > 0 and self.client_entries[object_id] is not UNUSED
        return object_id in self.server_entries

    def __len__(self) -> int:
        """The number of objects. O(the highest client id so far)."""
        return self.client_count + len(self.server_entries)

    @property
    def client_count(self) -> int:
        """The number of objects whose ids the client's side allocated. O(the highest client id so far)."""
        return len(self.client_entries) - 1 - self.client_entries.count(UNUSED)

    def get(self, object_id: int) -> Entries:
        """The entries of an object; :data:`UNUSED` if there is none."""
        if object_id < len(self.client_entries):
            return self.client_entries[object_id]
        return self.server_entries.get(object_id, UNUSED)

    def put(self, object_id: int, entries: Entries) -> None:
        """Set the entries of an id, whether or not the id is in use.

        :param object_id: a host id, or a client id that the caller has checked against its limit, because the
            list grows up to it.
        """
        clients = self.client_entries
        if object_id < len(clients):
            clients[object_id] = entries
        elif object_id < FIRST_SERVER_ID:
            # A flooding client uses thousands of ids before the first is free again: grow by half.
            clients.extend([UNUSED] * (object_id + 1 - len(clients) + len(clients) // 2))
            clients[object_id] = entries
        else:
            self.server_entries[object_id] = entries

    def remove(self, object_id: int) -> None:
        """Remove an object, if the id is in use."""
        if object_id < len(self.client_entries):
            self.client_entries[object_id] = UNUSED
        else:
            self.server_entries.pop(object_id, None)

    def change(self, function: Callable[[Entries], Entries]) -> None:
        """Replace the entries of every object with ``function(entries)``."""
        self.client_entries[DISPLAY:] = [
            UNUSED if entries is UNUSED else function(entries) for entries in self.client_entries[DISPLAY:]
        ]
        for object_id, entries in self.server_entries.items():
            self.server_entries[object_id] = function(entries)

    def clear(self) -> None:
        """Remove all objects."""
        del self.client_entries[1:]
        self.server_entries.clear()

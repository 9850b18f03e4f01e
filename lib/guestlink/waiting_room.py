"""Connections whose clients have said nothing yet: how many may wait, and which has to go. Pure.

OpenSSH's MaxStartups (sshd_config(5)) is the model: from a number of connections on, a new one is refused with a
probability that grows until it is certain. A client that finds a full server would then be refused as well, so here
the new connection comes in, and one of those that have waited longest goes: an honest client speaks at once.
"""

from __future__ import annotations

from typing import Generic, TypeVar

START, FULL = 64, 256
"""Connections that may wait: until START all do, and there are never more than FULL."""
RATE = 0.3
"""The probability at START that a connection goes; it grows linearly to 1 at FULL."""

Key = TypeVar("Key")


class WaitingRoom(Generic[Key]):
    """The connections that wait for their clients' first words, the one that has waited longest first.

    :param start: connections from which on others may have to go.
    :param full: connections that may wait at a time.
    """

    def __init__(self, start: int = START, full: int = FULL) -> None:
        self._start = start
        self._full = full
        self._waiting: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def is_calm(self) -> bool:
        """Whether none has to go."""
        return len(self._waiting) < self._start

    def enter(self, connection: Key) -> None:
        """A new connection waits."""
        self._waiting[connection] = None

    def leave(self, connection: Key) -> None:
        """A connection's client has spoken, or the connection has ended; one that does not wait is passed over."""
        self._waiting.pop(connection, None)

    def make_room(self, chance: float) -> Key | None:
        """Decide after a connection has entered whether one that waits has to go; never the newest.

        :param chance: a random number, at least 0 and less than 1.
        :returns: the connection that has to be closed, one of the half that has waited longer; it waits no more.
        """
        if self.is_calm():
            return None
        waiting = len(self._waiting)
        probability = min(1.0, RATE + (1 - RATE) * (waiting - self._start) / max(self._full - self._start, 1))
        if chance >= probability:
            return None
        # Below the probability the chance is as random as before, so it also decides who goes.
        longest = list(self._waiting)[: (waiting + 1) // 2]
        gone = longest[min(int(chance / probability * len(longest)), len(longest) - 1)]
        del self._waiting[gone]
        return gone

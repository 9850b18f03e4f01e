"""The descriptors that a loop polls, and the events that it waits for."""

from __future__ import annotations

import select


class PollSet:
    """Registers changes only, because a session's poll set rarely changes.

    :ivar poll: waits for the events, as :meth:`select.poll.poll` does.
    """

    __slots__ = ("_events", "_poll", "poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._events: dict[int, int] = {}
        self.poll = self._poll.poll

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._events

    def replace(self, wanted: dict[int, int]) -> None:
        """Poll for these events from now on.

        :param wanted: the events by descriptor; with 0 only errors and hang-ups are reported.
        """
        for descriptor in self._events.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            if self._events.get(descriptor) != events:
                self._poll.register(descriptor, events)
        self._events = wanted

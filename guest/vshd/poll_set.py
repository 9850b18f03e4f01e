"""The descriptors that a loop polls, and the events that it waits for."""

from __future__ import annotations

import select


class PollSet:
    """Registers changes only, because a session's poll set rarely changes.

    :ivar events: the events to poll for, by descriptor.
    :ivar poll: waits for the events, as :meth:`select.poll.poll` does.
    """

    __slots__ = ("_poll", "events", "poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self.events: dict[int, int] = {}
        self.poll = self._poll.poll

    def replace(self, wanted: dict[int, int]) -> None:
        """Poll for these events from now on.

        :param wanted: the events by descriptor; with 0 only errors and hang-ups are reported.
        """
        for descriptor in self.events.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            if self.events.get(descriptor) != events:
                self._poll.register(descriptor, events)
        self.events = wanted

"""The last events of all containers, for ``guestlink-host events``."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict, deque
from typing import Any

CONTAINER_EVENTS, CONTAINERS = 50, 300
"""Events kept of each container, so that one cannot push out another's; and containers, also removed ones."""


class EventLog:
    """The last events; older ones are dropped."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()

    def append(self, container: str, what: str, detail: str) -> None:
        """Append an event of now.

        :param what: one word, as in ``registered``.
        """
        events = self._events.setdefault(container, deque(maxlen=CONTAINER_EVENTS))
        events.append({"time": time.time(), "container": container, "event": what, "detail": detail})
        self._events.move_to_end(container)
        if len(self._events) > CONTAINERS:
            self._events.popitem(last=False)

    def entries(self, container: str = "") -> list[dict[str, Any]]:
        """The events of one container, or of all, the oldest first."""
        if container:
            return list(self._events.get(container, ()))
        return sorted(itertools.chain(*self._events.values()), key=lambda event: float(event["time"]))

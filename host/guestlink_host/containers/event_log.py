"""The last events of all containers, for ``guestlink-host events``."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

_LIMIT = 200
"""Events kept."""


class EventLog:
    """The last events; older ones are dropped."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=_LIMIT)

    def append(self, container: str, what: str, detail: str) -> None:
        """Append an event of now.

        :param what: one word, as in ``registered``.
        """
        self._events.append({"time": time.time(), "container": container, "event": what, "detail": detail})

    def entries(self, container: str = "") -> list[dict[str, Any]]:
        """The events of one container, or of all, the oldest first."""
        return [event for event in self._events if not container or event["container"] == container]

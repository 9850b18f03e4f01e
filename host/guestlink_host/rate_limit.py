"""How often something may happen. Pure: the clock comes from outside."""

from __future__ import annotations

from collections import deque


class RateLimit:
    """At most so many events in a sliding window.

    :param count: events.
    :param window: seconds.
    """

    def __init__(self, count: int, window: float) -> None:
        self._count = count
        self._window = window
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether one more may happen now; counts it if so."""
        while self._times and self._times[0] <= now - self._window:
            self._times.popleft()
        if len(self._times) >= self._count:
            return False
        self._times.append(now)
        return True

"""A rate limit. Pure: the caller passes the time."""

from __future__ import annotations

from collections import deque


class RateLimit:
    """Limits the number of events in a sliding window.

    :param count: maximum number of events.
    :param window: seconds.
    """

    def __init__(self, count: int, window: float) -> None:
        self._count = count
        self._window = window
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether one more event may happen now; if so, counts it."""
        while self._times and self._times[0] <= now - self._window:
            self._times.popleft()
        if len(self._times) >= self._count:
            return False
        self._times.append(now)
        return True

"""When to publish after changes: at once for the first, coalesced for those that follow.

Pure: the caller reports changes with their time, and asks when to publish. ChromeOS's garcon waits three seconds
after the first change and publishes all changes of that time together (chromeos-garcon.md §3.8). Here the first
change is published as soon as it has settled, and the three seconds come *after* a publication. The count that is
sent to the host keeps its meaning: one for a scheduled publication, plus one for a running publication.
"""

from __future__ import annotations

SETTLE = 0.1
"""Seconds without another change before a first publication: a package manager has finished its renames."""
SETTLE_LIMIT = 0.25
"""Seconds after the first change until it is published even if changes continue."""
WINDOW = 3.0
"""Seconds between two publications while changes continue (chromeos-garcon.md §3.8)."""


class Coalescer:
    """Decides when a publication is due.

    A publication runs from :meth:`begin` to :meth:`end`. Times are seconds of one monotonic clock.
    """

    def __init__(
        self, *, settle: float = SETTLE, settle_limit: float = SETTLE_LIMIT, window: float = WINDOW
    ) -> None:
        self._settle = settle
        self._settle_limit = settle_limit
        self._window = window
        self._first_change: float | None = None
        self._last_change = 0.0
        self._last_begin: float | None = None
        self._again: float | None = None
        self._running = False

    @property
    def pending_count(self) -> int:
        """The count in PendingUpdateApplicationListCalls: 0, 1 or 2."""
        return (self._first_change is not None) + self._running

    def change(self, now: float) -> bool:
        """Record a change.

        :returns: whether the change schedules a publication; the caller then sends the count to the host.
        """
        scheduled = self._first_change is None
        if self._first_change is None:
            self._first_change = now
        self._last_change = now
        return scheduled

    def again(self, at: float) -> None:
        """Schedule a publication without a change, because the receiver does not have the last one."""
        self._again = at

    def due(self) -> float | None:
        """When the next publication should begin; ``None`` if none is scheduled, or while one runs."""
        if self._running:
            return None
        return min((time for time in (self._change_due(), self._again) if time is not None), default=None)

    def _change_due(self) -> float | None:
        if self._first_change is None:
            return None
        settled = min(self._last_change + self._settle, self._first_change + self._settle_limit)
        if self._last_begin is None or self._first_change >= self._last_begin + self._window:
            return settled
        # The last publication began less than a window ago: wait until the window is over.
        return max(settled, self._last_begin + self._window)

    def begin(self, now: float) -> None:
        """The publication begins; changes from now on belong to the next one."""
        self._first_change = None
        self._again = None
        self._last_begin = now
        self._running = True

    def end(self) -> None:
        """The publication has ended."""
        self._running = False

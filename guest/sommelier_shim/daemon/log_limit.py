"""Bounds the log of a proxy whose clients are not trusted: a client could fail in an endless loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LINES, WINDOW = 20, 60.0
"""Lines that the proxy may log in a window, and the window in seconds."""


class LogLimit(logging.Filter):
    """Counts the lines above the limit, and adds their number to the first line of a later window.

    :param clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began = clock()
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be logged."""
        now = self._clock()
        if now - self._began >= WINDOW:
            missing, self._began, self._lines = max(0, self._lines - LINES), now, 0
            if missing:
                record.msg = f"{record.getMessage()} ({missing} lines before this one were not logged)"
                record.args = ()
        self._lines += 1
        return self._lines <= LINES

"""The log lines that one container can cause: a repeated line is counted, and different ones have a limit."""

from __future__ import annotations

import logging
import time

from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.repeat_count import RepeatCount

REPEAT_PAUSE = 60.0
"""Seconds between two lines with the same text."""
LINES, WINDOW = 60, 300.0
"""Lines of one container in a window, and the window in seconds."""


class ContainerLog:
    """Writes to a logger for one container; the methods are a logger's.

    :param logger: gets the lines.
    :param container: the container's name, for the line that tells how many were left out.
    """

    def __init__(self, logger: logging.Logger, container: str) -> None:
        self._logger = logger
        self._container = container
        self._repeats = RepeatCount(REPEAT_PAUSE)
        self._lines = RateLimit(LINES, WINDOW)
        self._left_out = 0

    def info(self, text: str, *values: object) -> None:
        """Write a line of level info."""
        self._write(logging.INFO, text % values if values else text)

    def warning(self, text: str, *values: object) -> None:
        """Write a line of level warning."""
        self._write(logging.WARNING, text % values if values else text)

    def error(self, text: str, *values: object) -> None:
        """Write a line of level error."""
        self._write(logging.ERROR, text % values if values else text)

    def _write(self, level: int, text: str) -> None:
        now = time.monotonic()
        line = self._repeats.line(text, now)
        if not line:
            return
        if not self._lines.allows(now):
            self._left_out += 1
            return
        if self._left_out:
            self._logger.log(level, "%d lines about %s were left out", self._left_out, self._container)
            self._left_out = 0
        self._logger.log(level, "%s", line)

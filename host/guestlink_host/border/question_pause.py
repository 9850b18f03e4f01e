"""How long a container waits for its next question to the user after a "no". Pure: the caller passes the time."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 600.0
"""Seconds after the first "no"; each further "no" doubles them, up to the longest pause."""


class QuestionPause:
    """The pause between questions of one container."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._end = float("-inf")

    def refused(self, now: float) -> None:
        """The user has answered "no", or nothing."""
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self._end = now + self._pause

    def agreed(self) -> None:
        """The user has answered "yes": the next question need not wait."""
        self._pause = 0.0
        self._end = float("-inf")

    def left(self, now: float) -> float:
        """Seconds until the next question; 0 if there may be one now."""
        return max(0.0, self._end - now)

"""Counts messages that repeat, instead of writing each. Pure: the caller passes the time."""

from __future__ import annotations

from collections import OrderedDict

REPEAT_PAUSE = 300.0
"""Seconds between two lines or events with the same text."""
_MESSAGES = 100
"""Different messages that are remembered; the oldest is forgotten first."""


class RepeatCount:
    """Writes a message at once, and a repeated one at most once in a while, with the number of its repetitions.

    :param pause: seconds between two lines with the same message.
    """

    def __init__(self, pause: float = REPEAT_PAUSE) -> None:
        self._pause = pause
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def line(self, message: str, now: float) -> str:
        """The line to write now; ``""`` if the message is only counted."""
        written, count = self._known.pop(message, (float("-inf"), 0))
        if now - written < self._pause:
            self._known[message] = (written, count + 1)
            return ""
        self._known[message] = (now, 0)
        if len(self._known) > _MESSAGES:
            self._known.popitem(last=False)
        return f"{message} ({count} more times since the last such line)" if count else message

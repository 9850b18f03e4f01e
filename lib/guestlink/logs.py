"""Logging for the daemons: to the journal with priorities, or to a terminal for people."""

from __future__ import annotations

import collections
import logging
import os
import sys

from guestlink.errors import GuestlinkError

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""syslog priorities in the form that systemd reads from a service's output (sd-daemon(3))."""

RECENT_LIMIT = 500
"""Messages kept for reports: a user may not be allowed to read the journal (packaging.md §2.7)."""

LEVELS = ("debug", "info", "warning", "error")


class JournalFormatter(logging.Formatter):
    """``<6>message``; each line of a traceback becomes an entry with the same priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        text = super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines() or [""])


class RecentMessages(logging.Handler):
    """Keeps the last messages of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: collections.deque[str] = collections.deque(maxlen=RECENT_LIMIT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._lines.append(self.format(record)[:2000])

    @property
    def lines(self) -> list[str]:
        """The messages, oldest first."""
        return list(self._lines)


_recent = RecentMessages()


def recent_messages() -> list[str]:
    """The last messages of this process, oldest first."""
    return _recent.lines


def setup_logging(name: str, level: str = "info") -> None:
    """Send the root logger's records to standard error, in the form for the journal or for a terminal.

    :param name: the program, shown on terminals (the journal knows it already).
    :param level: one of :data:`LEVELS`, optionally followed by ``,MODULE`` to see debug output of that
        module or package alone, as in ``info,garcon.desktop``.
    :raises GuestlinkError: there is no such level.
    """
    threshold, *modules = level.split(",")
    if threshold not in LEVELS:
        raise GuestlinkError(f"there is no log level {threshold!r}", hint=f"use one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    if is_journal(sys.stderr.fileno()):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.addHandler(_recent)
    root.setLevel(threshold.upper())
    for module in modules:
        logging.getLogger(module).setLevel(logging.DEBUG)


def is_journal(descriptor: int) -> bool:
    """Whether a descriptor is the journal stream that systemd made for this service (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))

"""Logging for the daemons: to the journal with priorities, or to a terminal for people."""

from __future__ import annotations

import logging
import os
import sys

from guestlink.errors import GuestlinkError

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""syslog priorities in the form that systemd reads from a service's output (sd-daemon(3))."""

LEVELS = ("debug", "info", "warning", "error")


class JournalFormatter(logging.Formatter):
    """``<6>message``; a traceback is kept as one entry per line with the same priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        text = super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines() or [""])


def setup_logging(name: str, level: str = "info") -> None:
    """Send the root logger's records to standard error in the form that fits what standard error is.

    :param name: the program, shown on terminals (the journal knows it already).
    :param level: one of :data:`LEVELS`, optionally followed by ``,MODULE`` to see debug output of that
        module alone, as in ``info,garcon.publisher``.
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
